#!/usr/bin/env python3
"""Writes what llama.cpp's converter makes of model cards, to hold our reading of them against.

Needs gguf-py of llama.cpp (build b11434 made the file in the tree).

    PYTHONPATH=llama.cpp/gguf-py python3 scripts/make_model_cards.py > tests/fixtures/oracle/model_cards.json
"""

import json
import pathlib
import tempfile

import gguf

BILLION = 1_000_000_000

# What the case shows, name of the directory, parameters, front matter, config.json.
CASES = [
    ("the card of gpt-oss", "gpt-oss-20b", 21 * BILLION,
     "license: apache-2.0\npipeline_tag: text-generation\nlibrary_name: transformers\n"
     "tags:\n- vllm\n", {}),
    ("the card that a fine-tuning library writes", "checkpoint-500", 3_000_000,
     "base_model: openai/gpt-oss-20b\ndatasets: someone/somedata\nlibrary_name: transformers\n"
     "model_name: my-finetune\ntags:\n- generated_from_trainer\n- sft\n- trl\n"
     "licence: license\nlicense: apache-2.0\n", {}),
    ("a merge of several", "merge-20b-v2", 21 * BILLION,
     "base_model:\n- openai/gpt-oss-20b\n- someone/gpt-oss-20b-instruct-v1.5\n"
     "- https://huggingface.co/unsloth/gpt-oss-20b-BF16\n- https://example.org/x/y/z\n"
     "- ssh://git@example.org/repo\n- http://huggingface.co/a/b/c\n- ./local/dir\n- plain-name\n"
     "- a human name\n- org/path/below-20b-v3\n- ''\n"
     "datasets:\n- HuggingFaceH4/Multilingual-Thinking\n- https://huggingface.co/datasets/a/b\n"
     "- open-web-math-v2\n", {}),
    ("everything of its own convention", "x", 1000,
     "name: The Name\nauthor: A. Author\nversion: v3\norganization: Some Org\n"
     "description: >-\n  Two lines\n  of text.\n\n  And one.\nfinetune: chat\nbasename: base\n"
     "size_label: 3B\nurl: https://example.org\ndoi: 10.1/2\nuuid: 0-1\n"
     "repo_url: https://example.org/repo\n", {}),
    ("everything with model_ in front", "x", 1000,
     "model_name: The Name\nmodel_author: A. Author\nmodel_version: v3\n"
     "model_organization: Some Org\nmodel_description: |\n  Kept\n    as it is\n"
     "model_finetune: chat\nmodel_basename: base\nmodel_size_label: 3B\n"
     "model_url: https://example.org\nmodel_doi: 10.1/2\nmodel_uuid: 0-1\n"
     "model_repo_url: https://example.org/repo\n", {}),
    ("other creators' keys, and which of two counts", "x-7B", 7 * BILLION,
     "model_creator: Creator\nmodel_type: llama\nname: null\nmodel_name: second\n"
     "author: ~\n", {}),
    ("lists, quotes and folded text", "nano", 3_000_000,
     "license: other\nlicense_name: >-\n  my special\n  license\nlicense_link: \"a: b\" # why\n"
     "language: [\"en\", \"zh, traditional\"]\ntags: [a, \"b, c\", d, 'e''s', \"\\u00e9\\t\"]\n", {}),
    ("several licences, languages under both keys", "nano", 3_000_000,
     "license:\n  - mit\n  - 'apache-2.0'\nlanguages: en\nlanguage:\n- no\n- de\n", {}),
    ("truth values and nothing", "nano", 3_000_000,
     "language: no\nlicense: off\ntags:\npipeline_tag: ''\nbase_model:\ndataset: yes\n"
     "model_name: False\nversion: ''\n", {}),
    ("base models in full", "nano", 3_000_000,
     "base_models:\n- name: One\n  author: A\n  version: '2'\n  organization: O\n"
     "  description: D\n  url: U\n  doi: 10.1/2\n  uuid: '0'\n  repo_url: R\n  more: X\n"
     "- {repo_url: only}\n- {}\n"
     "dataset_sources: [{author: Someone, name: Data}, org/data-v1]\n", {}),
    ("anchors, tabs, comments, tags and keys twice", "nano", 3_000_000,
     "# first\nauthor: &me Me # and no other\nmodel_description: *me\ntags: &t\n\t- x\n\t- y\n"
     "languages: *t\nlicense: mit\nlicense: !!str bsd\nlicense_name: 'a # b'\n", {}),
    ("a list of results, as evaluations leave it", "gpt-oss-20b", 21 * BILLION,
     "tags:\n- mteb\nmodel-index:\n- name: x\n  results:\n  - task: {type: Classification}\n"
     "    dataset:\n      type: a/b\n      name: B\n    metrics:\n    - type: accuracy\n"
     "      value: 74.79104477611939\nextra_gated_prompt: |-\n  ## Terms\n  - no: way\n", {}),
    ("a name in config.json", "dir", 21 * BILLION, "",
     {"_name_or_path": "open-ai/gpt-oss-20b-Instruct-v2"}),
    ("a path in config.json", "gpt-oss-20b", 21 * BILLION, "",
     {"_name_or_path": "/home/me/gpt-oss-7b"}),
    ("a path of one part in config.json", "gpt-oss-20b", 21 * BILLION, "",
     {"_name_or_path": "./Out-20b"}),
    ("an empty name in config.json", "gpt-oss-20b", 21 * BILLION, "", {"_name_or_path": ""}),
    ("the card before config.json before the directory", "gpt-oss-120b-chat", 20 * BILLION,
     "model_name: Mine\n", {"_name_or_path": "me/other-20b-v1"}),
    ("a name of words", "my own model 20b", 21 * BILLION, "", {}),
    ("letters of other alphabets", "模型abc-20b-ß-éa-Ünï", 21 * BILLION,
     "author: Ünïcødé \"q\"\ntags: [日本語]\n", {}),
    ("sizes and versions in a name", "Phi-3.5-mini-4k-20B-20b-iter2-q4_0-fp16", 21 * BILLION,
     "", {}),
    ("a hash for a name", "dc1d3a5f1e9c1f7a7e1a0f6f4ecdf5d0d4f2ce2a", 21 * BILLION, "", {}),
]  # fmt: skip


def keys(name, parameters, card, config):
    """The keys in their order, each with type and value."""
    with tempfile.TemporaryDirectory() as parent:
        directory = pathlib.Path(parent) / name
        directory.mkdir()
        (directory / "README.md").write_text(f"---\n{card}---\n\n# Title\nlicense: none\n")
        (directory / "config.json").write_text(json.dumps(config))
        metadata = gguf.Metadata.load(None, directory, None, parameters)
    if metadata.size_label is None:
        metadata.size_label = gguf.size_label(parameters, parameters, 0, 0)
    writer = gguf.GGUFWriter(None, "gpt-oss")
    already = set(writer.kv_data[0])
    metadata.set_gguf_meta_model(writer)
    written = writer.kv_data[0].items()
    return [[key, v.type.name, v.value] for key, v in written if key not in already]


def main():
    cases = [
        {
            "shows": shows,
            "directory": name,
            "parameters": parameters,
            "card": card,
            "config": config,
            "keys": keys(name, parameters, card, config),
        }
        for shows, name, parameters, card, config in CASES
    ]
    print(json.dumps(cases, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
