#!/usr/bin/env python3
"""Times products of quantized weights with activations beside ggml's own, one thread each.

Ours are those of `cargo bench --bench kernels`; ggml's are `ggml_mul_mat` of its CPU library, which
`scripts/build_llama_cpp.sh` builds, on one thread, weights where a file has them (ggml can keep
some types interleaved for longer prompts; that is not measured here). One token reads 1.6 GB of rows
of 4096 columns, which no cache holds; 64 and 512 tokens read some hundreds of rows. Prints a table
for BENCHMARKS.md: 10^9 products a second, and ratios.

    scripts/build_llama_cpp.sh
    python3 scripts/bench_kernels.py [--types q4_K,q6_K]
"""

import argparse
import ctypes
import json
import mmap
import pathlib
import random
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
COLUMNS = 4096
F32 = 0
TYPES = {
    "f32": 0, "f16": 1, "bf16": 30, "q4_0": 2, "q4_1": 3, "q5_0": 6, "q5_1": 7, "q8_0": 8, "q2_K": 10, "q3_K": 11, "q4_K": 12,
    "q5_K": 13, "q6_K": 14, "iq2_xxs": 16, "iq2_xs": 17, "iq3_xxs": 18, "iq1_s": 19, "iq4_nl": 20,
    "iq3_s": 21, "iq2_s": 22, "iq4_xs": 23, "iq1_m": 29, "tq1_0": 34, "tq2_0": 35, "mxfp4": 39,
}  # fmt: skip
MEMORY = 3 << 29
# Tokens and rows; with one token as many rows as take so many bytes.
CASES = {"row_memory": (1, None), "tile_64": (64, 1024), "tile_512": (512, 320)}


class InitParams(ctypes.Structure):
    _fields_ = [
        ("mem_size", ctypes.c_size_t),
        ("mem_buffer", ctypes.c_void_p),
        ("no_alloc", ctypes.c_bool),
    ]


class Reference:
    """ggml's matrix product."""

    def __init__(self, directory):
        base = ctypes.CDLL(str(directory / "libggml-base.so"), mode=ctypes.RTLD_GLOBAL)
        cpu = ctypes.CDLL(str(directory / "libggml-cpu.so"), mode=ctypes.RTLD_GLOBAL)
        pointer, number = ctypes.c_void_p, ctypes.c_int64
        functions = {
            "ggml_init": (pointer, [InitParams]),
            "ggml_free": (None, [pointer]),
            "ggml_new_tensor_2d": (pointer, [pointer, ctypes.c_int, number, number]),
            "ggml_mul_mat": (pointer, [pointer, pointer, pointer]),
            "ggml_new_graph": (pointer, [pointer]),
            "ggml_build_forward_expand": (None, [pointer, pointer]),
            "ggml_get_data": (pointer, [pointer]),
            "ggml_row_size": (ctypes.c_size_t, [ctypes.c_int, number]),
            "ggml_quantize_chunk": (
                ctypes.c_size_t,
                [ctypes.c_int, pointer, pointer, number, number, number, pointer],
            ),
        }
        for name, (result, arguments) in functions.items():
            function = getattr(base, name)
            function.restype, function.argtypes = result, arguments
            setattr(self, name, function)
        self.compute = cpu.ggml_graph_compute_with_ctx
        self.compute.argtypes = [pointer, pointer, ctypes.c_int]
        values = [random.uniform(-1, 1) for _ in range(64 * COLUMNS)]
        self.values = (ctypes.c_float * len(values))(*values)
        self.importance = (ctypes.c_float * COLUMNS)(*[1.0] * COLUMNS)

    def place(self, tensor, size, shift):
        """Moves the data of a tensor to so many bytes after a multiple of 64, where ours are."""
        memory = ctypes.c_char.from_buffer(mmap.mmap(-1, size + shift))
        words = (ctypes.c_uint64 * 40).from_address(tensor)
        words[list(words).index(self.ggml_get_data(tensor))] = ctypes.addressof(memory) + shift
        return memory

    def rate(self, ty, tokens, rows):
        """10^9 products a second."""
        if rows is None:
            rows = MEMORY // self.ggml_row_size(ty, COLUMNS) // 64 * 64
        context = self.ggml_init(InitParams(3 << 30, None, False))
        weights = self.ggml_new_tensor_2d(context, ty, COLUMNS, rows)
        inputs = self.ggml_new_tensor_2d(context, F32, COLUMNS, tokens)
        sizes = rows * self.ggml_row_size(ty, COLUMNS), tokens * COLUMNS * 4
        kept = self.place(weights, sizes[0], 32), self.place(inputs, sizes[1], 0)
        data = self.ggml_get_data(weights)
        address = ctypes.addressof(self.values)
        size = self.ggml_quantize_chunk(ty, address, data, 0, 64, COLUMNS, self.importance)
        for part in range(1, rows // 64):
            ctypes.memmove(data + part * size, data, size)
        for token in range(tokens):
            row = address + token % 64 * COLUMNS * 4
            ctypes.memmove(self.ggml_get_data(inputs) + token * COLUMNS * 4, row, COLUMNS * 4)
        graph = self.ggml_new_graph(context)
        self.ggml_build_forward_expand(graph, self.ggml_mul_mat(context, weights, inputs))
        best, begin = float("inf"), time.perf_counter()
        while best == float("inf") or time.perf_counter() - begin < 0.8:
            start = time.perf_counter()
            assert self.compute(context, graph, 1) == 0
            best = min(best, time.perf_counter() - start)
        self.ggml_free(context)
        del kept
        return rows * COLUMNS * tokens / best / 1e9


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--types", default=",".join(TYPES), help="comma-separated")
    parser.add_argument("--llama", type=pathlib.Path, default=ROOT / "target/llama.cpp/bin")
    parser.add_argument("--ours", help="the built bench, instead of `cargo bench`")
    args = parser.parse_args()
    reference = Reference(args.llama)
    command = [args.ours] if args.ours else ["cargo", "bench", "-q", "--bench", "kernels", "--"]
    print("| type | row from memory | ggml | ratio | 64 tokens | ggml | ratio | 512 tokens | ggml | ratio |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name in args.types.split(","):
        output = subprocess.run([*command, name], cwd=ROOT, check=True, stdout=subprocess.PIPE)
        ours = json.loads(output.stdout)
        cells = []
        for case, (tokens, rows) in CASES.items():
            rate, theirs = ours[f"{case}_gmac_per_s"], reference.rate(TYPES[name], tokens, rows)
            cells += [f"{rate:.1f}", f"{theirs:.1f}", f"{rate / theirs:.2f}"]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
