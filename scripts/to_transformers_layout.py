#!/usr/bin/env python3
"""Writes a checkpoint in OpenAI's original layout in the one of transformers, which llama.cpp's
converter reads.

    cargo run --release --example write_checkpoint -- target/random-20b
    python3 scripts/to_transformers_layout.py target/random-20b target/random-20b-hf --tokenizer DIR

Weights stay as they are: names change, and q, k and v, one tensor in the original, become three.
They are copied in pieces, in the order in which safetensors itself writes them: by type, then name.
The original has no tokenizer: its files come from DIR, and without any the converter refuses the
result. Experts have to be in MXFP4. OUT_DIR must not exist; its config.json is written last.

Of the small model of the fixtures this makes the very file that lies beside the original:

    nano=tests/fixtures/gpt-oss-nano
    python3 scripts/to_transformers_layout.py $nano/original target/nano-hf --tokenizer $nano
    cmp target/nano-hf/model.safetensors $nano/model.safetensors
"""

import argparse
import json
import math
import pathlib
import shutil
import sys

MODEL = "model.safetensors"
# Tokenizer files; the first has to be there.
TOKENIZER = ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"]
TOKENIZER += ["generation_config.json", "chat_template.jinja"]
ITEM = {"BF16": 2, "U8": 1}
PIECE = 4 << 20
MODEL_NAMES = {
    "embedding.weight": "model.embed_tokens.weight",
    "unembedding.weight": "lm_head.weight",
    "norm.scale": "model.norm.weight",
}
# Behind `block.N.` and `model.layers.N.`.
LAYER_NAMES = {
    "attn.qkv.weight": "self_attn.{}_proj.weight",
    "attn.qkv.bias": "self_attn.{}_proj.bias",
    "attn.norm.scale": "input_layernorm.weight",
    "attn.out.weight": "self_attn.o_proj.weight",
    "attn.out.bias": "self_attn.o_proj.bias",
    "attn.sinks": "self_attn.sinks",
    "mlp.norm.scale": "post_attention_layernorm.weight",
    "mlp.gate.weight": "mlp.router.weight",
    "mlp.gate.bias": "mlp.router.bias",
    "mlp.mlp1_weight.blocks": "mlp.experts.gate_up_proj_blocks",
    "mlp.mlp1_weight.scales": "mlp.experts.gate_up_proj_scales",
    "mlp.mlp1_bias": "mlp.experts.gate_up_proj_bias",
    "mlp.mlp2_weight.blocks": "mlp.experts.down_proj_blocks",
    "mlp.mlp2_weight.scales": "mlp.experts.down_proj_scales",
    "mlp.mlp2_bias": "mlp.experts.down_proj_bias",
}


def read_header(path):
    """The tensors of a file: name to dtype, shape, offset and size."""
    found = {}
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if 8 + length > path.stat().st_size:
            raise ValueError(f"{path.name} ends within its header")
        header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    for name, t in header.items():
        start, end = (8 + length + offset for offset in t["data_offsets"])
        if end > path.stat().st_size or end - start != math.prod(t["shape"]) * ITEM[t["dtype"]]:
            raise ValueError(f"{name} is not as large as the header says")
        found[name] = (t["dtype"], t["shape"], start, end - start)
    return found


def renamed(config, stored):
    """The tensors to write: new name to what `read_header` says of the rows it is made of."""
    layers, heads = config["num_hidden_layers"], config["num_attention_heads"]
    kv, dim = config["num_key_value_heads"], config["head_dim"]
    names = dict(MODEL_NAMES)
    for n in range(layers):
        names |= {f"block.{n}.{a}": f"model.layers.{n}.{b}" for a, b in LAYER_NAMES.items()}
    if wrong := names.keys() ^ stored.keys():
        what = "unknown" if min(wrong) in stored else "missing"
        raise ValueError(f"{min(wrong)} is {what}; {layers} layers with MXFP4 experts are expected")
    written = {}
    for old, new in names.items():
        dtype, shape, start, size = stored[old]
        if "{}" not in new:
            written[new] = stored[old]
            continue
        if shape[0] != (heads + 2 * kv) * dim:
            raise ValueError(f"{old} has {shape[0]} rows, but there are {heads} and {kv} heads")
        for letter, rows in (("q", heads * dim), ("k", kv * dim), ("v", kv * dim)):
            part = rows * size // shape[0]
            written[new.format(letter)] = (dtype, [rows, *shape[1:]], start, part)
            start += part
    return dict(sorted(written.items(), key=lambda t: (-ITEM[t[1][0]], t[0])))


def transformers_config(config):
    """config.json of transformers, less what it takes by default and the tokenizer's files say."""
    renamed = {"num_experts", "rope_scaling_factor", "rope_ntk_alpha", "rope_ntk_beta"}
    kinds, context = ["sliding_attention", "full_attention"], config["initial_context_length"]
    attention, router = "model.layers.*.self_attn", "model.layers.*.mlp.router"
    unquantized = [attention, router, "model.embed_tokens", "lm_head"]
    rope = {"factor": "scaling_factor", "beta_fast": "ntk_beta", "beta_slow": "ntk_alpha"}
    rope = {name: float(config[f"rope_{original}"]) for name, original in rope.items()}
    rope |= {"original_max_position_embeddings": context, "rope_type": "yarn", "truncate": False}
    return {
        "architectures": ["GptOssForCausalLM"],
        "model_type": "gpt_oss",
        **{key: value for key, value in config.items() if key not in renamed},
        "num_local_experts": config["num_experts"],
        "num_experts_per_tok": config["experts_per_token"],
        "layer_types": [kinds[n % 2] for n in range(config["num_hidden_layers"])],
        "max_position_embeddings": int(context * config["rope_scaling_factor"]),
        "rms_norm_eps": 1e-05,
        "rope_scaling": rope,
        "quantization_config": {"quant_method": "mxfp4", "modules_to_not_convert": unquantized},
        "tie_word_embeddings": False,
    }


def write_model(source, path, tensors):
    """Writes `tensors` of the file `source` to a new file."""
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, (dtype, shape, _, size) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with source.open("rb") as file, path.open("xb") as out:
        out.write(len(text).to_bytes(8, "little") + text)
        for _, _, start, size in tensors.values():
            file.seek(start)
            for at in range(0, size, PIECE):
                out.write(file.read(min(PIECE, size - at)))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("original", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--tokenizer", type=pathlib.Path, help="a directory with tokenizer.json")
    args = parser.parse_args()
    try:
        config = json.loads((args.original / "config.json").read_text())
        converted = transformers_config(config)
        tensors = renamed(config, read_header(args.original / MODEL))
        if args.tokenizer and not (args.tokenizer / TOKENIZER[0]).exists():
            raise ValueError(f"{args.tokenizer} has no {TOKENIZER[0]}")
        copied = [args.tokenizer / name for name in TOKENIZER] if args.tokenizer else []
        args.out.mkdir(parents=True)
        for path in filter(pathlib.Path.exists, copied):
            shutil.copyfile(path, args.out / path.name)
        write_model(args.original / MODEL, args.out / MODEL, tensors)
        (args.out / "config.json").write_text(json.dumps(converted, indent=2) + "\n")
    except (KeyError, TypeError) as e:
        sys.exit(f"error: {args.original} is not in the original layout: {e!r}")
    except (OSError, ValueError) as e:
        sys.exit(f"error: {args.original}: {e}")
    print(f"{args.out}: {len(tensors)} tensors, {sum(t[3] for t in tensors.values()) / 1e9:.2f} GB")


if __name__ == "__main__":
    main()
