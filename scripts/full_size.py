#!/usr/bin/env python3
"""Measures whole-file runs beside `cp` and `sync` of what they write.

    cargo build --release
    cargo run --release --example write_checkpoint -- target/random-20b
    python3 scripts/full_size.py --checkpoint target/random-20b --runs 3

Each command is run `--runs` times, each time followed by `cp` of its output and `sync` of the copy.
Before each, its input is dropped from the page cache, so everything is read from the disk; time
counts until the output is on the disk. Peak memory is sampled from /proc, anonymous pages and those
of mapped files apart. `--gguf FILE` adds the commands that read a converted file, and
`--llama-quantize PATH` llama.cpp's program on the same file; `--only REGEX` picks commands by name.
Beside the inputs this needs twice the largest output of disk space; outputs are removed again,
unless `--keep` says otherwise.
"""

import argparse
import os
import pathlib
import re
import resource
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
TOKENIZER = ["--tokenizer", "o200k_harmony", "--quiet"]


def evict(path):
    """Drops the files at `path` from the page cache."""
    files = [path] if path.is_file() else sorted(path.iterdir())
    for file in files:
        handle = os.open(file, os.O_RDONLY)
        os.fsync(handle)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)


def memory(pid):
    """Anonymous and file-backed resident bytes of a process; None once it is gone."""
    try:
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        return [int(re.search(rf"{f}:\s+(\d+)", status)[1]) * 1024 for f in ("RssAnon", "RssFile")]
    except (OSError, TypeError):
        return None


def measure(command, source, written):
    """Runs `command` with `source` not in the cache, and waits for `written` to be on the disk."""
    evict(source)
    subprocess.run(["sync"], check=True)
    # A virtual machine gives free memory back to its host and pays when it uses it again: after a
    # pause all programs pay the same.
    time.sleep(5)
    started = time.monotonic()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    process = subprocess.Popen(
        [str(c) for c in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    os.set_blocking(process.stdout.fileno(), False)
    said, anon, file = b"", 0, 0
    while process.poll() is None:
        now = memory(process.pid)
        if now:
            anon, file = max(anon, now[0]), max(file, now[1])
        said += process.stdout.read() or b""
        time.sleep(0.02)
    if process.returncode:
        sys.exit(f"{command} failed:\n{(said + (process.stdout.read() or b'')).decode()}")
    subprocess.run(["sync", str(written)], check=True)
    wall = time.monotonic() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "wall": wall,
        "user": after.ru_utime - before.ru_utime,
        "sys": after.ru_stime - before.ru_stime,
        "anon": anon / 1e6,
        "file": file / 1e6,
        "bytes": written.stat().st_size,
    }


def show(name, m, cp=None):
    ratio = f"  {m['wall'] / cp:5.2f} x cp" if cp else ""
    print(
        f"{name:34} {m['wall']:7.1f} s  {m['bytes'] / m['wall'] / 1e6:6.0f} MB/s  user {m['user']:6.1f}"
        f"  sys {m['sys']:6.1f}  anon {m['anon']:6.0f} MB  file {m['file']:7.0f} MB{ratio}",
        flush=True,
    )


def commands(args, out):
    """Name to command and input."""
    found = {}
    for dtype in ("f32", "bf16"):
        command = [args.qrun, "convert", args.checkpoint, out, "--dtype", dtype, *TOKENIZER]
        found[f"convert-{dtype}"] = (command, args.checkpoint)
    for name in args.formats:
        for kind, source in (("checkpoint", args.checkpoint), ("gguf", args.gguf)):
            if source:
                command = [args.qrun, "quantize", source, out, "--format", name, *TOKENIZER]
                found[f"quantize-{name}-{kind}"] = (command, source)
        if args.gguf and args.llama_quantize:
            keep = ["--tensor-type", "ffn_.*_exps=mxfp4"]
            command = [args.llama_quantize, *keep, args.gguf, out, name]
            found[f"llama-quantize-{name}-gguf"] = (command, args.gguf)
    return {
        name: (command, source)
        for name, (command, source) in found.items()
        if source and re.search(args.only, name)
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=pathlib.Path)
    parser.add_argument("--gguf", type=pathlib.Path, help="a converted file, for those that read one")
    parser.add_argument("--qrun", type=pathlib.Path, default=ROOT / "target" / "release" / "qrun")
    parser.add_argument("--formats", nargs="+", default=["q4_K_M"])
    parser.add_argument("--llama-quantize", type=pathlib.Path)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", default="")
    parser.add_argument("--keep", action="store_true", help="let the last outputs stay")
    parser.add_argument("--scratch", type=pathlib.Path, default=ROOT / "target" / "full-size")
    args = parser.parse_args()
    args.scratch.mkdir(parents=True, exist_ok=True)
    print(f"load average {os.getloadavg()[0]:.2f}, {os.cpu_count()} cores")
    for name, (command, source) in commands(args, args.scratch / "out.gguf").items():
        out, copy = args.scratch / "out.gguf", args.scratch / "copy.gguf"
        walls, cps = [], []
        for run in range(args.runs):
            out.unlink(missing_ok=True)
            ours = measure(command, source, out)
            cp = measure(["cp", out, copy], out, copy)
            copy.unlink()
            show(name, ours, cp["wall"])
            show("  cp and sync of it", cp)
            walls.append(ours["wall"])
            cps.append(cp["wall"])
        # `cp` fills the page cache, which takes it twice as long where the host has to find memory
        # for that: its extremes say more than one ratio.
        wall, cp = statistics.median(walls), statistics.median(cps)
        print(
            f"{name}: median of {args.runs} {wall:.1f} s; cp {min(cps):.1f} to {max(cps):.1f} s; "
            f"{wall / cp:.2f} x its median, {wall / min(cps):.2f} x its best\n"
        )
        if args.keep:
            out.rename(args.scratch / f"{name}.gguf")
        else:
            out.unlink()


if __name__ == "__main__":
    main()
