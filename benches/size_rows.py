"""A line of the table that sizes.py prints: one test of one file of random weights."""

from dataclasses import dataclass
from typing import Any

from benches.peers.report import Measured

__all__ = ["SizeRow"]

GB = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeRow:
    """One test of one file.

    Attributes:
        model: Its shape and its format.
        file_bytes: How large it is.
        isa: What RuvLLM computed with.
        operands: What most of its products of a prompt multiply.
        kv_format: How RuvLLM stored keys and values.
        test: What was measured.
    """

    model: str
    file_bytes: int
    isa: str
    operands: str
    kv_format: str
    test: Measured

    def titles(self) -> list[str]:
        """What the cells are."""
        return ["model", "GB", "test", "RuvLLM", "llama.cpp", "ratio", "of the bound"]

    def cells(self) -> list[str]:
        """In the order of the table."""
        return [self.model, f"{self.file_bytes / GB:.1f}", self.test.name, *self.test.cells()]

    def as_json(self) -> dict[str, Any]:
        """Everything."""
        return {
            "model": self.model,
            "file_bytes": self.file_bytes,
            "isa": self.isa,
            "operands": self.operands,
            "kv_format": self.kv_format,
            "tests": [self.test.as_json()],
        }
