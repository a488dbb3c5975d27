"""Where a text ends that an editor shows as it is written: by its indentation, or by the time it takes."""

import time

__all__ = ["InfillBounds"]


class InfillBounds:
    """Reads one answer as it comes.

    With `indent` it ends before a line, but for the first, that is indented by fewer characters; an empty
    line is by none. With `seconds` it ends when so many have passed since its first piece, and a line is
    whole.
    """

    def __init__(self, *, indent: int = 0, seconds: float | None = None) -> None:
        self._indent = indent
        self._seconds = seconds
        self._began: float | None = None
        self._held = ""  # white space at the beginning of a line, until it is known whether the line stays
        self._begins_line = False
        self.has_new_line = False
        self.has_ended = False

    def shown(self, text: str) -> str:
        """What of a piece is shown."""
        if self._began is None:
            self._began = time.perf_counter()
        lines = text.split("\n")
        kept = self._within(lines[0])
        for line in lines[1:]:
            if not self.has_ended and self._begins_line and not self._stays():
                self.has_ended = True
            if self.has_ended:
                return kept
            kept += self._held + "\n"
            self._held, self._begins_line, self.has_new_line = "", True, True
            kept += self._within(line)
        if self.has_new_line and self._seconds is not None:
            self.has_ended |= time.perf_counter() - self._began > self._seconds
        return kept

    def rest(self) -> str:
        """What is shown at the end of the answer."""
        return "" if self.has_ended else self._held

    def _within(self, part: str) -> str:
        """What is shown of a part of a line."""
        if self.has_ended:
            return ""
        if not self._begins_line:
            return part
        self._held += part
        words = self._held.lstrip(" \t")
        if not words:
            return ""
        self._begins_line = False
        found, self._held = self._held, ""
        if len(found) - len(words) < self._indent:
            self.has_ended = True
            return ""
        return found

    def _stays(self) -> bool:
        """Whether a line of nothing but white space does."""
        return len(self._held) >= self._indent
