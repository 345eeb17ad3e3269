#!/usr/bin/env python3
"""Times quantizers and dequantizers beside ggml's own, one thread each, the same rows in memory.

ggml's functions are those of the library that `scripts/build_llama_cpp.sh` builds. Both sides are
asked in turns, for a few passes each, and the best of the passes counts, so neither a busy moment of
the machine nor the caches as the other side left them hurt either.
Prints a table for BENCHMARKS.md: millions of weights per second, the ratio for each instruction
set, and the share of memory's rate that the best of them reaches, counting the floats that are
read, or written by dequantizing. The rows of a pass of --weights 1048576 fit the processor's
caches, those of 67108864 do not.

    scripts/build_llama_cpp.sh
    python3 scripts/bench_quantizers.py [--types q4_K,q6_K] [--rounds 5]
"""

import argparse
import array
import ctypes
import pathlib
import random
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
COLUMNS = 4096
TYPES = {
    "q4_0": 2, "q4_1": 3, "q5_0": 6, "q5_1": 7, "q8_0": 8, "q2_K": 10, "q3_K": 11, "q4_K": 12,
    "q5_K": 13, "q6_K": 14, "iq2_xxs": 16, "iq2_xs": 17, "iq3_xxs": 18, "iq1_s": 19, "iq4_nl": 20,
    "iq3_s": 21, "iq2_s": 22, "iq4_xs": 23, "iq1_m": 29, "f16": 1, "bf16": 30, "tq1_0": 34,
    "tq2_0": 35, "mxfp4": 39,
}  # fmt: skip
# What ggml quantizes by its own function; the others are conversions.
CONVERTED = {"f16": "ggml_fp32_to_fp16_row", "bf16": "ggml_fp32_to_bf16_row_ref"}
NEEDS_IMPORTANCE = {"iq2_xxs", "iq2_xs", "iq1_s"}
# Types that take an importance matrix and do not look at it.
IGNORES_IMPORTANCE = {"q8_0", "mxfp4", "tq1_0", "tq2_0", "f16", "bf16"}
# A turn is over after as many passes, or after as many seconds.
PASSES, TURN = 5, 0.02


class Reference:
    """ggml's own functions."""

    def __init__(self, path, rows, importance):
        self.lib = ctypes.CDLL(str(path))
        self.lib.ggml_quantize_chunk.restype = ctypes.c_size_t
        self.lib.ggml_quantize_chunk.argtypes = [
            ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64,
            ctypes.c_int64, ctypes.c_void_p,
        ]  # fmt: skip
        self.rows, self.importance = rows, importance
        self.out = ctypes.create_string_buffer(len(rows) * 4)
        self.back = ctypes.create_string_buffer(len(rows) * 4)
        # The type that `out` holds.
        self.held = None

    def seconds(self, what, name):
        ty, count = TYPES[name], len(self.rows)
        source = ctypes.c_void_p(self.rows.buffer_info()[0])
        weights = ctypes.c_void_p(self.importance.buffer_info()[0] if what != "quantize" else None)
        self.lib.ggml_quantize_init(ty)
        if what == "dequantize":
            if self.held != ty:
                self.quantize(ty, source, weights)
            convert = {"f16": "ggml_fp16_to_fp32_row", "bf16": "ggml_bf16_to_fp32_row"}
            function = getattr(self.lib, convert.get(name, f"dequantize_row_{name}"))
            function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64]
            start = time.perf_counter()
            function(self.out, self.back, count)
        elif name in CONVERTED:
            function = getattr(self.lib, CONVERTED[name])
            function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64]
            start = time.perf_counter()
            function(source, self.out, count)
        else:
            start = time.perf_counter()
            self.quantize(ty, source, weights)
        return time.perf_counter() - start

    def quantize(self, ty, source, weights):
        self.held = ty
        rows = len(self.rows) // COLUMNS
        self.lib.ggml_quantize_chunk(ty, source, self.out, 0, rows, COLUMNS, weights)


class Ours:
    """qrun's, in a process that waits for questions."""

    def __init__(self, rows, importance):
        command = ["cargo", "bench", "--bench", "quantizers", "--no-run", "--message-format=json"]
        text = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
        import json

        messages = [json.loads(line) for line in text.stdout.splitlines()]
        binary = [m["executable"] for m in messages if m.get("executable")][-1]
        command = [binary, rows, str(COLUMNS), importance]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, question):
        self.process.stdin.write(question + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()


def turn(seconds_of_a_pass):
    """The best of a few passes."""
    passes = []
    while len(passes) < PASSES and sum(passes) < TURN:
        passes.append(seconds_of_a_pass())
    return min(passes)


def three_digits(rate):
    """As many significant digits, and no exponent."""
    return f"{float(f'{rate:.3g}'):g}"


def write(directory, name, values):
    path = pathlib.Path(directory) / name
    path.write_bytes(values.tobytes())
    return str(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--types", default=",".join(TYPES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--weights", type=int, default=1 << 20, help="weights in one pass")
    parser.add_argument("--what", default="quantize,weighted,dequantize")
    default = ROOT / "target" / "llama.cpp" / "bin" / "libggml-base.so"
    parser.add_argument("--library", default=default)
    args = parser.parse_args()

    rng = random.Random(1)
    # The same rows over and over: making up others would take minutes.
    some = array.array("f", (rng.gauss(0, 0.02) for _ in range(min(args.weights, 1 << 20))))
    rows = some * max(1, args.weights // len(some))
    rows = rows[: len(rows) // COLUMNS * COLUMNS]
    importance = array.array("f", (rng.random() ** 2 + 1e-3 for _ in range(COLUMNS)))
    reference = Reference(args.library, rows, importance)
    with tempfile.TemporaryDirectory() as directory:
        ours = Ours(write(directory, "rows", rows), write(directory, "importance", importance))
        sets = ours.ask("sets").split()
        memory = {}
        for way in ["read", "write"]:
            seconds = min(float(ours.ask(way)) for _ in range(3 * args.rounds))
            memory[way] = len(rows) / seconds / 1e6
            print(f"one thread can {way} {4 * memory[way] / 1e3:.3g} GB/s of floats in memory")
        print()
        print(f"| type | what | ggml | {' | '.join(f'{s} | ratio' for s in sets)} | of memory |")
        print("|---|---|---:|" + "---:|---:|" * len(sets) + "---:|")
        for name in args.types.split(","):
            for what in args.what.split(","):
                if what == "quantize" and name in NEEDS_IMPORTANCE:
                    continue
                if what == "weighted" and name in IGNORES_IMPORTANCE:
                    continue
                best = {}
                for _ in range(args.rounds):
                    for side in ["ggml", *sets]:
                        if side == "ggml":
                            seconds = turn(lambda: reference.seconds(what, name))
                        else:
                            seconds = turn(lambda: float(ours.ask(f"{what} {name} {side}")))
                        best[side] = min(seconds, best.get(side, seconds))
                rate = {side: len(rows) / seconds / 1e6 for side, seconds in best.items()}
                cells = [f"{three_digits(rate[s])} | {rate[s] / rate['ggml']:.2f}" for s in sets]
                limit = memory["write" if what == "dequantize" else "read"]
                cells.append(f"{max(rate[s] for s in sets) / limit:.0%}")
                ggml = three_digits(rate["ggml"])
                print(f"| {name} | {what} | {ggml} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
