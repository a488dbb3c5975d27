"""What a request gives back: plain values that do not change."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ruvllm.markdown import code_span, without_elements
from ruvllm.tools import ToolCall

__all__ = [
    "Chunk",
    "Completion",
    "FinishReason",
    "Timings",
    "TokenLogprob",
    "Usage",
]

FinishReason = Literal["stop", "length", "cancelled"]
"""`stop`: an end token or a stop sequence; `length`: max_tokens or the end of the context."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens that a request counted.

    >>> Usage(prompt_tokens=10, completion_tokens=5).total_tokens
    15

    Attributes:
        prompt_tokens: Tokens of the prompt, the cached ones included.
        completion_tokens: Tokens that were made.
        cached_tokens: Tokens of the prompt that were not computed again.
        cache_miss: Why there were none: `too_short` (for `min_cache_tokens`), `empty` (nothing is kept for
            this tenant), `evicted` (it had to go), `unknown_prefix` (nothing that is kept begins so);
            `None` where there were some, or the cache was not asked.
        drafted_tokens: Guesses of the answer's tokens that were computed.
        accepted_tokens: Those that came true.
    """

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    cache_miss: str | None = None
    drafted_tokens: int = 0
    accepted_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        """Prompt and completion."""
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: "Usage") -> "Usage":
        """The tokens of both; why nothing was cached is said of one request alone."""
        return Usage(
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
            cached_tokens=self.cached_tokens + other.cached_tokens,
            drafted_tokens=self.drafted_tokens + other.drafted_tokens,
            accepted_tokens=self.accepted_tokens + other.accepted_tokens,
        )

    @classmethod
    def of_choices(cls, usages: "Sequence[Usage]") -> "Usage":
        """The tokens of all answers to one prompt, which counts once, as the first had it.

        >>> one = Usage(prompt_tokens=10, completion_tokens=5)
        >>> Usage.of_choices([one, one]).total_tokens
        20
        """
        first = usages[0]
        return cls(
            prompt_tokens=first.prompt_tokens,
            completion_tokens=sum(one.completion_tokens for one in usages),
            cached_tokens=first.cached_tokens,
            cache_miss=first.cache_miss,
            drafted_tokens=sum(one.drafted_tokens for one in usages),
            accepted_tokens=sum(one.accepted_tokens for one in usages),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """When a request's tokens came, in seconds since it was submitted.

    Attributes:
        first_token_seconds: Until the first token: waiting and the prompt's computation.
        total_seconds: Until the end.
        computed_prompt_tokens: Tokens of the prompt that were computed.
        completion_tokens: Tokens that were made.
    """

    first_token_seconds: float
    total_seconds: float
    computed_prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def prefill_tokens_per_second(self) -> float:
        """Computed prompt tokens over the time to the first token; 0 where there is none."""
        return _rate(self.computed_prompt_tokens, self.first_token_seconds)

    @property
    def decode_tokens_per_second(self) -> float:
        """Tokens after the first over their time; 0 where there are none."""
        return _rate(self.completion_tokens - 1, self.total_seconds - self.first_token_seconds)


def _rate(num_tokens: int, seconds: float) -> float:
    return num_tokens / seconds if num_tokens > 0 and seconds > 0 else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenLogprob:
    """How likely the model held a chosen token, before penalties and temperature.

    Attributes:
        token_id: The chosen token.
        logprob: The natural logarithm of its probability.
        top_logprobs: The likeliest tokens at this place with theirs, the likeliest first.
    """

    token_id: int
    logprob: float
    top_logprobs: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """A finished answer; as a text, its own.

    >>> usage, timings = Usage(prompt_tokens=3, completion_tokens=1), Timings(
    ...     first_token_seconds=0.1, total_seconds=0.1
    ... )
    >>> print(Completion(text="Yes.", token_ids=(5,), finish_reason="stop", usage=usage, timings=timings))
    Yes.

    Attributes:
        text: The answer, without the stop sequence or end token that ended it.
        token_ids: Its tokens; those of the stop sequence that ended it included, an end token not.
        finish_reason: Why it ended.
        usage: Tokens counted.
        timings: Seconds taken.
        logprobs: One for each token, where they were asked for.
        completion_id: What feedback may call it; `None` where nobody learns from it.
        prompt: The text that was gone on from, of a conversation as the model's template wrote it; `None`
            where token ids were given, or nobody here saw it.
        stop_reason: The stop sequence, or the token of `stop_token_ids`, that ended it; `None` where an end
            token of the model or a limit did.
        reasoning: What the model thought before, where `chat` found it.
        tool_calls: The tools that the model calls, in `chat` with tools.
        prompt_logprobs: One for each token of the prompt, `None` for the first, which nothing stands before;
            where they were asked for.
        other_choices: The other answers to the same prompt, where `n` of them were asked for.
    """

    text: str
    token_ids: tuple[int, ...]
    finish_reason: FinishReason
    usage: Usage
    timings: Timings
    logprobs: tuple[TokenLogprob, ...] | None = None
    completion_id: str | None = None
    prompt: str | None = None
    stop_reason: str | int | None = None
    reasoning: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    prompt_logprobs: tuple[TokenLogprob | None, ...] | None = None
    other_choices: "tuple[Completion, ...]" = ()

    def __str__(self) -> str:
        return self.text

    def _repr_markdown_(self) -> str:
        """What a notebook shows: the answer as the Markdown that models write, and what it calls.

        What looks like an element of HTML is text; code is as it is.
        """
        calls = [code_span(f"{call.name}({call.arguments})") for call in self.tool_calls]
        return "\n\n".join([*([without_elements(self.text)] if self.text else []), *calls])

    @property
    def choices(self) -> "tuple[Completion, ...]":
        """All answers to the prompt, this one first: as many as `n` said."""
        return (self, *self.other_choices)

    @property
    def usage_of_choices(self) -> Usage:
        """The tokens of all `choices`; those of the prompt count once, as this one had them."""
        return Usage.of_choices([one.usage for one in self.choices])

    @property
    def cumulative_logprob(self) -> float | None:
        """The sum of `logprobs`: the logarithm of how likely the answer's tokens were, one after the other.

        The tokens of a stop sequence that ended it are in the sum, as they are in `token_ids`; an end token
        is in neither. `None` where no `logprobs` were asked for.
        """
        return None if self.logprobs is None else math.fsum(one.logprob for one in self.logprobs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A piece of an answer that is being made; as a text, its own.

    The last one has `finish_reason`, `usage` and `timings`; the texts of all joined are the completion's.

    Attributes:
        text: What became safe to show; empty where a character or a possible stop sequence is not complete.
        token_ids: The tokens behind this piece.
        logprobs: One for each of them, where they were asked for.
        finish_reason: Why the answer ended; `None` before.
        usage: Tokens counted; `None` before.
        timings: Seconds taken; `None` before.
        completion_id: What feedback may call the answer, in the last; `None` where nobody learns from it.
        stop_reason: What of the request ended the answer, in the last: a stop sequence, or a token's id.
    """

    text: str
    token_ids: tuple[int, ...] = ()
    logprobs: tuple[TokenLogprob, ...] | None = None
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    timings: Timings | None = None
    completion_id: str | None = None
    stop_reason: str | int | None = None

    def __str__(self) -> str:
        return self.text
