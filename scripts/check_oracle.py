#!/usr/bin/env python3
"""Has llama.cpp make again what tests/fixtures/oracle holds of it, and compares.

From an f32 file of the nano checkpoint, llama-quantize writes every format of the sections
`quantize_keep_mxfp4`, `quantize_requantized` and `quantize_imatrix_requantized` of tensors.json,
every format once more with the experts kept and an importance matrix, and every case of
options.json; llama-perplexity measures what perplexity.json holds. Each file is also held against
the one `qrun quantize` writes: the two are the same to the last byte. Formats that need the matrix
are refused by both without it. Build the tools first:

    scripts/build_llama_cpp.sh
    cargo run --release -- convert tests/fixtures/gpt-oss-nano target/nano-f32.gguf --force
    python3 scripts/check_oracle.py target/nano-f32.gguf

Exit code 0 when all of it comes out the same. `--write-options` writes the types of options.json
anew, for cases added to it.
"""

import argparse
import filecmp
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
VENV = ROOT / "target" / "llama-venv"
TOOLS = ROOT / "target" / "llama.cpp" / "bin"
ORACLE = ROOT / "tests" / "fixtures" / "oracle"
CORPUS = ROOT / "tests" / "fixtures" / "corpus"
KEEP = ["--tensor-type", "ffn_.*_exps=mxfp4"]
REQUANTIZE = ["--native-mxfp4", "requantize"]
# The file's metadata holds the matrix's name as it is typed: both programs run in its directory.
IMATRIX = ["--imatrix", "nano.imatrix.gguf"]
# Not in tensors.json, as F32 is not: the files alone are compared.
EXPERTS_AND_IMATRIX = "experts kept, imatrix"
# Formats in which llama-quantize leaves no tensor in a type of its own.
FLOATS = {"F32", "F16", "BF16"}
# Section to the options of llama-quantize and of `qrun quantize`.
SECTIONS = {
    "quantize_keep_mxfp4": (KEEP, ["--native-mxfp4", "keep"]),
    "quantize_requantized": ([], REQUANTIZE),
    "quantize_imatrix_requantized": (IMATRIX, [*REQUANTIZE, *IMATRIX]),
    EXPERTS_AND_IMATRIX: ([*KEEP, *IMATRIX], ["--native-mxfp4", "keep", *IMATRIX]),
}
# llama-perplexity prints four decimals; threads do not change it, kernels of another CPU do.
PERPLEXITY_TOLERANCE = 0.001


def enter_venv():
    """Re-executes this script with the Python of the virtual environment that has `gguf`."""
    if pathlib.Path(sys.prefix).resolve() != VENV.resolve():
        python = str(VENV / "bin" / "python")
        os.execv(python, [python, *sys.argv])


def digests(path):
    """Name to `[type, sha256]` of each tensor's data."""
    import gguf

    return {
        t.name: [t.tensor_type.name, hashlib.sha256(t.data.tobytes()).hexdigest()]
        for t in gguf.GGUFReader(path).tensors
    }


def quantize(source, out, name, options):
    """One llama-quantize run; its own output only where it fails."""
    subprocess.run(
        [TOOLS / "llama-quantize", "--allow-requantize", *options, source, out, name],
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=ORACLE,
    )


def run_qrun(qrun, source, out, name, options):
    """One `qrun quantize` run."""
    command = [qrun, "quantize", source, out, "--format", name, *options, "--force", "--quiet"]
    return subprocess.run(command, capture_output=True, text=True, cwd=ORACLE)


def same_file(qrun, source, theirs, name, options, out):
    """Whether qrun writes the same file, and what to say of it."""
    done = run_qrun(qrun, source, out, name, options)
    if done.returncode:
        return False, f"qrun: {done.stderr.strip().splitlines()[-1]}"
    same = filecmp.cmp(theirs, out, shallow=False)
    return same, "same file as qrun's" if same else "NOT the file that qrun writes"


def check_refusals(args, out, names):
    """Formats that neither program writes without an importance matrix; how many are written."""
    bad = 0
    for name in sorted(names):
        if args.format and name not in args.format:
            continue
        ours = run_qrun(args.qrun, args.f32, out, name, REQUANTIZE).returncode
        try:
            quantize(args.f32, out, name, [])
            theirs = 0
        except subprocess.CalledProcessError as error:
            theirs = error.returncode
        bad += not (ours and theirs)
        print(
            f"{'without a matrix':28} {name:10} llama-quantize: {theirs}, qrun: {ours}; "
            f"{'refused by both' if ours and theirs else 'NOT refused by both'}",
            flush=True,
        )
    return bad


def check_options(args, out, ours):
    """Every case of options.json; the number of those that differ."""
    path = ORACLE / "options.json"
    cases = json.loads(path.read_text())
    bad = 0
    for case in cases:
        quantize(args.f32, out, case["format"], case["llama_quantize"])
        found = {name: ty.lower() for name, (ty, _) in digests(out).items() if ty != "F32"}
        # ggml's names have some letters in capitals.
        found = {name: re.sub(r"_k$", "_K", ty) for name, ty in found.items()}
        if args.write_options:
            case["types"] = found
        options = [*REQUANTIZE, *case["qrun"]]
        same, said = same_file(args.qrun, args.f32, out, case["format"], options, ours)
        different = [t for t in found | case["types"] if found.get(t) != case["types"].get(t)]
        bad += len(different) + (not same)
        print(
            f"options {case['format']} {' '.join(case['llama_quantize'])}: {len(different)} types "
            f"differ; {said}",
            flush=True,
        )
    if args.write_options:
        path.write_text(json.dumps(cases, indent=1) + "\n")
    return bad


def perplexity(gguf_file, text):
    """llama-perplexity's final estimate. Its logger sometimes loses the last line at exit, so ask again."""
    command = [TOOLS / "llama-perplexity", "-m", gguf_file, "-f", text, "-c", "512", "-fa", "off"]
    for _ in range(5):
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        found = re.search(r"Final estimate: PPL = ([0-9.]+)", done.stdout + done.stderr)
        if found:
            return float(found[1])
    sys.exit(f"llama-perplexity prints no estimate for {gguf_file}: {done.stderr[-500:]}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("f32", help="the nano checkpoint as an f32 GGUF file")
    parser.add_argument("--format", action="append", help="default: all")
    parser.add_argument("--qrun", default=str(ROOT / "target" / "release" / "qrun"))
    parser.add_argument("--skip-perplexity", action="store_true")
    parser.add_argument("--write-options", action="store_true", help="and check nothing else")
    args = parser.parse_args()
    enter_venv()
    args.f32, args.qrun = os.path.abspath(args.f32), os.path.abspath(args.qrun)

    bad = 0
    tensors = json.loads((ORACLE / "tensors.json").read_text())
    measured = json.loads((ORACLE / "perplexity.json").read_text())["corpus"]
    with tempfile.TemporaryDirectory(dir=ROOT / "target") as work:
        out = os.path.join(work, "out.gguf")
        ours = os.path.join(work, "ours.gguf")
        if not args.format:
            bad += check_options(args, out, ours)
        if args.write_options:
            sys.exit(1 if bad else 0)
        with_matrix, without = (tensors[f"quantize_{s}requantized"] for s in ("imatrix_", ""))
        bad += check_refusals(args, ours, with_matrix.keys() - without.keys())
        without["F32"] = {}
        tensors[EXPERTS_AND_IMATRIX] = dict.fromkeys(with_matrix.keys() - FLOATS, {})
        for section, (options, our_options) in SECTIONS.items():
            for name, expected in sorted(tensors[section].items()):
                if args.format and name not in args.format:
                    continue
                quantize(args.f32, out, name, options)
                found = digests(out)
                different = [t for t in expected if found.get(t) != expected[t]]
                bad += len(different)
                same, said = same_file(args.qrun, args.f32, out, name, our_options, ours)
                bad += not same
                print(
                    f"{section:28} {name:10} {len(expected):3} tensors, {len(different)} differ; "
                    f"{said}",
                    flush=True,
                )
                if section != "quantize_keep_mxfp4" or args.skip_perplexity:
                    continue
                for corpus, formats in measured.items():
                    if name in formats:
                        bad += report(corpus, name, formats[name]["perplexity"], out)
        for corpus, formats in measured.items() if not args.skip_perplexity else ():
            bad += report(corpus, "f32", formats["f32"]["perplexity"], args.f32)
    sys.exit(1 if bad else 0)


def report(corpus, name, expected, gguf_file):
    """Prints one perplexity beside the kept one; 1 if they differ by more than the tolerance."""
    found = perplexity(gguf_file, CORPUS / f"{corpus}.txt")
    far = abs(found / expected - 1) > PERPLEXITY_TOLERANCE
    print(f"perplexity {corpus:8} {name:10} {found:.4f}, kept {expected:.4f}{'  DIFFERS' if far else ''}")
    return int(far)


if __name__ == "__main__":
    main()
