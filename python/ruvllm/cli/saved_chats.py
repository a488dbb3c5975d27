"""A conversation as a file."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ruvllm.whole_file as whole_file
from ruvllm.errors import IoError

__all__ = ["save_conversation"]


def save_conversation(messages: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write the messages as JSON, into a file of the user's own."""
    text = json.dumps({"messages": list(messages)}, ensure_ascii=False, indent=2)
    try:
        with whole_file.replacing(path) as file:
            file.write(f"{text}\n".encode())
    except OSError as error:
        raise IoError(f"cannot write {str(path)!r}: {error.strerror or error}") from error
