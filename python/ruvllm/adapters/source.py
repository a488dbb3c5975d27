"""Where adapters are read: folders of PEFT's and GGUF files, of this machine or of the Hub."""

import os
from pathlib import Path
from typing import TypeAlias

import ruvllm.hub as hub
from ruvllm.adapters.gguf_adapter import read_gguf
from ruvllm.adapters.peft_folder import CONFIG, WEIGHTS, read_peft
from ruvllm.adapters.weights import AdapterWeights
from ruvllm.errors import AdapterError

__all__ = ["Stamp", "files_of", "is_gguf", "located", "read_adapter", "stamp_of"]

Stamp: TypeAlias = tuple[tuple[int, int, int], ...]


def located(source: str | os.PathLike[str]) -> Path:
    """The folder or file that is meant; what is `hf://...` is fetched where it is not here."""
    name = os.fspath(source)
    return hub.resolve_adapter(name) if name.startswith("hf://") else Path(name)


def read_adapter(source: Path) -> AdapterWeights:
    """Read whatever is there; `AdapterError` says all that speaks against it."""
    if is_gguf(source):
        return read_gguf(source)
    if not source.is_dir():
        raise AdapterError(f"{source} is no folder with {CONFIG}, and no .gguf file")
    return read_peft(source)


def files_of(source: Path) -> tuple[Path, ...]:
    """What is read of it."""
    return (source,) if is_gguf(source) else (source / CONFIG, source / WEIGHTS)


def stamp_of(source: Path) -> Stamp | None:
    """Changes with the files, unless somebody takes pains that it does not."""
    try:
        found = [file.stat() for file in files_of(source)]
    except OSError:
        return None
    return tuple((one.st_ino, one.st_size, one.st_mtime_ns) for one in found)


def is_gguf(source: Path) -> bool:
    """Whether it is called a GGUF file."""
    return source.suffix.lower() == ".gguf" and not os.path.isdir(source)
