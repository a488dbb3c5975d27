"""Our side of compare.py, through the public interface: reads requests, answers seconds.

Run:  python measure_ruvllm.py MODEL.gguf THREADS
"""

import json
import sys

from ruvllm import LLM, Completion, GenerateParams


def seconds(llm: LLM, *, test: str, token_ids: list[int], generate: int) -> float:
    """The time to the first token (`prefill`), or of `generate` tokens after the first (`decode`)."""
    num_tokens = 1 if test == "prefill" else generate + 1
    params = GenerateParams(max_tokens=num_tokens, temperature=0.0, repetition_penalty=1.0, ignore_eos=True)
    result = llm.generate(token_ids, params)
    assert isinstance(result, Completion)
    assert result.usage.completion_tokens == num_tokens
    assert result.usage.cached_tokens == 0
    timings = result.timings
    if test == "prefill":
        return timings.first_token_seconds
    return timings.total_seconds - timings.first_token_seconds


def main() -> None:
    """One answer a line."""
    with LLM(sys.argv[1], threads=int(sys.argv[2])) as llm:
        ready = {"engine": "RuvLLM", "vocab_size": llm.model_info.vocab_size}
        print(json.dumps(ready), flush=True)
        for line in sys.stdin:
            print(json.dumps({"seconds": seconds(llm, **json.loads(line))}), flush=True)


if __name__ == "__main__":
    main()
