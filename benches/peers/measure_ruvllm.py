"""Our side of compare.py, through the public interface: reads requests, answers seconds.

Run:  python measure_ruvllm.py MODEL.gguf THREADS [ISA]
"""

import json
import sys

import ruvllm
from ruvllm import LLM, Completion, GenerateParams


def complete(llm: LLM, token_ids: list[int], num_tokens: int) -> Completion:
    """A greedy answer of exactly so many tokens, with nothing out of a cache."""
    params = GenerateParams(
        max_tokens=num_tokens, temperature=0.0, repetition_penalty=1.0, ignore_eos=True, cache_prefix=False
    )
    result = llm.generate(token_ids, params)
    assert isinstance(result, Completion)
    assert result.usage.completion_tokens == num_tokens
    assert result.usage.cached_tokens == 0
    return result


def seconds(llm: LLM, *, test: str, token_ids: list[int], generate: int) -> float:
    """The time to the first token (`prefill`), or of `generate` tokens after the first (`decode`)."""
    timings = complete(llm, token_ids, 1 if test == "prefill" else generate + 1).timings
    if test == "prefill":
        return timings.first_token_seconds
    return timings.total_seconds - timings.first_token_seconds


def operands(llm: LLM) -> str:
    """What most of the products of a prefill multiply: `int8`, `int16` or `f32`."""
    llm.start_profile()
    complete(llm, list(range(1, 33)), 1)
    counts: dict[str, int] = {}
    for time in llm.take_profile().times:
        for name, count in time.operations.items():
            counts[name] = counts.get(name, 0) + count
    return max(counts, key=lambda name: counts[name])


def main() -> None:
    """One answer a line."""
    isa = sys.argv[3] if len(sys.argv) > 3 else None
    with LLM(sys.argv[1], threads=int(sys.argv[2]), isa=isa) as llm:
        ready = {
            "engine": f"RuvLLM {ruvllm.__version__}",
            "vocab_size": llm.model_info.vocab_size,
            "isa": llm.model_info.isa,
            "operands": operands(llm),
        }
        print(json.dumps(ready), flush=True)
        for line in sys.stdin:
            print(json.dumps({"seconds": seconds(llm, **json.loads(line))}), flush=True)


if __name__ == "__main__":
    main()
