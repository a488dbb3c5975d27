"""A list of adapters on disk, so that a restart has the same: names, where they were read, their digests."""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import ruvllm.whole_file as whole_file
from ruvllm.errors import AdapterError

__all__ = ["SavedAdapter", "read_list", "write_list"]

FORMAT = 1
# Ten thousand names.
MAX_BYTES = 16 * 1024**2


class SavedAdapter(NamedTuple):
    """What a list says of a name."""

    name: str
    source: Path
    generation: str


def read_list(path: Path) -> list[SavedAdapter]:
    """What is on a list; nothing where there is no file."""
    if not os.path.lexists(path):
        return []
    try:
        with whole_file.open_regular(path) as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise ValueError(f"it has more than {MAX_BYTES} bytes")
        content = json.loads(data)
        if not isinstance(content, Mapping) or content.get("format") != FORMAT:
            raise ValueError("it is of another format")
        return [
            SavedAdapter(name, Path(one["source"]), str(one["generation"]))
            for name, one in content["adapters"].items()
        ]
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise AdapterError(f"{path} is no list of adapters: {error}") from error


def write_list(path: Path, adapters: Iterable[SavedAdapter]) -> None:
    """Write a list, whole or not at all."""
    content = {
        "format": FORMAT,
        "adapters": {
            one.name: {"source": str(one.source.absolute()), "generation": one.generation} for one in adapters
        },
    }
    with whole_file.replacing(path) as file:
        file.write(json.dumps(content, indent=1).encode())
