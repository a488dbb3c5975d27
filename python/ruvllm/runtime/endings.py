"""Why an answer ended, as far as callers want to know: at which stop sequence, or by which limit."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from ruvllm.outputs import Chunk, Completion
from ruvllm.runtime.request import GenerationTask

__all__ = ["first_stop", "stop_sequence", "told_of"]


def told_of(completion: Completion, task: GenerationTask, before: Sequence[Chunk] = ()) -> Completion:
    """The same completion with what its request knows of it; `before` is what had been given out of it."""
    stops, vocabulary = task.params.stop_sequences, task.vocabulary
    ended_at = None
    if stops and vocabulary is not None:

        def token_bytes(token: int) -> bytes:
            piece = vocabulary.bytes(token) or b""
            is_shown = not vocabulary.is_special(token) or piece.decode() in task.params.keep_special
            return piece if is_shown else b""

        whole = replace(
            completion,
            text="".join(chunk.text for chunk in before) + completion.text,
            token_ids=(*(token for chunk in before for token in chunk.token_ids), *completion.token_ids),
        )
        ended_at = stop_sequence(token_bytes, whole, stops)
    return replace(completion, prompt=task.prompt, stop_reason=ended_at)


def stop_sequence(
    token_bytes: Callable[[int], bytes], completion: Completion, stops: Iterable[str]
) -> str | None:
    """The stop sequence that ended an answer; `None` for one that ended otherwise.

    The engine cuts the text where the stop sequence begins and keeps the tokens that made it, so it stands in
    what the tokens say beyond the text. `token_bytes` says what a token adds to it.
    """
    if completion.finish_reason != "stop":
        return None
    said = b"".join(map(token_bytes, completion.token_ids)).decode("utf-8", "replace")
    return first_stop(said[len(completion.text) :], tuple(stops))


def first_stop(rest: str, stops: Sequence[str]) -> str | None:
    """Which one ended a text whose tokens go on with `rest`.

    The engine ends at the one that is complete first: of those that begin at one place, the shortest.

    >>> first_stop("END.", ["END.", "END"])
    'END'
    """
    return min((stop for stop in stops if rest.startswith(stop)), key=len, default=None)
