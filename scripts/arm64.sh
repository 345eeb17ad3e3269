#!/usr/bin/env bash
# Builds qrun for ARM64 and runs it under qemu: the short tests, then the nano job, whose GGUF files
# have to be those of this machine's own build to the byte. What it needs, on Debian:
#
#     rustup target add aarch64-unknown-linux-gnu
#     apt install gcc-aarch64-linux-gnu qemu-user
#
# A step is a process of its own, so the kernel has to know that qemu runs ARM64 programs; where it
# does not, this tells it, for which it has to be root.
set -euo pipefail
cd "$(dirname "$0")/.."

target=aarch64-unknown-linux-gnu
binfmt=/proc/sys/fs/binfmt_misc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export QEMU_LD_PREFIX=/usr/aarch64-linux-gnu

if ! [ -e $binfmt/qemu-aarch64 ]; then
    [ -e $binfmt/register ] || mount -t binfmt_misc none $binfmt
    magic='\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00'
    mask='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
    printf '%s' ":qemu-aarch64:M::$magic:$mask:$(command -v qemu-aarch64):F" > $binfmt/register
fi

cargo build --profile checked --bin qrun
cargo build --profile checked --bin qrun --target $target

# Runs the nano job with program $1 in a workspace of its own at $2. How fast it is under qemu says
# nothing, so little is measured.
run_nano() {
    rm -rf "$2"
    mkdir -p "$2/jobs"
    ln -s "$PWD/tests" "$2/tests"
    sed -e 's/^warmups = .*/warmups = 0/' -e 's/^runs = .*/runs = 1/' \
        -e 's/^prompt_tokens = .*/prompt_tokens = 4/' -e 's/^generate_tokens = .*/generate_tokens = 2/' \
        -e 's/^max_windows = .*/max_windows = 1/' jobs/gpt-oss-nano.toml > "$2/jobs/gpt-oss-nano.toml"
    "$1" "$2/jobs/gpt-oss-nano.toml"
}

# SHA-256 and name, without its time, of every model of the workspace $1.
digests() {
    (cd "$1/out/nano" && find . -name '*.gguf' -exec sha256sum {} + | sed -E 's/\.[0-9]{8}_[0-9]{6}\././' | sort -k 2)
}

here=target/arm64/here there=target/arm64/there
run_nano "$PWD/target/checked/qrun" $here
run_nano "$PWD/target/$target/checked/qrun" $there
diff <(digests $here) <(digests $there)
digests $there
echo "the same bytes on $(uname -m) and on ARM64: $(digests $there | wc -l) files"

# The others spend their time in searches and networks of many weights.
cargo test --profile checked --target $target --lib -- \
    ggml::tests::properties gguf:: checkpoint:: tokenizer:: files:: simd:: compute:: stats:: state:: manifest:: plan::
