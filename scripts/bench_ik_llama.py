#!/usr/bin/env python3
"""Times ik_llama.cpp on a GGUF file: tokens a second of a prompt, and of tokens one by one.

    python3 -m venv target/ik-venv && target/ik-venv/bin/pip install ik-llama-cpp-python
    target/ik-venv/bin/python scripts/bench_ik_llama.py FILE.gguf [--threads 2]
"""

import argparse
import statistics
import time

from ik_llama_cpp import IkLlama
from ik_llama_cpp._internals import make_batch_range, make_batch_single


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--prompt-tokens", type=int, default=512)
    parser.add_argument("--generate-tokens", type=int, default=16)
    parser.add_argument("--runs", type=int, default=2)
    args = parser.parse_args()
    llama = IkLlama(args.model, n_ctx=2048, n_threads=args.threads, verbose=False)
    context, prompt = llama._context, [1 + i % 1000 for i in range(args.prompt_tokens)]
    prefill, decode = [], []
    for _ in range(args.runs + 1):
        context.kv_cache_clear()
        start = time.perf_counter()
        assert context.decode(make_batch_range(prompt, pos_start=0, logits_last=True)) == 0
        context.get_logits(-1)
        prefill.append(args.prompt_tokens / (time.perf_counter() - start))
        start = time.perf_counter()
        for i in range(args.generate_tokens):
            assert context.decode(make_batch_single(100 + i, args.prompt_tokens + i)) == 0
            context.get_logits(-1)
        decode.append(args.generate_tokens / (time.perf_counter() - start))
    # The first run warms up.
    print(f"prefill {statistics.median(prefill[1:]):.2f} tokens/s")
    print(f"decode {statistics.median(decode[1:]):.2f} tokens/s")


if __name__ == "__main__":
    main()
