#!/usr/bin/env python3
"""Writes the tokenizer files of gpt-oss-20b, for programs that do not have o200k_harmony built in.

The ranks of o200k_base come from the crate tiktoken-rs, which building this project has fetched, the
rest from the small model of the fixtures.

    python3 scripts/make_o200k_tokenizer.py target/o200k_harmony
"""

import argparse
import base64
import json
import os
import pathlib

ROOT = pathlib.Path(__file__).resolve().parent.parent
NANO = ROOT / "tests" / "fixtures" / "gpt-oss-nano"
RANKS = "registry/src/*/tiktoken-rs-*/assets/o200k_base.tiktoken"
# Source: openai/harmony, and the published tokenizer.json.
SPECIAL = {
    199998: "startoftext", 199999: "endoftext", 200002: "return", 200003: "constrain",
    200005: "channel", 200006: "start", 200007: "end", 200008: "message", 200012: "call",
    200018: "endofprompt",
}  # fmt: skip
GENERATION = {
    "bos_token_id": 199998,
    "do_sample": True,
    "eos_token_id": [200002, 199999, 200012],
    "pad_token_id": 199999,
}


def letters():
    """The letter that stands for each byte, as in GPT-2."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return {b: chr(b) for b in plain} | {b: chr(256 + n) for n, b in enumerate(others)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=pathlib.Path)
    args = parser.parse_args()
    home = pathlib.Path(os.environ.get("CARGO_HOME", pathlib.Path.home() / ".cargo"))
    sources = sorted(home.glob(RANKS))
    if not sources:
        parser.error(f"no {home / RANKS}; run cargo fetch first")
    ranks = {}
    for line in sources[-1].read_bytes().splitlines():
        token, rank = line.split()
        ranks[base64.b64decode(token)] = int(rank)
    letter = letters()
    text = {token: "".join(letter[b] for b in token) for token in ranks}
    merges = []
    for token in sorted(ranks, key=ranks.get):
        splits = [(token[:at], token[at:]) for at in range(1, len(token))]
        splits = [(a, b) for a, b in splits if a in ranks and b in ranks]
        splits.sort(key=lambda s: (ranks[s[0]], ranks[s[1]]))
        merges += [[text[a], text[b]] for a, b in splits]

    tokenizer = json.loads((NANO / "tokenizer.json").read_text())
    by_rank = sorted(ranks.items(), key=lambda item: item[1])
    tokenizer["model"]["vocab"] = {text[token]: rank for token, rank in by_rank}
    tokenizer["model"]["merges"] = merges
    tokenizer["model"]["ignore_merges"] = False
    sample = tokenizer["added_tokens"][0]
    tokenizer["added_tokens"] = [
        {**sample, "id": i, "content": f"<|{SPECIAL.get(i, f'reserved_{i}')}|>"}
        for i in range(199998, 200019)
    ]
    args.out.mkdir(parents=True)
    for name, content in [
        ("tokenizer.json", tokenizer),
        ("tokenizer_config.json", json.loads((NANO / "tokenizer_config.json").read_text())),
        ("special_tokens_map.json", json.loads((NANO / "special_tokens_map.json").read_text())),
        ("generation_config.json", GENERATION),
    ]:
        (args.out / name).write_text(json.dumps(content, ensure_ascii=False))
    print(f"{args.out}: {len(ranks)} tokens, {len(merges)} merges")


if __name__ == "__main__":
    main()
