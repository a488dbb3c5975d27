"""From the bytes of tokens to the text of an answer, for engines that do not do it themselves.

Text is given out as soon as it is safe to show: whole characters alone, and nothing that may turn out to be
the beginning of a stop sequence. What ends an answer is cut where the stop sequence begins. The native engine
does the same in Rust.
"""

import codecs
from collections.abc import Sequence

__all__ = ["AnswerText"]


class AnswerText:
    """The text of one answer as it grows.

    >>> text = AnswerText(["END"])
    >>> text.add("Só".encode()[:2]), text.add("Só".encode()[2:] + b" E"), text.add(b"ND!"), text.is_stopped
    ('S', 'ó ', '', True)
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._characters = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self.stop_index: int | None = None

    @property
    def is_stopped(self) -> bool:
        """Whether a stop sequence, that of `stop_index`, has ended it."""
        return self.stop_index is not None

    def add(self, piece: bytes) -> str:
        """Take what a token adds, and give what became safe to show; nothing any more once it is stopped."""
        return self._shown(self._characters.decode(piece))

    def rest(self) -> str:
        """What is left at the end: half a character is shown as one that is none."""
        shown = self._shown(self._characters.decode(b"", final=True))
        held, self._held = self._held, ""
        return shown if self.is_stopped else shown + held

    def _shown(self, more: str) -> str:
        if self.is_stopped:
            return ""
        text = self._held + more
        # The one that is complete first ends it; of those that end at one place, the one that begins first.
        found = [
            (at + len(stop), at, index)
            for index, stop in enumerate(self._stops)
            if (at := text.find(stop)) >= 0
        ]
        if found:
            _, at, self.stop_index = min(found)
            self._held = ""
            return text[:at]
        held = max((_beginning(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]


def _beginning(text: str, stop: str) -> int:
    """How many of the last characters may be the beginning of a stop sequence."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0
