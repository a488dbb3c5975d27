"""One request of a load: what came of it, and when."""

import time
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise

from ruvllm.client.events import EventDecoder
from ruvllm.client.failures import message_of
from ruvllm.client.pieces import DONE, read_piece
from ruvllm.outputs import Usage

__all__ = ["Exchange", "Outcome", "OutcomeKind"]

# Of an answer that is an error, as much as it takes to say why.
MAX_REFUSAL_BYTES = 64 * 1024


class OutcomeKind(Enum):
    """How a request ended."""

    OK = "ok"
    REFUSED = "refused"
    """By the server, with status 429: it has enough to do."""
    FAILED = "failed"
    DISCONNECTED = "disconnected"
    """By us, on purpose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a request; times are in seconds since it was sent.

    Attributes:
        kind: How it ended.
        reason: Why it was refused or failed.
        late_seconds: How much later than planned it was sent.
        first_token_seconds: Until the first piece of the answer; `None` where none came.
        gap_seconds: Between that and each next piece.
        total_seconds: Until the last piece, or until the end where none came.
        usage: Tokens that the server counted; `None` where it did not.
        finish_reason: Why the answer ended.
    """

    kind: OutcomeKind
    reason: str | None = None
    late_seconds: float = 0.0
    first_token_seconds: float | None = None
    gap_seconds: tuple[float, ...] = ()
    total_seconds: float = 0.0
    usage: Usage | None = None
    finish_reason: str | None = None

    @property
    def seconds_per_token(self) -> float | None:
        """The time after the first token over the tokens after it; `None` without counted ones."""
        if self.usage is None or self.first_token_seconds is None or self.usage.completion_tokens < 2:
            return None
        return (self.total_seconds - self.first_token_seconds) / (self.usage.completion_tokens - 1)


class Exchange:
    """Receives an answer and takes the times. The clock starts when it is made."""

    def __init__(self, hangs_up_after: int | None, late_seconds: float = 0.0) -> None:
        self.hangs_up = False
        self._hangs_up_after = hangs_up_after
        self._late_seconds = late_seconds
        self._begun = time.perf_counter()
        self._arrivals: list[float] = []
        self._decoder = EventDecoder()
        self._status = 0
        self._content_type = ""
        self._refusal = b""
        self._finish_reason: str | None = None
        self._usage: Usage | None = None

    def head(self, status: int, headers: dict[str, str]) -> None:
        """Take the status and the headers."""
        self._status = status
        self._content_type = headers.get("content-type", "")

    def body(self, data: bytes) -> None:
        """Take what came; an error in the stream is raised."""
        now = time.perf_counter()
        if not self._is_stream:
            self._refusal = (self._refusal + data)[:MAX_REFUSAL_BYTES]
            return
        for event in self._decoder.feed(data):
            if event.data == DONE:
                continue
            piece = read_piece(event)
            self._usage = piece.usage or self._usage
            # The last token may have no text: the end is then the sign of it.
            if piece.text or piece.thought or (piece.finish_reason and not self._arrivals):
                self._arrivals.append(now)
                self.hangs_up = len(self._arrivals) == self._hangs_up_after and not piece.finish_reason
                if self.hangs_up:
                    return
            self._finish_reason = piece.finish_reason or self._finish_reason

    def outcome(self, error: Exception | None = None) -> Outcome:
        """What came of it; `error` is what broke it off."""
        now = time.perf_counter()
        kind, reason = self._judged(error)
        arrivals = self._arrivals
        return Outcome(
            kind=kind,
            reason=reason,
            late_seconds=self._late_seconds,
            first_token_seconds=arrivals[0] - self._begun if arrivals else None,
            gap_seconds=tuple(later - earlier for earlier, later in pairwise(arrivals)),
            total_seconds=(arrivals[-1] if arrivals else now) - self._begun,
            usage=self._usage,
            finish_reason=self._finish_reason,
        )

    @property
    def _is_stream(self) -> bool:
        return self._status == 200 and self._content_type.startswith("text/event-stream")

    def _judged(self, error: Exception | None) -> tuple[OutcomeKind, str | None]:
        if self.hangs_up:
            return OutcomeKind.DISCONNECTED, None
        if error is not None:
            return OutcomeKind.FAILED, str(error)
        if self._status == 429:
            return OutcomeKind.REFUSED, message_of(self._refusal)
        if self._status != 200:
            return OutcomeKind.FAILED, f"HTTP status {self._status}: {message_of(self._refusal)}"
        if not self._is_stream:
            what = self._content_type or "no content type"
            return OutcomeKind.FAILED, f"the answer has {what} instead of a stream of events"
        if self._finish_reason is None:
            return OutcomeKind.FAILED, "the stream ended before the answer did"
        return OutcomeKind.OK, None
