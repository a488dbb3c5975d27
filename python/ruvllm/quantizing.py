"""A model's weights in fewer bits: a file or folder in, a file out, whole or not at all."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import ruvllm._native as _native
import ruvllm.hub as hub
import ruvllm.whole_file as whole_file
from ruvllm.errors import ConfigError, InvalidOperationError, IoError, ModelError
from ruvllm.gguf_values import Entry, encoded
from ruvllm.importance import ImportanceMatrix
from ruvllm.text.gguf_tokenizer import tokenizer_entries
from ruvllm.text.json_tokenizer import MAX_CONFIG_BYTES, JsonTokenizer, read_config
from ruvllm.text.loading import template_source

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["QuantizedModel", "QuantizedTensor", "Work", "quantize", "read_object"]

# Tokens of a vocabulary that are believed.
MOST_TOKENS = 1 << 20


class Work(TypedDict, total=False):
    """How it is done: threads (all large cores), and what is called with the bytes read and in all."""

    threads: int | None
    progress: Callable[[int, int], None] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizedTensor:
    """What became of a tensor.

    Attributes:
        name: Its name.
        old_type: The type it had.
        new_type: The type it has in the new file.
        old_bytes: Its size before.
        new_bytes: Its size now.
    """

    name: str
    old_type: str
    new_type: str
    old_bytes: int
    new_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizedModel:
    """A file that was made.

    Attributes:
        path: The file.
        type_name: The mix that was asked for.
        size_bytes: How large it is.
        tensors: What became of each tensor, in the order of the file.
    """

    path: Path
    type_name: str
    size_bytes: int
    tensors: tuple[QuantizedTensor, ...]

    @property
    def was_quantized(self) -> bool:
        """Whether weights had lost something before; better make them of the original in 16 or 32 bits."""
        floats = ("F32", "F16", "BF16")
        return any(one.old_type not in floats and one.old_type != one.new_type for one in self.tensors)


@dataclass(frozen=True, slots=True)
class _Settings:
    """What the extension asks for."""

    mix: str
    threads: int | None
    entries: Sequence[Entry]
    importance: Mapping[str, Sequence[float]] = field(default_factory=dict)


def quantize(
    model: str | os.PathLike[str],
    target: str | os.PathLike[str],
    type_name: str = "Q4_K_M",
    *,
    overwrite: bool = False,
    importance: "str | os.PathLike[str] | ImportanceMatrix | None" = None,
    **work: "Unpack[Work]",
) -> QuantizedModel:
    """Write a model as a GGUF file with weights of another type; tokenizer and chat template go with it.

    The model is a GGUF file, or a folder of safetensors with its `config.json`. Which tensor of a mix gets
    which type is as llama.cpp has it, which reads the file as well. Some rows are in memory at a time, never
    a matrix. With an `importance` matrix errors count by what goes into their columns. `progress` is called
    with the bytes read and in all, `threads` are those of the machine where they are not given.

        ruvllm.quantize("SmolLM2-F16.gguf", "SmolLM2-Q4_K_M.gguf")

    Raises `InvalidOperationError` where the target is there already and `overwrite` is not set, `ConfigError`
    for an unknown type, and `ModelError` with a tensor's name where it holds what no weights can be made of.
    """
    if unknown := work.keys() - Work.__annotations__.keys():
        raise TypeError(f"unexpected keyword argument {min(unknown)!r}")
    source, place = hub.resolve(os.fspath(model), quiet=True), Path(target).absolute()
    own = source.iterdir() if source.is_dir() else [source] if source.exists() else []
    if place.exists() and any(os.path.samefile(one, place) for one in own):
        raise ConfigError(f"{place} is a file of the model itself; name another one")
    if os.path.lexists(place) and not overwrite:
        raise InvalidOperationError(f"{place} is there already, and would have to be overwritten")
    settings = _settings(source, type_name, importance, work.get("threads"))
    try:
        with whole_file.replacing(place, private=False) as file:
            made = _native.quantize_model(source, file, settings, work.get("progress"))
            size = file.tell()
    except OSError as error:
        if isinstance(error, IoError):
            raise
        raise IoError(f"{place} cannot be written: {error.strerror or error}") from error
    tensors = (
        QuantizedTensor(name=name, old_type=old, new_type=new, old_bytes=before, new_bytes=after)
        for name, (old, new), (before, after) in made
    )
    return QuantizedModel(path=place, type_name=type_name, size_bytes=size, tensors=tuple(tensors))


def _settings(
    source: Path,
    type_name: str,
    importance: "str | os.PathLike[str] | ImportanceMatrix | None",
    threads: int | None,
) -> _Settings:
    entries = _folder_entries(source)
    if importance is None:
        return _Settings(type_name, threads, entries)
    read = importance if isinstance(importance, ImportanceMatrix) else ImportanceMatrix.load(importance)
    name = "" if isinstance(importance, ImportanceMatrix) else Path(importance).name
    weights = {matrix: each.tolist() for matrix, each in read.weights().items()}
    return _Settings(type_name, threads, [*entries, *read.entries(name)], weights)


def _folder_entries(source: Path) -> list[Entry]:
    """What a GGUF file says of a folder: its name, its tokenizer; nothing for one that says it itself."""
    folder = source if source.is_dir() else source.parent
    is_folder = source.is_dir() or source.suffix == ".safetensors"
    if not is_folder or not (folder / "config.json").is_file():
        return []
    config = read_object(folder / "config.json")
    named = config.get("_name_or_path")
    name = named if isinstance(named, str) and named else _name_of(folder.absolute())
    entries = [] if named else [("general.name", encoded(name))]
    tokenizer = JsonTokenizer.from_folder(folder)
    if tokenizer is None:
        return entries
    num_tokens = config.get("vocab_size")
    if type(num_tokens) is not int or not 0 < num_tokens <= MOST_TOKENS:
        raise ModelError(f"{folder / 'config.json'} has the vocab_size {num_tokens!r:.80}")
    template, ends = template_source(read_config(folder)), _ends(folder, config)
    return [*entries, *tokenizer_entries(tokenizer, template, num_tokens, name, ends)]


def _ends(folder: Path, config: Mapping[str, Any]) -> list[int]:
    """The tokens that end an answer, as transformers has it: those of generation_config.json go before."""
    path = folder / "generation_config.json"
    generation = read_object(path) if path.is_file() else {}
    said = generation.get("eos_token_id", config.get("eos_token_id"))
    return [token for token in (said if isinstance(said, list) else [said]) if type(token) is int]


def _name_of(folder: Path) -> str:
    """A folder is mostly called as its model; in the hub's cache one two above is."""
    if folder.parent.name == "snapshots" and folder.parent.parent.name.startswith("models--"):
        return folder.parent.parent.name.rpartition("--")[2]
    return folder.name


def read_object(path: Path, max_bytes: int = MAX_CONFIG_BYTES) -> dict[str, Any]:
    """What a file of a model's folder says in JSON; nothing, where it is no object or longer."""
    try:
        with whole_file.open_regular(path) as file:
            read = json.loads(file.read(max_bytes))
    except OSError as error:
        raise IoError(f"{path}: {error.strerror or error}") from error
    except (ValueError, RecursionError):
        read = None
    # What else may be wrong with it is said where the model is read.
    return read if isinstance(read, dict) else {}
