"""One small wrong change of the package, and the tests that must notice it."""

from dataclasses import dataclass
from pathlib import Path

__all__ = ["ROOT", "Mutant"]

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Mutant:
    """A change of one place.

    Attributes:
        file: The file below `python/ruvllm`.
        text: What stands there; it must occur once.
        replacement: What stands there instead.
        tests: The test files, below `tests`, of which one must fail.
        equivalent: Why nothing can notice it; such a one is left out of the share.
    """

    file: str
    text: str
    replacement: str
    tests: tuple[str, ...]
    equivalent: str = ""

    def __str__(self) -> str:
        return f"{self.file}: {_line(self.text)} -> {_line(self.replacement) or 'nothing'}"

    @property
    def path(self) -> str:
        """The file, seen from the root of the repository."""
        return f"python/ruvllm/{self.file}"

    def applied(self, source: str) -> str:
        """The file's source with the change."""
        count = source.count(self.text)
        if count != 1:
            raise ValueError(f"{self.path}: {self.text!r} occurs {count} times; it must occur once")
        return source.replace(self.text, self.replacement)


def _line(text: str) -> str:
    return " / ".join(part.strip() for part in text.strip().splitlines())
