"""What is typed while an answer is written: kept for whoever reads next, and not shown in the answer."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

__all__ = ["unseen_typing"]


@contextmanager
def unseen_typing(*, for_editor: bool) -> Iterator[None]:
    """Turn the terminal's echo off.

    `for_editor` says that a line editor reads afterwards: it then gets the keys as they were pressed, also
    those that would have changed a line. Ctrl-C is what it always is.
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
    termios.tcsetattr(descriptor, termios.TCSANOW, silent)
    try:
        yield
    finally:
        # One that another program has by now is that program's.
        if _terminal() is not None:
            with suppress(termios.error):
                termios.tcsetattr(descriptor, termios.TCSANOW, before)


def _terminal() -> int | None:
    """The terminal that is stdin, where this program is the one in front: others it would put to sleep."""
    try:
        descriptor = sys.stdin.fileno()
        in_front = os.isatty(descriptor) and os.tcgetpgrp(descriptor) == os.getpgrp()
    except (AttributeError, OSError, ValueError):
        return None
    return descriptor if in_front else None
