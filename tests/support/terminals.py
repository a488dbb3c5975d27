"""A program on a pseudo-terminal, and the screen that somebody before it sees."""

import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import pexpect

from tests.support.screens import Screen


class Terminal:
    """Runs a program; `say` types, `wait_for` waits for what the screen shows."""

    def __init__(self, command: Sequence[str], *, columns: int = 60, lines: int = 24) -> None:
        environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
        environment |= {"TERM": "xterm-256color", "PROMPT_TOOLKIT_NO_CPR": "1"}
        for name in ("COLUMNS", "LINES"):
            environment.pop(name, None)
        self.child: Any = pexpect.spawn(
            command[0],
            list(command[1:]),
            encoding="utf-8",
            timeout=30,
            dimensions=(lines, columns),
            env=environment,
        )
        self.screen = Screen(columns, lines)
        self.written = ""

    def type(self, keys: str) -> None:
        """Type without Enter."""
        self.child.send(keys)

    def say(self, line: str) -> None:
        """Type a line."""
        self.child.send(f"{line}\r")

    def read(self) -> None:
        """Take what the program has written by now."""
        try:
            while True:
                written = self.child.read_nonblocking(65536, timeout=0.02)
                self.written += written
                self.screen.feed(written)
        except (pexpect.TIMEOUT, pexpect.EOF):
            pass

    def wait_for(self, condition: str | Callable[[], object], seconds: float = 25.0) -> None:
        """Read until the screen shows a text, or something else is so."""
        end = time.monotonic() + seconds
        while True:
            self.read()
            is_so = condition in self.screen.text if isinstance(condition, str) else condition()
            if is_so:
                return
            assert time.monotonic() < end, f"{condition!r} did not come:\n{self.screen.text}"

    @property
    def lines(self) -> list[str]:
        """What the screen shows."""
        self.read()
        return self.screen.lines

    def at_prompt(self) -> bool:
        """Whether the program waits for a line."""
        return self.lines[-1:] == [">"]

    def close(self) -> None:
        """End the program."""
        self.child.close(force=True)
