"""An answer, printed while it is made. Ctrl-C ends the answer and keeps what there is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ruvllm.cli import terminal

if TYPE_CHECKING:
    from ruvllm.llm import LLM
    from ruvllm.outputs import Timings, Usage
    from ruvllm.params import GenerateParams

__all__ = ["Answer", "stream_answer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of a prompt; `usage` and `timings` are missing where it was interrupted."""

    text: str
    interrupted: bool
    finish_reason: str | None
    usage: "Usage | None"
    timings: "Timings | None"

    def summary(self) -> str:
        """Say in one line how it went."""
        if self.interrupted or not self.usage or not self.timings:
            return "stopped"
        parts = [
            f"{self.usage.completion_tokens} tokens",
            f"{self.timings.decode_tokens_per_second:.1f} tokens/s",
            f"first after {self.timings.first_token_seconds:.2f} s",
        ]
        if self.finish_reason == "length":
            parts.append("cut off at the longest length (--max-tokens, --max-context)")
        return ", ".join(parts)


def stream_answer(
    llm: "LLM",
    prompt: "str | list[dict[str, str]]",
    params: "GenerateParams",
    *,
    write: Callable[[str], None] = terminal.print_text,
) -> Answer:
    """Send a prompt or a conversation and write the answer piece by piece."""
    pieces: list[str] = []
    last = None
    interrupted = False
    chunks = llm.stream(prompt, params)
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
        close = getattr(chunks, "close", None)
        if close:
            close()
    return Answer(
        text="".join(pieces),
        interrupted=interrupted,
        finish_reason=last.finish_reason if last else None,
        usage=last.usage if last else None,
        timings=last.timings if last else None,
    )
