"""What llama-cpp-python makes of the questions that `benches.decisions` wrote down; needs nothing else.

Run:  python decisions_llama_cpp.py WORK.json

It is asked as its users ask it: one completion of one token for each prompt, greedily, in turn. Each finds
the beginning that it has in common with the prompt before in the context, as `Llama` itself does it.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import llama_cpp

# As many of the likeliest tokens as tell the answers of a question from each other.
LIKELIEST = 20


def main() -> None:
    """Ask in the way that the work names, and print the seconds and what was likely each time."""
    work = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    llama = llama_cpp.Llama(
        work["model"],
        n_ctx=work["context"],
        n_threads=work["threads"],
        n_threads_batch=work["threads"],
        logits_all=work["way"] != "text",
        verbose=False,
    )
    ask(llama, work["warm_up"], work["way"])
    llama.reset()
    llama._ctx.kv_cache_clear()
    began = time.perf_counter()
    likely = [ask(llama, prompt, work["way"]) for prompt in work["prompts"]]
    seconds = time.perf_counter() - began
    print(json.dumps({"version": llama_cpp.__version__, "seconds": seconds, "likely": likely}))


def ask(llama: Any, prompt: str, way: str) -> dict[str, float]:
    """The log-probabilities of the likeliest first tokens; without any, where only the text is asked for."""
    plain = {"prompt": prompt, "max_tokens": 1, "temperature": 0.0}
    if way == "text":
        return {llama.create_completion(**plain)["choices"][0]["text"]: 0.0}
    if way == "whole":
        answer = llama.create_completion(**plain, logprobs=LIKELIEST)
        return as_numbers(answer["choices"][0]["logprobs"]["top_logprobs"][0])
    for piece in llama.create_completion(**plain, logprobs=LIKELIEST, stream=True):
        if found := piece["choices"][0]["logprobs"]:
            likely = as_numbers(found["top_logprobs"][0])
    return likely


def as_numbers(likely: Any) -> dict[str, float]:
    """The same as JSON takes it."""
    return {text: float(value) for text, value in likely.items()}


if __name__ == "__main__":
    main()
