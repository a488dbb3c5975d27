"""Our side of compare.py, sizes.py and gate.py, through the public interface: requests in, seconds out.

Run:  python measure_ruvllm.py MODEL.gguf THREADS [--isa ISA] [--context TOKENS] [--kv-format FORMAT]

It stays within what earlier commits have, too, since gate.py runs it with them.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import ruvllm
from ruvllm import LLM, Completion, GenerateParams
from ruvllm._native import System

# As in tasks.py, which this program cannot import: it runs with the package of another tree.
STREAMS = 16
# Packages of before there were guesses have no word for it.
UNGUESSED: dict[str, Any] = {"speculate": False} if hasattr(GenerateParams(), "speculate") else {}


def greedy(num_tokens: int, *, may_cache: bool) -> GenerateParams:
    """Exactly so many tokens."""
    return GenerateParams(
        max_tokens=num_tokens,
        temperature=0.0,
        repetition_penalty=1.0,
        ignore_eos=True,
        cache_prefix=may_cache,
        **UNGUESSED,
    )


def complete(llm: LLM, token_ids: list[int], num_tokens: int, *, may_cache: bool = False) -> Completion:
    """An answer, with nothing out of a cache unless its prompt may come from there."""
    result = llm.generate(token_ids, greedy(num_tokens, may_cache=may_cache))
    assert isinstance(result, Completion)
    assert result.usage.completion_tokens == num_tokens
    assert may_cache or result.usage.cached_tokens == 0
    return result


def together(llm: LLM, token_ids: list[int], generate: int) -> float:
    """The time of sixteen requests that are submitted together, from then to the end of the last."""
    length = len(token_ids) // STREAMS
    prompts = [token_ids[start : start + length] for start in range(0, length * STREAMS, length)]
    begin = time.perf_counter()
    answers = llm.generate(prompts, greedy(generate, may_cache=False))
    seconds = time.perf_counter() - begin
    assert isinstance(answers, list)
    assert [answer.usage.completion_tokens for answer in answers] == [generate] * STREAMS
    return seconds


def seconds(llm: LLM, *, test: str, token_ids: list[int], generate: int) -> float:
    """The time to the first token (`prefill`), or of `generate` tokens after the first (`decode`, `deep`)."""
    if test == "streams":
        return together(llm, token_ids, generate)
    num_tokens = 1 if test == "prefill" else generate + 1
    timings = complete(llm, token_ids, num_tokens, may_cache=test == "deep").timings
    if test == "prefill":
        return timings.first_token_seconds
    return timings.total_seconds - timings.first_token_seconds


def operands(llm: LLM) -> str:
    """What most of the products of a prefill multiply: `int8`, `int16` or `f32`."""
    llm.start_profile()
    complete(llm, list(range(1, 33)), 1)
    counts: dict[str, int] = {}
    for part in llm.take_profile().times:
        for name, count in part.operations.items():
            counts[name] = counts.get(name, 0) + count
    return max(counts, key=lambda name: counts[name])


def main() -> None:
    """One answer a line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("threads", type=int)
    parser.add_argument("--isa")
    parser.add_argument("--context", type=int)
    parser.add_argument("--kv-format", default="auto")
    options = parser.parse_args()
    settings = {"max_context": options.context, "kv_format": options.kv_format}
    with LLM(options.model, threads=options.threads, isa=options.isa, **settings) as llm:
        ready = {
            "engine": f"RuvLLM {ruvllm.__version__}",
            "vocab_size": llm.model_info.vocab_size,
            "isa": llm.model_info.isa,
            "operands": operands(llm),
            "package": str(Path(ruvllm.__file__).parent),
            "is_release": not System.detect().debug_assertions,
        }
        print(json.dumps(ready), flush=True)
        for line in sys.stdin:
            print(json.dumps({"seconds": seconds(llm, **json.loads(line))}), flush=True)


if __name__ == "__main__":
    main()
