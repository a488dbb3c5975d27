"""A model's weights in fewer bits: one file in, another one out, whole or not at all."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import ruvllm._native as _native
import ruvllm.hub as hub
import ruvllm.whole_file as whole_file
from ruvllm.errors import ConfigError, InvalidOperationError, IoError

__all__ = ["QuantizedModel", "QuantizedTensor", "quantize"]


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


def quantize(
    model: str | os.PathLike[str],
    target: str | os.PathLike[str],
    type_name: str = "Q4_K_M",
    *,
    overwrite: bool = False,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> QuantizedModel:
    """Write a model's GGUF file anew with weights of another type; tokenizer and chat template go with it.

    Which tensor of a mix gets which type is as llama.cpp has it, which reads the file as well. Some rows are
    in memory at a time, never a tensor. `progress` is called with the bytes read and in all.

        ruvllm.quantize("SmolLM2-F16.gguf", "SmolLM2-Q4_K_M.gguf")

    Raises `InvalidOperationError` where the target is there already and `overwrite` is not set, `ConfigError`
    for an unknown type, and `ModelError` with a tensor's name where it holds what no weights can be made of.
    """
    source, place = hub.resolve(os.fspath(model), quiet=True), Path(target).absolute()
    if place.exists() and source.exists() and os.path.samefile(source, place):
        raise ConfigError(f"{place} is the model itself; name another file")
    if os.path.lexists(place) and not overwrite:
        raise InvalidOperationError(f"{place} is there already, and would have to be overwritten")
    try:
        with whole_file.replacing(place, private=False) as file:
            made = _native.quantize_model(source, file, type_name, threads, progress)
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
