"""What a request hears while it runs: plain values, whatever engine it runs on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ruvllm.errors import BackendError, GenerationError, RuvLLMError
from ruvllm.outputs import TokenLogprob

__all__ = [
    "Event",
    "Failed",
    "Finished",
    "FoundValues",
    "TokenMade",
    "Values",
    "cancelled_before_it_began",
    "for_one_request",
    "is_last",
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
    """The request ended well; `reason` is stop, length, cancelled or done.

    Of what the request named, its stop text of `stop_index` or the `stop_token` has ended it.
    """

    reason: str
    stop_index: int | None = None
    stop_token: int | None = None
    text: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    cache_miss: str | None = None
    drafted_tokens: int = 0
    accepted_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The request ended with an error."""

    error: Exception


Event: TypeAlias = TokenMade | Values | Finished | Failed


class FoundValues:
    """What an evaluation finds, while its events come."""

    def __init__(self) -> None:
        self._values: NDArray[np.float32] | tuple[TokenLogprob, ...] | None = None

    def take(
        self, events: Sequence[Event]
    ) -> "NDArray[np.float32] | tuple[TokenLogprob, ...] | Exception | None":
        """Take events over; gives the values or why there are none, once it is over."""
        for event in events:
            if isinstance(event, Values):
                self._values = event.values
            elif isinstance(event, Failed):
                return event.error
            elif isinstance(event, Finished):
                message = f"the evaluation ended without a result ({event.reason})"
                return GenerationError(message) if self._values is None else self._values
        return None


def is_last(event: Event) -> bool:
    """Whether a request hears nothing after it."""
    return isinstance(event, Finished | Failed)


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
