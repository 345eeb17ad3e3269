#!/usr/bin/env python3
"""Quantizes random rows with ggml's own functions and with qrun and compares every byte.

ggml's functions come from the PyPI package `libgguf`, installed into a virtual environment under
`target/`, or with `--library` from what `scripts/build_llama_cpp.sh` builds. That is build b11434
itself: the package (0.2.2) has other bytes for most rows of iq1_m, which is left out without the
library, and for one row in thousands of q4_1. The rows go to qrun in a GGUF file of several widths;
a rule gives every tensor of it the type in question, once without and once with an importance
matrix. What the fixed vectors of the plain tests cannot do, this does with as many rows as there is
time for: another seed, other rows.

    cargo build --release
    python3 scripts/check_quantizers.py [--rows 2000] [--seed 1]
    python3 scripts/check_quantizers.py --library target/llama.cpp/bin/libggml-base.so

Exit code 0 when all bytes are the same, 1 when a row differs.
"""

import argparse
import ctypes
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
VENV = ROOT / "target" / "quantizer-venv"
PACKAGES = ["libgguf==0.2.2", "gguf==0.19.0", "numpy"]
WIDTHS = [32, 96, 256, 768, 2880]
TYPES = (
    "q8_0 q4_0 q4_1 q5_0 q5_1 q2_K q3_K q4_K q5_K q6_K iq1_s iq1_m iq2_xxs iq2_xs iq2_s iq3_xxs "
    "iq3_s iq4_nl iq4_xs tq1_0 tq2_0 mxfp4 f16 bf16"
).split()
# Types that qrun, as llama-quantize, gives to no such tensor without an importance matrix.
NEEDS_IMPORTANCE = {"iq1_s", "iq1_m", "iq2_xxs", "iq2_xs", "iq2_s", "iq3_xxs"}


def enter_venv():
    """Re-executes this script inside the virtual environment, made on first use."""
    if pathlib.Path(sys.prefix).resolve() == VENV.resolve():
        return
    python = VENV / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *PACKAGES], check=True)
    os.execv(python, [str(python), *sys.argv])


def random_rows(rng, count, columns):
    """Rows of ten kinds, all within what every type can hold."""
    import numpy as np

    def row(kind):
        gauss = rng.standard_normal(columns)
        match kind:
            case 0:
                return gauss * 0.02
            case 1:
                return gauss**3
            case 2:
                return gauss * 2.0 ** rng.integers(-120, 10, columns)
            case 3:  # of which no search makes a scale beyond half precision
                return gauss * 1e3
            case 4:  # just below powers of two
                almost_one = np.nextafter(np.float32(1), np.float32(0))
                return np.sign(gauss) * 2.0 ** rng.integers(-20, 12) * almost_one
            case 5:  # ties
                return np.round(gauss * 4) / 8
            case 6:
                return gauss * 10.0 ** rng.integers(-36, 4)
            case 7:  # one-sided
                return (np.abs(gauss) + 5) * rng.choice([-1, 1])
            case 8:  # outliers
                return np.where(rng.random(columns) < 0.02, gauss * 100, gauss * 1e-3)
            case _:  # three levels
                return rng.integers(-1, 2, columns) * rng.random()

    return np.array([row(i % 10) for i in range(count)], dtype=np.float32)


def write_gguf(path, tensors):
    import gguf

    writer = gguf.GGUFWriter(path, "gpt-oss")
    for columns, rows in tensors.items():
        writer.add_tensor(f"w{columns}.weight", rows)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def random_importance(rng, columns):
    """Importance over many magnitudes, a tenth of it zero."""
    import numpy as np

    weights = 10.0 ** rng.uniform(-6, 2, columns)
    return np.where(rng.random(columns) < 0.1, 0, weights).astype(np.float32)


def write_imatrix(path, importance):
    """As llama-imatrix does, with sums over one token, so that they are the importance itself."""
    import gguf
    import numpy as np

    writer = gguf.GGUFWriter(path, "")
    writer.add_type("imatrix")
    writer.add_array("imatrix.datasets", ["random"])
    writer.add_uint32("imatrix.chunk_count", 1)
    writer.add_uint32("imatrix.chunk_size", 1)
    for columns, weights in importance.items():
        writer.add_tensor(f"w{columns}.weight.in_sum2", weights.reshape(1, -1))
        writer.add_tensor(f"w{columns}.weight.counts", np.ones((1, 1), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


class Library:
    """ggml's own library behind the interface of `libgguf`."""

    def __init__(self, path):
        self.quantize = ctypes.CDLL(path).ggml_quantize_chunk
        self.quantize.restype = ctypes.c_size_t
        numbers = [ctypes.c_int64] * 3
        pointer = ctypes.c_void_p
        self.quantize.argtypes = [ctypes.c_int, pointer, pointer, *numbers, pointer]

    def quantize_rows_raw(self, qtype, rows, count, columns, weights):
        out = ctypes.create_string_buffer(rows.nbytes)
        weights = None if weights is None else weights.ctypes.data
        size = self.quantize(qtype, rows.ctypes.data, out, 0, count, columns, weights)
        return out.raw[:size]


def qrun_bytes(binary, source, out, name, imatrix):
    """Columns to the bytes of the tensor of that width, where qrun could give it this type."""
    import gguf

    command = [binary, "quantize", source, out, "--force", "--quiet"]
    command += ["--format", "q8_0", "--tensor-type", f".*={name}"]
    command += ["--imatrix", imatrix] if imatrix else []
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return {
        int(t.name[1:].split(".")[0]): t.data.tobytes()
        for t in gguf.GGUFReader(out).tensors
        if t.tensor_type.name.lower() == name.lower()
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=500, help="rows of each width")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--binary", default=ROOT / "target" / "release" / "qrun")
    parser.add_argument("--library", help="libggml-base.so to compare with instead of libgguf")
    args = parser.parse_args()
    enter_venv()

    import libgguf
    import numpy as np

    reference = Library(args.library) if args.library else libgguf
    types = [name for name in TYPES if args.library or name != "iq1_m"]
    rng = np.random.default_rng(args.seed)
    tensors = {columns: random_rows(rng, args.rows, columns) for columns in WIDTHS}
    differing = 0
    with tempfile.TemporaryDirectory() as directory:
        source = pathlib.Path(directory) / "rows.gguf"
        write_gguf(source, tensors)
        importance = {columns: random_importance(rng, columns) for columns in WIDTHS}
        imatrix = pathlib.Path(directory) / "rows.imatrix.gguf"
        write_imatrix(imatrix, importance)
        runs = [(name, None) for name in types if name not in NEEDS_IMPORTANCE]
        for name, matrix in runs + [(name, imatrix) for name in types]:
            qtype = libgguf.GGMLQuantizationType[name.upper()]
            out = pathlib.Path(directory) / "out.gguf"
            found = qrun_bytes(args.binary, source, out, name, matrix)
            assert found, f"qrun gave no tensor the type {name}"
            for columns, data in found.items():
                rows = tensors[columns]
                weights = importance[columns] if matrix else None
                expected = reference.quantize_rows_raw(qtype, rows, len(rows), columns, weights)
                shape = (len(rows), -1)
                same = np.frombuffer(data, np.uint8).reshape(shape) == np.frombuffer(
                    expected, np.uint8
                ).reshape(shape)
                bad = np.flatnonzero(~same.all(axis=1))
                differing += len(bad)
                for row in bad[:3]:
                    byte = np.flatnonzero(~same[row])[0]
                    print(f"{name}, {columns} columns, row {row}: differs from byte {byte} on")
            how = "with" if matrix else "without"
            print(f"{name} {how} importance: {len(found)} widths of {args.rows} rows compared")
    print("all bytes are the same" if not differing else f"{differing} rows differ")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
