#!/usr/bin/env python3
"""Writes `tests/fixtures/oracle/types`: which type llama.cpp gives each tensor, by model and format.

Two kinds of models, in one form. Real ones are those of llama.cpp's own `tests/snapshots`, which name
every tensor but say nothing of columns; those stand here, from the published configurations. The
others are made up, to meet the rules of single architectures: `llama-quantize --dry-run` says what it
would do with a file of them. Without an importance matrix, all of them.

    python3 scripts/type_choices.py LLAMA_CPP_SOURCE LLAMA_QUANTIZE
"""

import pathlib
import re
import struct
import subprocess
import sys
import tempfile

OUT = pathlib.Path(__file__).resolve().parent.parent / "tests/fixtures/oracle/types"
BUILD = "b11434"

# Of each snapshot: architecture, columns by the end of a tensor's name (`hidden` where none fits), and
# tensors that no section names, as their type is always the format's own.
REAL = {
    "deepseek-v3.1": ("deepseek2", {
        "attn_output.weight": 16384, "attn_q_b.weight": 1536, "attn_k_b.weight": 128, "attn_v_b.weight": 512,
        "ffn_down.weight": 18432, "ffn_down_shexp.weight": 2048, "ffn_down_exps.weight": 2048,
    }, ["blk.*.attn_v_b.weight"]),
    "gemma-3-4b-it": ("gemma3", {"attn_output.weight": 2048, "ffn_down.weight": 10240}, []),
    "glm-4.6v": ("glm4moe", {
        "attn_output.weight": 12288, "ffn_down.weight": 10944, "ffn_down_shexp.weight": 1408,
        "ffn_down_exps.weight": 1408,
    }, []),
    "gpt-oss-120b": ("gpt-oss", {"attn_output.weight": 4096}, []),
    "meta-llama-3.1-70b-instruct": ("llama", {"ffn_down.weight": 28672}, []),
    "nvidia-nemotron-3-nano-30b-a3b": ("nemotron_h_moe", {
        "attn_output.weight": 4096, "ssm_out.weight": 4096, "ffn_down_shexp.weight": 3712,
        "ffn_down_exps.weight": 1856,
    }, []),
    "qwen3-0.6b": ("qwen3", {"attn_output.weight": 2048, "ffn_down.weight": 3072}, []),
    "qwen3-14b": ("qwen3", {"ffn_down.weight": 17408}, []),
    "qwen3-coder-next": ("qwen3next", {
        "attn_output.weight": 4096, "ssm_out.weight": 4096, "ffn_down_shexp.weight": 512,
        "ffn_down_exps.weight": 512,
    }, []),
    "qwen3.5-397b-a17b": ("qwen35moe", {
        "attn_output.weight": 8192, "ssm_out.weight": 8192, "ffn_down_shexp.weight": 1024,
        "ffn_down_exps.weight": 1024,
    }, []),
    "qwen3.6-27b": ("qwen35", {
        "attn_output.weight": 6144, "ssm_out.weight": 6144, "ffn_down.weight": 17408,
    }, []),
    "step-3.5-flash": ("step35", {
        "attn_output.weight": 8192, "ffn_down.weight": 11264, "ffn_down_shexp.weight": 1280,
        "ffn_down_exps.weight": 1280,
    }, []),
}  # fmt: skip

ATTENTION = {"attn_q": 512, "attn_k": 512, "attn_v": 512, "attn_output": 512}
DENSE = {"ffn_gate": 512, "ffn_up": 512, "ffn_down": 576}
EXPERTS = {"ffn_gate_exps": (512, 8), "ffn_up_exps": (512, 8), "ffn_down_exps": (576, 8)}
LATENT = {
    "attn_q_a": 512, "attn_q_b": 512, "attn_kv_a_mqa": 512, "attn_k_b": (128, 4), "attn_v_b": (512, 4),
    "attn_output": 512,
}  # fmt: skip
DELTA = {"ssm_conv1d_q": 512, "ssm_f_a": 512, "ssm_f_b": 512, "ssm_beta": 512, "ssm_g_a": 512, "ssm_g_b": 512}
INDEXER = {
    "hc_attn_fn": 512, "hc_ffn_fn": 512, "indexer.proj": 512, "indexer.attn_k": 512, "indexer.attn_q_b": 512,
    "indexer_compressor_gate": 512, "indexer_compressor_ape": 512, "nextn.eh_proj": 512,
}  # fmt: skip

# Made up: architecture, numbers of the header, tensors of each layer (columns, or columns and
# matrices), whether there is an output of its own, and keys that the architecture cannot do without.
MADE_UP = {
    "made-up-falcon": ("falcon", dict(layers=32, heads=8, kv_heads=1),
        {"attn_qkv": 512, "attn_output": 512, "ffn_up": 512, "ffn_down": 2048}, True,
        {"attention.layer_norm_epsilon": 1e-5}),
    "made-up-llama-65b": ("llama", dict(layers=80, heads=64, kv_heads=64), ATTENTION | DENSE, True, {}),
    "made-up-llama-70b-tied": ("llama", dict(layers=81, predicting_layers=1, heads=64, kv_heads=8), ATTENTION | DENSE, False, {}),
    "made-up-llama-80-layers-8-experts": ("llama", dict(layers=80, heads=64, kv_heads=8, experts=8), ATTENTION | EXPERTS, True, {}),
    "made-up-llama-8x7b": ("llama", dict(layers=32, heads=32, kv_heads=8, experts=8), ATTENTION | EXPERTS, True, {}),
    "made-up-llama-embed": ("llama-embed", dict(layers=80, heads=64, kv_heads=8), ATTENTION | DENSE, False, {}),
    "made-up-qwen2-72b": ("qwen2", dict(layers=80, heads=64, kv_heads=64), ATTENTION | DENSE, True, {}),
    "made-up-qwen3-80-layers": ("qwen3", dict(layers=80, heads=64, kv_heads=8), ATTENTION | DENSE, True, {}),
    "made-up-deci-51b": ("deci", dict(layers=80, heads=[0] + [64] * 79, kv_heads=[0] + [8] * 79), ATTENTION | DENSE, True, {}),
    "made-up-olmo": ("olmo", dict(layers=80, heads=64), ATTENTION | DENSE, False, {"attention.layer_norm_epsilon": 1e-5}),
    "made-up-jais2-70b": ("jais2", dict(layers=68, heads=64, kv_heads=64), ATTENTION | DENSE, True, {"attention.layer_norm_epsilon": 1e-5}),
    "made-up-bailingmoe3": ("bailingmoe3", dict(layers=24, heads=16, kv_heads=[0, 16] * 12, experts=128), LATENT | DELTA | {
        "ffn_gate_exps": (512, 8), "ffn_up_exps": (512, 8), "ffn_down_exps": (512, 8), "ffn_down_shexp": 512}, True, {
        "attention.key_length_mla": 192, "attention.value_length_mla": 128, "attention.kv_lora_rank": 512,
        "ssm.conv_kernel": 4, "kda.head_dim": 128, "kda.gate_lower_bound": -5.0, "expert_feed_forward_length": 512,
        "expert_shared_count": 1, "leading_dense_block_count": 1, "expert_gating_func": 2}),
    "made-up-glm5-next": ("glm5-next", dict(layers=45, heads=16, kv_heads=[0, 16, 16] * 15, experts=128), LATENT | DELTA | INDEXER | {
        "ffn_gate_exps": (512, 8), "ffn_up_exps": (512, 8), "ffn_down_exps": (512, 8), "ffn_down_shexp": 512}, True, {
        "attention.key_length_mla": 192, "attention.value_length_mla": 128, "attention.q_lora_rank": 512,
        "attention.kv_lora_rank": 512, "ssm.conv_kernel": 4, "kda.head_dim": 128, "kda.gate_lower_bound": -5.0,
        "expert_feed_forward_length": 512, "expert_shared_count": 1, "leading_dense_block_count": 1,
        "expert_gating_func": 2, "attention.indexer.head_count": 4, "attention.indexer.key_length": 128,
        "attention.indexer.top_k": 64, "attention.indexer.kpool": 2, "hyper_connection.count": 4,
        "hyper_connection.sinkhorn_iterations": 1, "hyper_connection.epsilon": 1e-6}),
}  # fmt: skip

FORMATS = """f32 f16 bf16 q4_0 q4_1 q5_0 q5_1 q8_0 q2_k q2_k_s q3_k_s q3_k_m q3_k_l q4_k_s q4_k_m q5_k_s q5_k_m
q6_k iq1_s iq1_m iq2_xxs iq2_xs iq2_s iq2_m iq3_xxs iq3_xs iq3_s iq3_m iq4_nl iq4_xs tq1_0 tq2_0 mxfp4_moe""".split()
# The snapshots' headers give the base types.
BASES = {}


def ranges(numbers):
    """`0-3,7` for [0, 1, 2, 3, 7]."""
    runs = []
    for n in sorted(numbers):
        if runs and runs[-1][1] == n - 1:
            runs[-1][1] = n
        else:
            runs.append([n, n])
    return ",".join(f"{a}" if a == b else f"{a}-{b}" for a, b in runs)


def compact(pairs):
    """Lines of `blk.[LAYERS].REST VALUE` for pairs of names and values."""
    groups = {}
    for name, value in pairs:
        layer = re.match(r"blk\.(\d+)\.(.*)", name)
        key = (layer[2], value) if layer else (None, name, value)
        groups.setdefault(key, []).append(int(layer[1]) if layer else None)
    return [
        f"blk.[{ranges(layers)}].{key[0]} {key[1]}" if key[0] else f"{key[1]} {key[2]}"
        for key, layers in sorted(groups.items(), key=lambda item: str(item[0]))
    ]


def write(name, about, header, tensors, sections):
    shape = lambda size: " x ".join(map(str, size)) if isinstance(size, tuple) else str(size)
    lines = [f"# {about}"] + [f"{key} {value}" for key, value in header.items()]
    lines += ["", "[tensors] columns, or columns x matrices"]
    lines += compact((tensor, shape(size)) for tensor, size in tensors.items())
    for format, base, others in sections:
        lines += ["", f"[{format}] {base}"] + compact(others)
    (OUT / f"{name}.txt").write_text("\n".join(lines) + "\n")


def real(name, text):
    architecture, columns, unnamed = REAL[name]
    numbers = {k: int(v) for k, v in re.findall(r"(n_\w+)=(\d+)", text)}
    header = {"architecture": architecture, "layers": numbers["n_layer"], "heads": numbers["n_head"],
              "kv_heads": numbers["n_head_kv"], "experts": numbers.get("n_expert", 0)}  # fmt: skip
    sections, names = [], set()
    for section in text.split("\n[")[1:]:
        first, *lines = section.strip().splitlines()
        format, base = first.split("] ")
        others = [tuple(line.rsplit(" ", 1)) for line in lines]
        names |= {tensor for tensor, _ in others}
        BASES[format.lower()] = base
        sections.append((format, base, others))
    # All layers have the same experts, and a few formats name some of them only.
    experts = {n.split(".", 2)[2] for n in names if n.endswith("_exps.weight")}
    layers = {n.split(".")[1] for n in names if "_exps." in n or "_shexp." in n}
    names |= {f"blk.{layer}.{tensor}" for layer in layers for tensor in experts}
    names |= {u.replace("*", str(i)) for u in unnamed for i in range(header["layers"])}
    tensors = {}
    for tensor in names:
        size = columns.get(tensor.split(".", 2)[-1], numbers["n_embd"])
        is_3d = tensor.endswith(("_exps.weight", "_k_b.weight", "_v_b.weight"))
        tensors[tensor] = (size, max(header["experts"], 2)) if is_3d else size
    about = f"{text.splitlines()[0][9:]}: from llama.cpp's snapshot, {BUILD}"
    write(name, about, header, tensors, sections)


def gguf_value(value):
    if isinstance(value, str):
        return struct.pack("<IQ", 8, len(value)) + value.encode()
    if isinstance(value, list):
        return struct.pack(f"<IIQ{len(value)}I", 9, 4, len(value), *value)
    return struct.pack("<If", 6, value) if isinstance(value, float) else struct.pack("<II", 4, value)


def gguf(path, metadata, tensors):
    """A file of f32 zeros with `tensors` of 4 rows each."""
    infos, offset = b"", 0
    for name, size in tensors.items():
        columns, matrices = size if isinstance(size, tuple) else (size, 1)
        infos += struct.pack("<Q", len(name)) + name.encode()
        infos += struct.pack("<IQQQIQ", 3, columns, 4, matrices, 0, offset)
        offset += columns * 4 * matrices * 4
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(metadata))
    for key, value in metadata.items():
        head += struct.pack("<Q", len(key)) + key.encode() + gguf_value(value)
    head += infos
    with open(path, "wb") as file:
        file.write(head)
        file.truncate(len(head) + -len(head) % 32 + offset)


def made_up(name, quantize):
    architecture, numbers, parts, has_output, extra = MADE_UP[name]
    tensors = {"token_embd.weight": 512} | ({"output.weight": 512} if has_output else {})
    for layer in range(numbers["layers"]):
        tensors |= {f"blk.{layer}.{part}.weight": size for part, size in parts.items()}
    keys = {"layers": "block_count", "predicting_layers": "nextn_predict_layers", "experts": "expert_count",
            "heads": "attention.head_count", "kv_heads": "attention.head_count_kv"}  # fmt: skip
    metadata = {"general.architecture": architecture}
    values = {"embedding_length": 512, "context_length": 512, "feed_forward_length": 512,
              "attention.layer_norm_rms_epsilon": 1e-5}  # fmt: skip
    values |= {keys[key]: value for key, value in numbers.items()} | extra
    if "experts" in numbers:
        values["expert_used_count"] = 2
    metadata |= {f"{architecture}.{key}": value for key, value in values.items()}
    sections = []
    with tempfile.TemporaryDirectory() as directory:
        source = f"{directory}/in.gguf"
        gguf(source, metadata, tensors)
        for format in FORMATS:
            run = subprocess.run([quantize, "--dry-run", source, f"{directory}/out", format], text=True, capture_output=True)
            said = run.stdout + run.stderr
            found = {}
            for tensor, old, rest in re.findall(r"\] +(\S+) +- \[.*?\], type = +(\w+),(.*)", said):
                new = re.search(r"-> +[\d.]+ MiB \((\w+)\)", rest)
                found[tensor] = new[1] if new else old
            if run.returncode or set(found) != set(tensors):
                sys.exit(f"{name}, {format}: {said[-2000:]}")
            others = [(t, ty) for t, ty in found.items() if ty != BASES[format]]
            sections.append((format.upper(), BASES[format], others))
    about = f"made up: what llama-quantize --dry-run says of it, {BUILD}"
    header = {"architecture": architecture} | {
        key: " ".join(map(str, value)) if isinstance(value, list) else value for key, value in numbers.items()
    }
    write(name, about, header, tensors, sections)


def main():
    source, quantize = sys.argv[1:]
    OUT.mkdir(exist_ok=True)
    for name in REAL:
        real(name, (pathlib.Path(source) / f"tests/snapshots/{name}.schema").read_text())
    for name in MADE_UP:
        made_up(name, quantize)


main()
