#!/usr/bin/env python3
"""Makes tests/fixtures/oracle/sparse_importance.safetensors: rows quantized by ggml's own functions
where most columns have no importance at all, so that scales come out negative and sums empty.

Needs numpy and safetensors, and the library that `scripts/build_llama_cpp.sh` builds.

    python3 scripts/make_sparse_vectors.py [--library target/llama.cpp/bin/libggml-base.so]
"""

import argparse
import ctypes
import pathlib

import numpy as np
from bench_quantizers import CONVERTED, IGNORES_IMPORTANCE, TYPES
from safetensors.numpy import save_file

ROOT = pathlib.Path(__file__).resolve().parent.parent
OUT = ROOT / "tests" / "fixtures" / "oracle" / "sparse_importance.safetensors"
ROWS, COLUMNS = 16, 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--library", default=ROOT / "target/llama.cpp/bin/libggml-base.so")
    lib = ctypes.CDLL(str(parser.parse_args().library))
    lib.ggml_quantize_chunk.restype = ctypes.c_size_t
    integers = [ctypes.c_int64] * 3
    pointer = ctypes.c_void_p
    lib.ggml_quantize_chunk.argtypes = [ctypes.c_int, pointer, pointer, *integers, pointer]

    rng = np.random.default_rng(1)
    rows = (rng.standard_normal((ROWS, COLUMNS)) * 0.02).astype(np.float32)
    importance = rng.random(COLUMNS, dtype=np.float32) ** 2
    # Three columns in a hundred, forty in the last quarter; then none in a stretch.
    share = np.where(np.arange(COLUMNS) < COLUMNS * 3 // 4, 0.03, 0.4)
    importance[rng.random(COLUMNS) >= share] = 0
    importance[-64:] = 0
    tensors = {"input": rows, "importance": importance}
    for name, ty in TYPES.items():
        if name in CONVERTED or name in IGNORES_IMPORTANCE:
            continue
        out = np.zeros(rows.nbytes, dtype=np.uint8)
        lib.ggml_quantize_init(ty)
        address = [a.ctypes.data_as(pointer) for a in (rows, out, importance)]
        size = lib.ggml_quantize_chunk(ty, address[0], address[1], 0, ROWS, COLUMNS, address[2])
        tensors[f"{name}.importance"] = out[:size].reshape(ROWS, -1)
    save_file(tensors, OUT)
    print(f"{OUT.relative_to(ROOT)}: {OUT.stat().st_size} bytes, {len(tensors) - 2} types")


if __name__ == "__main__":
    main()
