"""One small wrong change of the project, and the tests that must notice it."""

from dataclasses import dataclass
from pathlib import Path

from tests.mutants.suites import CargoTargets, PytestFiles, Suite

__all__ = ["ROOT", "Mutant", "python_mutant", "rust_mutant"]

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Mutant:
    """A change of one place.

    Attributes:
        path: The file, seen from the root of the repository.
        text: What stands there; it must occur once.
        replacement: What stands there instead.
        suite: The tests of which one must fail.
        equivalent: Why nothing can notice it; such a one is not run, and left out of the share.
    """

    path: str
    text: str
    replacement: str
    suite: Suite
    equivalent: str = ""

    def __str__(self) -> str:
        return f"{self.path}: {_line(self.text)} -> {_line(self.replacement) or 'nothing'}"

    def applied(self, source: str) -> str:
        """The file's source with the change."""
        count = source.count(self.text)
        if count != 1:
            raise ValueError(f"{self.path}: {self.text!r} occurs {count} times; it must occur once")
        return source.replace(self.text, self.replacement)


def python_mutant(
    file: str, text: str, replacement: str, tests: tuple[str, ...], equivalent: str = ""
) -> Mutant:
    """A change of a file below `python/ruvllm`, noticed by test files below `tests`."""
    return Mutant(f"python/ruvllm/{file}", text, replacement, PytestFiles(tests), equivalent)


def rust_mutant(
    file: str, text: str, replacement: str, targets: tuple[str, ...], equivalent: str = ""
) -> Mutant:
    """A change of a file below `rust`, noticed by test targets of its crate."""
    crate, _, _ = file.partition("/")
    return Mutant(f"rust/{file}", text, replacement, CargoTargets(f"ruvllm-{crate}", targets), equivalent)


def _line(text: str) -> str:
    return " / ".join(part.strip() for part in text.strip().splitlines())
