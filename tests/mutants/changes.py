"""Small mechanical changes of a source text: where one could be made, and what would stand there instead."""

from dataclasses import dataclass

__all__ = ["ARITHMETIC", "COMPARISONS", "EXTREMES", "Change"]

# A border moved by one shows a test that tries only what is far from it.
COMPARISONS = {"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "=="}
ARITHMETIC = {"+": "-", "-": "+", "*": "/", "/": "*", "//": "*", "%": "*", "**": "*", "<<": ">>", ">>": "<<"}
EXTREMES = {"min": "max", "max": "min"}


@dataclass(frozen=True, slots=True, order=True)
class Change:
    """The characters from `start` up to `end` replaced."""

    start: int
    end: int
    replacement: str

    def applied(self, source: str) -> str:
        """The source with the change."""
        return source[: self.start] + self.replacement + source[self.end :]
