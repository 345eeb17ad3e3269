#!/usr/bin/env python3
"""Continues a prompt greedily with llama.cpp and with qrun and holds the tokens side by side.

llama.cpp comes from the PyPI package `xllamacpp`, installed into a virtual environment under
`target/`. The two may part only where llama.cpp itself puts its two best candidates within
MARGIN of each other in logit: 8-bit activations are rounded differently by different kernels,
so a near tie can fall either way, and what follows a different token is a different text.

    python3 scripts/compare_with_llama.py out/nano/backups/gpt-oss-nano-q4_K_M.*.gguf

Exit code 0 when they agree up to the first near tie of each prompt, 1 when they do not.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
VENV = ROOT / "target" / "llama-venv"
PROMPTS = [
    "In the beginning God created the heaven and the earth.",
    "hacker: n. [originally, someone who makes furniture with an axe]",
    "And it came to pass, when the king heard",
]


def enter_venv():
    """Re-executes this script inside the virtual environment, made on first use."""
    python = VENV / "bin" / "python"
    if pathlib.Path(sys.prefix).resolve() == VENV.resolve():
        return
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "xllamacpp"], check=True)
    os.execv(python, [str(python), *sys.argv])


def qrun_tokens(binary, gguf, prompt, tokens):
    """Token ids, texts and logit margins of `qrun generate`, and the prompt's ids."""
    done = subprocess.run(
        [binary, "generate", gguf, "--prompt", prompt, "--tokens", str(tokens), "--json"],
        check=True,
        capture_output=True,
        text=True,
    )
    answer = json.loads(done.stdout)
    return answer["prompt_tokens"], answer["tokens"]


def llama_server(gguf, threads):
    """llama.cpp's own server in this process, without flash attention, as the oracles were made."""
    import xllamacpp as x

    params = x.CommonParams()
    params.model.path = str(gguf)
    params.n_ctx = 1024
    params.n_gpu_layers = 0
    params.warmup = False
    params.cpuparams.n_threads = threads
    params.flash_attn_type = x.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    return x.Server(params)


def llama_tokens(server, prompt_ids, tokens):
    """`(id, text, margin)` per token: the margin is the gap of the two best in log-probability,
    which is their gap in logit."""
    answer = server.handle_completions(
        {
            "prompt": prompt_ids,
            "n_predict": tokens,
            "temperature": 0.0,
            "logprobs": 2,
            "cache_prompt": False,
        }
    )
    for step in answer["choices"][0]["logprobs"]["content"]:
        best, second = step["top_logprobs"][:2]
        yield step["id"], step["token"], best["logprob"] - second["logprob"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("gguf")
    parser.add_argument("--qrun", default=str(ROOT / "target" / "release" / "qrun"))
    parser.add_argument("--prompt", action="append", help="default: three built-in ones")
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--margin", type=float, default=0.05)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    args = parser.parse_args()
    enter_venv()

    server = llama_server(args.gguf, args.threads)
    failed = False
    for prompt in args.prompt or PROMPTS:
        prompt_ids, ours = qrun_tokens(args.qrun, args.gguf, prompt, args.tokens)
        theirs = llama_tokens(server, prompt_ids, args.tokens)
        print(f"\nprompt {prompt!r}, {len(prompt_ids)} tokens")
        print(f"{'step':>4}  {'llama.cpp':>18}  {'qrun':>18}  {'margin':>8}")
        same = 0
        for step, (mine, (token, text, margin)) in enumerate(zip(ours, theirs)):
            left, right = f"{token} {text!r}", f"{mine['id']} {mine['text']!r}"
            print(f"{step:>4}  {left:>18}  {right:>18}  {margin:>8.4f}")
            if mine["id"] != token:
                verdict = "a near tie" if margin <= args.margin else "NOT a near tie"
                print(f"      they part here: {verdict} ({margin:.4f}, allowed {args.margin})")
                failed |= margin > args.margin
                break
            same += 1
        print(f"      {same} tokens the same")
        # Nothing compared is nothing shown.
        failed |= not ours
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
