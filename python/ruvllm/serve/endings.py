"""Why an answer ended, as far as clients want to know: at which stop sequence, or by which limit."""

from collections.abc import Iterable, Sequence

from ruvllm.llm import LLM
from ruvllm.outputs import Completion

__all__ = ["first_stop", "stop_sequence"]


def stop_sequence(llm: LLM, completion: Completion, stops: Iterable[str]) -> str | None:
    """The stop sequence that ended an answer; `None` for one that ended otherwise.

    The engine cuts the text where the stop sequence begins and keeps the tokens that made it, so it stands in
    what the tokens say beyond the text.
    """
    if completion.finish_reason != "stop":
        return None
    said = b"".join(llm.token_bytes(token) for token in completion.token_ids).decode("utf-8", "replace")
    return first_stop(said[len(completion.text) :], tuple(stops))


def first_stop(rest: str, stops: Sequence[str]) -> str | None:
    """Which one ended a text whose tokens go on with `rest`.

    The engine ends at the one that is complete first: of those that begin at one place, the shortest.

    >>> first_stop("END.", ["END.", "END"])
    'END'
    """
    return min((stop for stop in stops if rest.startswith(stop)), key=len, default=None)
