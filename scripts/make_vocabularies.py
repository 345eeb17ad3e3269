#!/usr/bin/env python3
"""Writes what llama.cpp's converter makes of tokenizers whose files say more than `tokenizer.json`, to
hold our reading of them against: the tokens that differ from those of the small model of the
fixtures, and the keys of its special tokens.

Needs gguf-py of llama.cpp and transformers (build b11434 and 5.5.1 made the file in the tree;
transformers 4.57.6 gives the same).

    PYTHONPATH=llama.cpp/gguf-py python3 scripts/make_vocabularies.py > tests/fixtures/oracle/vocabularies.json
"""

import json
import pathlib
import tempfile

import gguf
from transformers import AutoTokenizer

NANO = pathlib.Path(__file__).resolve().parent.parent / "tests" / "fixtures" / "gpt-oss-nano"
SIZE = 2048


def token(content, special=True, **more):
    flags = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False}
    return {"content": content, **flags, "special": special, **more}


def template(single, pair=()):
    def part(text):
        if text in "AB":
            return {"Sequence": {"id": text, "type_id": 0}}
        return {"SpecialToken": {"id": text, "type_id": 0}}

    texts = {text for text in [*single, *pair] if text not in "AB"}
    special = {t: {"id": t, "ids": [2032], "tokens": [t]} for t in sorted(texts)}
    return {
        "type": "TemplateProcessing",
        "single": [part(text) for text in single],
        "pair": [part(text) for text in pair] or [part("A"), part("B")],
        "special_tokens": special,
    }


BOS, EOS, END = "<|startoftext|>", "<|return|>", "<|end|>"
TOOL = [{"id": 2041, **token("<tool>", False)}]
# What the case shows; changes of tokenizer_config.json; of tokenizer.json, where the added tokens
# come on top; and other files.
CASES = [
    ("tokens in tokenizer_config.json only",
     {"added_tokens_decoder": {"2041": token("<tool>", False), "2042": token("<|x|>", False),
                               "2043": token("[END]")}}, {}, {}),
    ("ids there give the order and no more",
     {"added_tokens_decoder": {"2050": token("zz!", False), "9000": token("yy!", False)},
      "mask_token": "[M]", "unk_token": "[U]", "cls_token": "[C]", "sep_token": "[S]",
      "additional_special_tokens": ["[A]"]}, {}, {}),
    ("tokenizer_config.json makes one special",
     {"added_tokens_decoder": {"2041": token("<tool>")}}, {"added_tokens": TOOL}, {}),
    ("and another not", {"added_tokens_decoder": {"2041": token("<tool>", False)}},
     {"added_tokens": [{"id": 2041, **token("<tool>")}]}, {}),
    ("a token of the vocabulary", {"added_tokens_decoder": {"7": token("an")}}, {}, {}),
    ("a role makes a token special", {"eos_token": "<tool>"}, {"added_tokens": TOOL}, {}),
    ("a role makes a token of the vocabulary special", {"unk_token": "an"}, {}, {}),
    ("a role whose token is nowhere", {"pad_token": token("[PADDING]", __type="AddedToken")}, {}, {}),
    ("spaces of sentencepiece",
     {"added_tokens_decoder": {"2041": token("a\u2581b", False, normalized=True)}}, {}, {}),
    ("added_tokens.json", {"eos_token": "[X]"}, {},
     {"added_tokens.json": {"[X]": 2042, "<tool>": 2041}}),
    ("added_tokens.json beside tokens in tokenizer_config.json",
     {"added_tokens_decoder": {"2041": token("<tool>", False)}}, {},
     {"added_tokens.json": {"[X]": 2042}, "special_tokens_map.json": {"pad_token": "[PD]"}}),
    ("special_tokens_map.json", {"pad_token": "[PC]"}, {},
     {"special_tokens_map.json": {"pad_token": {"content": "[PD]"},
                                  "additional_special_tokens": ["[Q]"]}}),
    ("additions by configuration", {"add_bos_token": True, "add_eos_token": False}, {}, {}),
    ("byte level adds nothing", {"add_bos_token": True},
     {"post_processor": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False,
                         "use_regex": True}}, {}),
    ("a template that begins and ends as configured", {},
     {"post_processor": template([BOS, "A", EOS])}, {}),
    ("a template that ends otherwise", {}, {"post_processor": template([BOS, "A", END])}, {}),
    ("a template that begins otherwise", {}, {"post_processor": template([END, "A"])}, {}),
    ("a template that begins otherwise, without a configured token",
     {"bos_token": None, "cls_token": None}, {"post_processor": template([END, "A"])}, {}),
    ("a configured token as an object", {"eos_token": token(EOS, __type="AddedToken"), "bos_token": token(BOS, __type="AddedToken")},
     {"post_processor": template([BOS, "A", EOS])}, {}),
    ("templates in sequence", {}, {"post_processor": {"type": "Sequence", "processors": [
        {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True},
        template([BOS, "A"], [BOS, "A", BOS, "B"])]}}, {}),
    ("a separator in a template for two", {},
     {"post_processor": template(["A", EOS], ["A", EOS, "B", EOS])}, {}),
    ("a separator without an end", {},
     {"post_processor": template([BOS, "A"], [BOS, "A", EOS, "B"])}, {}),
    ("two separators", {"sep_token": END},
     {"post_processor": template([BOS, "A", EOS], [BOS, "A", EOS, END, "B", EOS])}, {}),
    ("cls and sep stand in for bos and eos",
     {"bos_token": None, "eos_token": None, "cls_token": BOS, "sep_token": END}, {}, {}),
]  # fmt: skip


def looks_special(text):
    """`does_token_look_special` of the converter."""
    wrapped = [("<|", "|>"), ("<\uff5c", "\uff5c>"), ("<unused", ">")]
    return text in ("<pad>", "<mask>", "<2mass>", "[@BOS@]") or any(
        text.startswith(a) and text.endswith(b) for a, b in wrapped
    )


def vocabulary(directory):
    """Text and type of each token: `get_vocab_base` of the converter."""
    tokenizer = AutoTokenizer.from_pretrained(directory)
    by_id = {number: text for text, number in tokenizer.vocab.items()}
    added, decoder = tokenizer.get_added_vocab(), tokenizer.added_tokens_decoder
    types = gguf.TokenType
    found = []
    for number in range(SIZE):
        text, kind = by_id.get(number), types.NORMAL
        if text is None:
            text, kind = f"[PAD{number}]", types.UNUSED
        elif text in added:
            if not decoder[number].normalized:
                text = tokenizer.decode(tokenizer.encode(text, add_special_tokens=False))
            if decoder[number].special or looks_special(text):
                kind = types.CONTROL
            else:
                text, kind = text.replace("\u2581", " "), types.USER_DEFINED
        found.append((text, int(kind)))
    return found


def special_keys(directory):
    writer = gguf.GGUFWriter(None, "gpt-oss")
    already = set(writer.kv_data[0])
    gguf.SpecialVocab(directory).add_to_gguf(writer, quiet=True)
    written = writer.kv_data[0].items()
    return [[key, v.value] for key, v in written if key not in already]


def main():
    plain = vocabulary(NANO)
    cases = []
    for shows, config, tokenizer, files in CASES:
        with tempfile.TemporaryDirectory() as directory:
            directory = pathlib.Path(directory)
            own = json.loads((NANO / "tokenizer.json").read_text())
            own["added_tokens"] += tokenizer.get("added_tokens", [])
            own["post_processor"] = tokenizer.get("post_processor")
            all_config = json.loads((NANO / "tokenizer_config.json").read_text()) | config
            contents = {"tokenizer.json": own, "tokenizer_config.json": all_config, **files}
            for name, content in contents.items():
                (directory / name).write_text(json.dumps(content))
            (directory / "config.json").write_text((NANO / "config.json").read_text())
            tokens = enumerate(zip(vocabulary(directory), plain))
            contents["tokenizer.json"] = tokenizer
            cases.append(
                {
                    "shows": shows,
                    "files": contents,
                    "tokens": [[n, *now] for n, (now, before) in tokens if now != before],
                    "keys": special_keys(directory),
                }
            )
    # One case a line: most of it is of no interest to read.
    lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases)
    print(f"[\n{lines}\n]")


if __name__ == "__main__":
    main()
