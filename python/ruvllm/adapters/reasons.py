"""Why an adapter is not read: all that speaks against it, told together."""

from collections.abc import Sequence
from pathlib import Path

from ruvllm.errors import AdapterError

__all__ = ["TOLD", "cannot_be_honoured"]

# So many of a kind are told of.
TOLD = 5


def cannot_be_honoured(path: Path, reasons: Sequence[str]) -> AdapterError:
    """The error of a file with such reasons."""
    more = f"; and {len(reasons) - TOLD} more" if len(reasons) > TOLD else ""
    return AdapterError(f"{path} cannot be honoured: " + "; ".join(reasons[:TOLD]) + more)
