"""The likeliest answer without sampler, stream or text on the way: logits of the whole, time and again."""

from collections.abc import Sequence

from ruvllm import LLM

__all__ = ["likeliest_tokens"]


def likeliest_tokens(llm: LLM, prompt: Sequence[int], count: int) -> tuple[int, ...]:
    """The tokens of an answer at temperature 0 without penalties."""
    tokens = list(prompt)
    for _ in range(count):
        tokens.append(int(llm.logits(tokens)[-1].argmax()))
    return tuple(tokens[len(prompt) :])
