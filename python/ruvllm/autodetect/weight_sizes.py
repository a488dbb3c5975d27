"""What weights take in memory, as they are and as `ruvllm quantize` would make them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from math import prod
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

import ruvllm._native as _native
from ruvllm.errors import ModelError

__all__ = ["MIXTURES", "StoredTensor", "mixture_bytes", "packed_bytes"]

# What is packed to see how large a type becomes: whole blocks of every type, and whole tiles of rows.
PROBE_ROWS = PROBE_COLUMNS = 256

_HEADS = ("output.weight", "lm_head.weight")
_EMBEDDINGS = ("token_embd.weight", "model.embed_tokens.weight")
_VALUES = ("attn_v.", "attn_qkv.", "v_proj.", "qkv_proj.")
_DOWNS = ("ffn_down.", "down_proj.")
_ATTENTION_OUTPUTS = ("attn_output.", "o_proj.")
# Where rows are not whole blocks of a type, the next better one of shorter blocks.
_SHORTER = {"Q3_K": "Q4_0", "Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}


class StoredTensor(NamedTuple):
    """A tensor as its file lists it, the outermost dimension first."""

    name: str
    type_name: str
    shape: Sequence[int]

    @property
    def num_weights(self) -> int:
        """How many numbers it has."""
        return prod(self.shape)

    @property
    def is_matrix(self) -> bool:
        """Whether the engine packs it; vectors are small and stay as they are."""
        return len(self.shape) == 2


@dataclass(frozen=True, slots=True)
class _Mixture:
    """A mix of `ruvllm quantize`, as far as its size goes: which share of which matrices gets more bits.

    Attributes:
        usual: The type of most weights.
        head: The type of the head, or of the embedding where that is the head as well.
        lifted: The type of those that matter most ...
        lifted_parts: ... which are these, by their names ...
        lifted_share: ... so much of them.
    """

    usual: str
    head: str
    lifted: str
    lifted_parts: tuple[str, ...] = ()
    lifted_share: float = 0.0


_VALUES_AND_DOWNS = (*_VALUES, *_DOWNS)
MIXTURES = MappingProxyType(
    {
        "Q8_0": _Mixture("Q8_0", "Q8_0", "Q8_0"),
        "Q6_K": _Mixture("Q6_K", "Q6_K", "Q6_K"),
        # The first eighth of the layers, the last one, and each third between: a half.
        "Q5_K_M": _Mixture("Q5_K", "Q6_K", "Q6_K", _VALUES_AND_DOWNS, 0.5),
        "Q4_K_M": _Mixture("Q4_K", "Q6_K", "Q6_K", _VALUES_AND_DOWNS, 0.5),
        "Q4_0": _Mixture("Q4_0", "Q6_K", "Q4_0"),
        "Q3_K_M": _Mixture("Q3_K", "Q6_K", "Q4_K", (*_VALUES_AND_DOWNS, *_ATTENTION_OUTPUTS), 1.0),
    }
)
"""What is worth making of a model, from the most bits to the fewest."""


def packed_bytes(tensors: Iterable[StoredTensor]) -> int:
    """Bytes that the weights of a model take in memory, as they are stored."""
    return round(sum(one.num_weights * _bytes_per_weight(one.type_name) for one in tensors if one.is_matrix))


def mixture_bytes(name: str, tensors: Iterable[StoredTensor]) -> int:
    """The same in a mix of `MIXTURES`; about, for which of the layers are lifted is not looked at."""
    mixture = MIXTURES[name]
    matrices = [one for one in tensors if one.is_matrix]
    has_head = any(one.name in _HEADS for one in matrices)
    return round(sum(_bytes_in(mixture, one, has_head=has_head) for one in matrices))


def _bytes_in(mixture: _Mixture, tensor: StoredTensor, *, has_head: bool) -> float:
    columns = tensor.shape[-1]
    if tensor.name in (_HEADS if has_head else _EMBEDDINGS):
        fits = columns % _block_weights(mixture.usual) == 0
        return tensor.num_weights * _bytes_per_weight(_fitting(mixture.head if fits else "Q8_0", columns))
    is_lifted = any(part in tensor.name for part in mixture.lifted_parts)
    share = mixture.lifted_share if is_lifted else 0.0
    usual = _bytes_per_weight(_fitting(mixture.usual, columns))
    lifted = _bytes_per_weight(_fitting(mixture.lifted, columns))
    return tensor.num_weights * ((1 - share) * usual + share * lifted)


def _fitting(type_name: str, columns: int) -> str:
    for one in (type_name, _SHORTER.get(type_name, "F16")):
        if columns % _block_weights(one) == 0:
            return one
    return "F16"


@cache
def _blocks() -> dict[str, tuple[int, int]]:
    return {name: (weights, num_bytes) for name, weights, num_bytes in _native.block_types()}


def _block_weights(type_name: str) -> int:
    weights, _ = _blocks()[type_name]
    return weights


@cache
def _bytes_per_weight(type_name: str) -> float:
    """What a weight takes as the kernels have it, which for some types is more than in the file."""
    if type_name not in _blocks():
        raise ModelError(f"a tensor has the type {type_name:.40}; known are {', '.join(_blocks())}")
    weights, num_bytes = _blocks()[type_name]
    count = PROBE_ROWS * PROBE_COLUMNS
    zeros = np.zeros(count // weights * num_bytes, np.uint8)
    return _native.PackedMatrix(type_name, zeros, PROBE_ROWS, PROBE_COLUMNS).num_bytes / count
