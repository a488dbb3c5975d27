"""What has threads, locks and the weights of this process, and so cannot go to another one in a pickle."""

from typing import ClassVar, NoReturn

__all__ = ["Unpicklable"]


class Unpicklable:
    """Refuses to be pickled or copied, and says what to do instead."""

    _instead: ClassVar[str]

    def __reduce__(self) -> NoReturn:
        # What pickle raises by itself, so that whoever catches that catches this.
        kind = type(self).__name__
        raise TypeError(
            f"{self!r} cannot be pickled or copied: {kind} belongs to this process; {self._hint()}"
        )

    def _hint(self) -> str:
        return self._instead
