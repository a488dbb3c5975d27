"""What the head of a model's files says: enough to plan with, and no weight is read.

The files are opened and checked as for loading, so what is no model is refused in the same words. What the
engine makes of the numbers is compared with a loaded model's in the tests.
"""

from collections import Counter
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np

import ruvllm._native as _native
from ruvllm.engine_settings import Activations, KvFormat
from ruvllm.errors import ModelError

__all__ = ["ModelHeader", "StoredTensor", "check_count", "read_gguf_header", "stretched"]

# As the engine bounds them: beyond these a file lies, and products of two would overflow.
MOST = {"layers": 1024, "heads": 4096, "head_dim": 1024, "context": 1 << 24, "width": 1 << 20}
# GGUF's names of what the engine has; another one it refuses, and so does this.
ARCHITECTURES = ("llama", "qwen2", "qwen3", "phi3", "gemma2", "gemma3")


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor as its file lists it, the outermost dimension first."""

    name: str
    type_name: str
    shape: tuple[int, ...]

    @property
    def num_weights(self) -> int:
        """How many numbers it has."""
        return prod(self.shape)

    @property
    def is_matrix(self) -> bool:
        """Whether the engine packs it; vectors are small and stay as they are."""
        return len(self.shape) == 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelHeader:
    """What is known of a model before it is loaded.

    Attributes:
        path: Its file or folder.
        architecture: Its family, as its files call it.
        num_layers: Layers.
        num_kv_heads: Key-value heads.
        head_dim: Values of a head.
        max_context: Tokens that the model was made for.
        tensors: What is stored.
    """

    path: Path
    architecture: str
    num_layers: int
    num_kv_heads: int
    head_dim: int
    max_context: int
    tensors: tuple[StoredTensor, ...]

    @property
    def num_parameters(self) -> int:
        """Weights in all."""
        return sum(tensor.num_weights for tensor in self.tensors)

    @property
    def quantization(self) -> str:
        """The type of most weights of the layers' matrices: the embedding often has another."""
        counts: Counter[str] = Counter()
        for tensor in self.tensors:
            if tensor.is_matrix and any(letter.isnumeric() for letter in tensor.name):
                counts[tensor.type_name] += tensor.num_weights
        if not counts:
            for tensor in self.tensors:
                counts[tensor.type_name] += tensor.num_weights
        return max(counts, key=lambda name: (counts[name], name), default="F32")

    def default_kv_format(self, activations: Activations) -> KvFormat:
        """The format of the key-value cache that `auto` stands for here."""
        return "f32" if activations == "f32" or self.quantization == "F32" else "int16"

    def kv_block_bytes(self, kv_format: str) -> int:
        """Bytes of a block of key-value cache, all layers; as `Model.kv_block_bytes` of a loaded one."""
        layer = _native.KvBlocks(0, self.num_kv_heads, self.head_dim, kv_format)
        return layer.block_bytes * self.num_layers


def read_gguf_header(path: Path, file: "_native.GgufFile") -> ModelHeader:
    """The header of an opened GGUF file."""
    architecture = file.value("general.architecture")
    if architecture not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise ModelError(
            f"{path.name} is no model that can be run: its general.architecture is {architecture!r:.80}; "
            f"known are {known}"
        )
    keys = _Keys(path, file, str(architecture))
    num_heads = keys.required_count("attention.head_count", MOST["heads"])
    context = keys.required_count("context_length", MOST["context"])
    reached = context
    if keys.text("rope.scaling.type") == "yarn":
        original = keys.count("rope.scaling.original_context_length", MOST["context"]) or context
        reached = stretched(original, keys.factor("rope.scaling.factor"))
    hidden = keys.required_count("embedding_length", MOST["width"])
    return ModelHeader(
        path=path,
        architecture=str(architecture),
        num_layers=keys.required_count("block_count", MOST["layers"]),
        num_kv_heads=keys.count("attention.head_count_kv", MOST["heads"]) or num_heads,
        head_dim=keys.count("attention.key_length", MOST["head_dim"]) or max(1, hidden // num_heads),
        max_context=min(max(context, reached), MOST["context"]),
        tensors=tuple(StoredTensor(name, kind, tuple(shape)) for name, kind, shape in file.tensors()),
    )


def check_count(path: Path, key: str, value: object, most: int) -> int:
    """A count between 1 and `most`; `ModelError` names the key of the file where it is none."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if type(value) is not int or not 1 <= value <= most:
        raise ModelError(f"{path.name}: {key} is {value!r:.80}; it must be an integer from 1 to {most}")
    return value


def stretched(original_context: int, factor: float) -> int:
    """The context that a stretched RoPE reaches, in the numbers of 32 bits that the engine takes."""
    return int(original_context * float(np.float32(factor)))


class _Keys:
    """The numbers of an architecture in a GGUF file."""

    def __init__(self, path: Path, file: "_native.GgufFile", architecture: str) -> None:
        self._path = path
        self._file = file
        self._architecture = architecture
        self._names = frozenset(file.keys())

    def count(self, name: str, most: int) -> int | None:
        key = f"{self._architecture}.{name}"
        return check_count(self._path, key, self._file.value(key), most) if key in self._names else None

    def required_count(self, name: str, most: int) -> int:
        key = f"{self._architecture}.{name}"
        return check_count(self._path, key, self._file.value(key), most)

    def text(self, name: str) -> str | None:
        value = self._file.value(f"{self._architecture}.{name}")
        return value if isinstance(value, str) else None

    def factor(self, name: str) -> float:
        value = self._file.value(f"{self._architecture}.{name}")
        return float(value) if isinstance(value, int | float) else 1.0
