"""Models in the shape of larger ones, with random weights: how long a step takes does not depend on them.

Tensors are drawn and written one by one, so that a file needs no more memory than its largest tensor.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Kind
from numpy.typing import NDArray

from benches.blocks import matrix_bytes, random_matrix

__all__ = ["FORMATS", "SHAPES", "UNIFORM", "ModelShape", "Weights", "file_bytes", "write_shape"]

CONTEXT = 131_072
# Of the norm before the head: logits then spread as those of a trained model do, and a few tokens are likely.
OUTPUT_NORM = 24.0


@dataclass(frozen=True, slots=True)
class ModelShape:
    """What of a Llama's description decides how long it computes.

    Attributes:
        layers: How many.
        hidden: Numbers between layers.
        feed_forward: Numbers inside a layer's feed-forward half.
        heads: Of the queries.
        kv_heads: Of keys and values.
        has_own_head: Whether the head is a matrix of its own; else the embedding table is the head, too.
        vocabulary: Tokens.
    """

    layers: int
    hidden: int
    feed_forward: int
    heads: int
    kv_heads: int
    has_own_head: bool = False
    vocabulary: int = 32_000

    @property
    def head_dim(self) -> int:
        """Numbers of one head."""
        return self.hidden // self.heads

    @property
    def cached_numbers(self) -> int:
        """Numbers that the key-value cache keeps of a token."""
        return 2 * self.layers * self.kv_heads * self.head_dim


SHAPES = {
    "1b": ModelShape(layers=16, hidden=2048, feed_forward=8192, heads=32, kv_heads=8),
    "3b": ModelShape(layers=28, hidden=3072, feed_forward=8192, heads=24, kv_heads=8),
    "8b": ModelShape(layers=32, hidden=4096, feed_forward=14_336, heads=32, kv_heads=8, has_own_head=True),
}
"""Those of Llama 3.1 and 3.2, but for the vocabulary."""


@dataclass(frozen=True, slots=True)
class Weights:
    """The formats of a file's matrices.

    Attributes:
        layers: Those of the layers, and an embedding table that is not the head.
        head: That of the head.
    """

    layers: Kind
    head: Kind


UNIFORM = Weights(Kind.Q4_0, Kind.Q4_0)
FORMATS = {
    "Q4_0": Weights(Kind.Q4_0, Kind.Q6_K),
    "Q4_K": Weights(Kind.Q4_K, Kind.Q6_K),
    "Q8_0": Weights(Kind.Q8_0, Kind.Q8_0),
    "IQ4_XS": Weights(Kind.IQ4_XS, Kind.Q6_K),
    "F16": Weights(Kind.F16, Kind.F16),
}
"""As llama.cpp quantizes: heads in 6 bits. `Q4_K` is `Q4_K_M` but for those layers that have 6 bits, too."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """One of a file: a matrix of random numbers, or a norm, all of whose `columns` weights are the same."""

    name: str
    kind: Kind
    rows: int
    columns: int
    norm: float | None = None

    @property
    def num_bytes(self) -> int:
        """What it takes in the file."""
        return matrix_bytes(self.kind, self.rows, self.columns)

    def data(self, numbers: np.random.Generator) -> NDArray[np.uint8]:
        """Its bytes."""
        if self.norm is not None:
            return np.full(self.columns, self.norm, "<f4").view(np.uint8)
        return random_matrix(self.kind, self.rows, self.columns, numbers)


def tensors(shape: ModelShape, weights: Weights) -> Iterator[Tensor]:
    """Those of a file, in its order."""
    hidden, keys = shape.hidden, shape.kv_heads * shape.head_dim
    table = weights.layers if shape.has_own_head else weights.head
    yield Tensor("token_embd.weight", table, shape.vocabulary, hidden)
    yield Tensor("output_norm.weight", Kind.F32, 1, hidden, OUTPUT_NORM)
    if shape.has_own_head:
        yield Tensor("output.weight", weights.head, shape.vocabulary, hidden)
    for layer in range(shape.layers):
        for norm in ("attn_norm", "ffn_norm"):
            yield Tensor(f"blk.{layer}.{norm}.weight", Kind.F32, 1, hidden, 1.0)
        for part, rows, columns in (
            ("attn_q", hidden, hidden),
            ("attn_k", keys, hidden),
            ("attn_v", keys, hidden),
            ("attn_output", hidden, hidden),
            ("ffn_gate", shape.feed_forward, hidden),
            ("ffn_up", shape.feed_forward, hidden),
            ("ffn_down", hidden, shape.feed_forward),
        ):
            yield Tensor(f"blk.{layer}.{part}.weight", weights.layers, rows, columns)


def file_bytes(shape: ModelShape, weights: Weights) -> int:
    """How large the file will be, but for its header."""
    return sum(tensor.num_bytes for tensor in tensors(shape, weights))


def write_shape(
    shape: ModelShape,
    path: Path,
    weights: Weights = UNIFORM,
    told: Callable[[int], None] = lambda _: None,
) -> None:
    """Write a file; its tokenizer knows words without meaning. `told` hears how many bytes are written."""
    writer = gguf.GGUFWriter(path, "llama")
    _describe(writer, shape)
    _name_tokens(writer, shape.vocabulary)
    for tensor in tensors(shape, weights):
        if tensor.norm is not None:
            writer.add_tensor_info(tensor.name, [tensor.columns], np.dtype(np.float32), tensor.num_bytes)
        else:
            row_bytes = tensor.num_bytes // tensor.rows
            byte_shape, dtype = [tensor.rows, row_bytes], np.dtype(np.uint8)
            writer.add_tensor_info(tensor.name, byte_shape, dtype, tensor.num_bytes, tensor.kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    numbers, written = np.random.default_rng(0), 0
    for tensor in tensors(shape, weights):
        writer.write_tensor_data(tensor.data(numbers))
        written += tensor.num_bytes
        told(written)
    writer.close()


def _describe(writer: gguf.GGUFWriter, shape: ModelShape) -> None:
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(shape.hidden)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(500_000.0)
    writer.add_rope_dimension_count(shape.head_dim)
    writer.add_vocab_size(shape.vocabulary)


def _name_tokens(writer: gguf.GGUFWriter, vocabulary: int) -> None:
    """llama.cpp opens no file without a tokenizer."""
    special = ["<unk>", "<s>", "</s>"]
    kinds = [gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.CONTROL]
    words = [f"\u2581t{number}" for number in range(len(special), vocabulary)]
    writer.add_tokenizer_model("llama")
    writer.add_token_list(special + words)
    writer.add_token_scores([0.0] * vocabulary)
    writer.add_token_types(kinds + [gguf.TokenType.NORMAL] * len(words))
