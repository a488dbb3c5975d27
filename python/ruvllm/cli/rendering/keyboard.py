"""What is typed while an answer is written: kept for whoever reads next, and not shown in the answer."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

__all__ = ["unseen_typing"]


@contextmanager
def unseen_typing(*, for_editor: bool) -> Iterator[None]:
    """Turn the terminal's echo off.

    `for_editor` says that a line editor reads afterwards: it then gets the keys as they were pressed, also
    those that would have changed a line. Ctrl-C is what it always is. A signal that ends the program has the
    echo on again first, and one after Ctrl-Z has it off.
    """
    if sys.platform == "win32":  # a console shows there what is read, when it is read
        yield
        return
    import termios

    descriptor = _terminal()
    if descriptor is None:
        yield
        return
    before = termios.tcgetattr(descriptor)
    silent = termios.tcgetattr(descriptor)
    silent[3] &= ~termios.ECHO
    if for_editor:
        silent[3] &= ~termios.ICANON
        silent[0] &= ~termios.ICRNL

    def put(mode: list[Any]) -> None:
        # A terminal that another program has by now is that program's.
        if _terminal() is not None:
            with suppress(termios.error):
                termios.tcsetattr(descriptor, termios.TCSANOW, mode)

    try:
        with _upon(
            {
                signal.SIGTERM: lambda: put(before),
                signal.SIGHUP: lambda: put(before),
                signal.SIGCONT: lambda: put(silent),
            }
        ):
            put(silent)
            yield
    finally:
        put(before)


@contextmanager
def _upon(actions: dict[int, Callable[[], None]]) -> Iterator[None]:
    """Do something at each of some signals, before what it does otherwise."""
    former = {number: signal.getsignal(number) for number in actions}

    def act(number: int, frame: FrameType | None) -> None:
        actions[number]()
        other = former[number]
        if callable(other):
            other(number, frame)
        elif number != signal.SIGCONT:  # the program goes on already
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    # Only the main thread may say what signals do; what is ignored, or not Python's, stays so.
    if threading.current_thread() is not threading.main_thread():
        former = {}
    former = {number: one for number, one in former.items() if one not in (signal.SIG_IGN, None)}
    try:
        for number in former:
            signal.signal(number, act)
        yield
    finally:
        for number, one in former.items():
            signal.signal(number, one)


def _terminal() -> int | None:
    """The terminal that is stdin, where this program is the one in front: others it would put to sleep."""
    try:
        descriptor = sys.stdin.fileno()
        in_front = os.isatty(descriptor) and os.tcgetpgrp(descriptor) == os.getpgrp()
    except (AttributeError, OSError, ValueError):
        return None
    return descriptor if in_front else None
