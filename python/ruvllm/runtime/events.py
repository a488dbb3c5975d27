"""What a request hears while it runs: the engine's events as plain values.

`translate` is the one place that knows the engine's classes.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from ruvllm.errors import BackendError, RuvLLMError
from ruvllm.outputs import TokenLogprob

if TYPE_CHECKING:
    from ruvllm import _native

__all__ = [
    "Event",
    "Failed",
    "Finished",
    "TokenMade",
    "Values",
    "cancelled_before_it_began",
    "for_one_request",
    "is_last",
    "translate",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenMade:
    """A token was chosen; `text` is what became safe to show with it, possibly nothing."""

    token_id: int
    text: str
    logprob: TokenLogprob | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Values:
    """The result of an evaluation: an array, or what was asked about each token."""

    values: NDArray[np.float32] | tuple[TokenLogprob, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The request ended well; `reason` is stop, length, cancelled or done."""

    reason: str
    text: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    cache_miss: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The request ended with an error."""

    error: Exception


Event: TypeAlias = TokenMade | Values | Finished | Failed


def is_last(event: Event) -> bool:
    """Whether a request hears nothing after it."""
    return isinstance(event, Finished | Failed)


def _token(event: "_native.TokenEvent") -> Event:
    logprob = event.logprob
    if logprob is None:
        return TokenMade(token_id=event.token, text=event.text)
    entry = TokenLogprob(token_id=event.token, logprob=logprob, top_logprobs=tuple(event.top_logprobs or ()))
    return TokenMade(token_id=event.token, text=event.text, logprob=entry)


def _scores(event: "_native.ScoresEvent") -> Event:
    return Values(
        values=tuple(
            TokenLogprob(token_id=token, logprob=logprob, top_logprobs=tuple(top))
            for token, logprob, top in event.scores
        )
    )


def _finished(event: "_native.FinishedEvent") -> Event:
    return Finished(
        reason=event.reason,
        text=event.text,
        prompt_tokens=event.prompt_tokens,
        completion_tokens=event.completion_tokens,
        cached_tokens=event.cached_tokens,
        cache_miss=event.cache_miss,
    )


def translate(event: "_native.Event") -> Event:
    """An engine's event as a plain value."""
    # By name: the engine's classes cannot be made in Python, and tests bring their own of the same names.
    kind = type(event).__name__
    if kind == "TokenEvent":
        return _token(cast("_native.TokenEvent", event))
    if kind == "FinishedEvent":
        return _finished(cast("_native.FinishedEvent", event))
    if kind == "ArrayEvent":
        return Values(values=cast("_native.ArrayEvent", event).values)
    if kind == "ScoresEvent":
        return _scores(cast("_native.ScoresEvent", event))
    return Failed(error=cast("_native.FailedEvent", event).error)


def for_one_request(error: Exception) -> Exception:
    """An error of its own for each request, so that tracebacks do not pile up on a shared one."""
    if isinstance(error, RuvLLMError):
        copy: Exception = type(error)(str(error))
    else:
        copy = BackendError(f"the engine stopped after an error: {error!r}")
    copy.__cause__ = error
    return copy


def cancelled_before_it_began(prompt_tokens: int) -> Finished:
    """The only event of a request that nobody wanted any more."""
    return Finished(reason="cancelled", prompt_tokens=prompt_tokens)
