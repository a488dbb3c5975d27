"""An answer, printed while it is made, or for programs as a whole.

Ctrl-C ends the answer and keeps what there is.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Protocol

import typer

from ruvllm.cli import terminal

if TYPE_CHECKING:
    from ruvllm.outputs import Chunk, Completion, Timings, Usage

__all__ = ["Answer", "Chunks", "end_answer", "print_answer", "print_completion", "stream_answer"]

INTERRUPTED = 130
# The last two no flag asks for, so that they would always be empty.
_NOT_TOLD = ("prompt", "stop_reason", "prompt_logprobs", "other_choices")


class Chunks(Protocol):
    """An answer that is being made; `close` ends it."""

    def __iter__(self) -> "Iterator[Chunk]":
        """The pieces."""

    def close(self) -> None:
        """End the request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of a prompt; `usage` and `timings` are missing where it was interrupted.

    Of a server that counts no tokens, `usage` is missing, too.
    """

    text: str
    interrupted: bool
    finish_reason: str | None
    usage: "Usage | None"
    timings: "Timings | None"

    def summary(self) -> str:
        """Say in one line how it went."""
        if self.interrupted or not self.timings:
            return "stopped"
        first = f"first after {self.timings.first_token_seconds:.2f} s"
        if self.usage:
            made = self.usage.completion_tokens
            parts = [f"{made} token{'' if made == 1 else 's'}"]
            # The first token's time is the prompt's: of one alone nothing is known.
            if speed := self.timings.decode_tokens_per_second:
                parts.append(f"{speed:.1f} tokens/s")
            parts.append(first)
        else:
            parts = [first, f"{self.timings.total_seconds:.2f} s in all", "the server counts no tokens"]
        if self.finish_reason == "length":
            parts.append("cut off at the longest length (--max-tokens, --max-context)")
        return ", ".join(parts)


def stream_answer(chunks: Chunks, *, write: Callable[[str], None] = terminal.print_text) -> Answer:
    """Write an answer piece by piece."""
    pieces: list[str] = []
    last = None
    interrupted = False
    try:
        for chunk in chunks:
            if chunk.text:
                pieces.append(chunk.text)
                write(chunk.text)
            last = chunk
    except KeyboardInterrupt:
        interrupted = True
    finally:
        # Ends the request in the engine, not only our listening to it.
        chunks.close()
    return Answer(
        text="".join(pieces),
        interrupted=interrupted,
        finish_reason=last.finish_reason if last else None,
        usage=last.usage if last else None,
        timings=last.timings if last else None,
    )


def end_answer(answer: Answer, *, verbose: bool) -> None:
    """Say of an answer that was shown how it went, and end the command where it was interrupted."""
    if verbose:
        terminal.note(answer.summary())
    if answer.interrupted:
        raise typer.Exit(INTERRUPTED)


def print_completion(completion: "Completion") -> None:
    """Print an answer for programs, whose interface its keys are; what was asked they know."""
    result = {key: value for key, value in asdict(completion).items() if key not in _NOT_TOLD}
    result["usage"]["total_tokens"] = completion.usage.total_tokens
    terminal.print_json(result)


def print_answer(chunks: Chunks) -> None:
    """The same of a server's answer, of which less is known."""
    answer = stream_answer(chunks, write=lambda _: None)
    if answer.interrupted:
        raise typer.Exit(INTERRUPTED)
    terminal.print_json({key: value for key, value in asdict(answer).items() if key != "interrupted"})
