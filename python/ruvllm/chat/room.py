"""How much of the context a prompt may take, so that an answer has room, too."""

from ruvllm.params import GenerateParams

__all__ = ["room_for_prompt"]

# What an answer may ask for at the most of a prompt that could be made shorter.
ANSWER_PART = 4


def room_for_prompt(max_context: int, params: GenerateParams) -> int:
    """The most tokens of a prompt that leave room for `max_tokens`, or for a quarter of the context.

    >>> room_for_prompt(1000, GenerateParams(max_tokens=100))
    900
    >>> room_for_prompt(1000, GenerateParams(max_tokens=800))
    750
    """
    return max_context - max(1, min(params.max_tokens, max_context // ANSWER_PART))
