"""Models in the shape of larger ones, with random weights: how long a step takes does not depend on them."""

from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray

VOCABULARY = 32_000
CONTEXT = 4096
# A block of Q4_0: a scale in f16, then 32 numbers of 4 bits.
BLOCK_NUMBERS, BLOCK_BYTES = 32, 18
SCALE = 0.0008
# Of the norm before the head: logits then spread as those of a trained model do, and a few tokens are likely.
OUTPUT_NORM = 24.0


@dataclass(frozen=True, slots=True)
class ModelShape:
    """What of a Llama's description decides how long it computes."""

    layers: int
    hidden: int
    feed_forward: int
    heads: int
    kv_heads: int

    @property
    def head_dim(self) -> int:
        """Numbers of one head."""
        return self.hidden // self.heads


SHAPES = {"1b": ModelShape(layers=16, hidden=2048, feed_forward=8192, heads=32, kv_heads=8)}


def random_blocks(rows: int, columns: int, numbers: np.random.Generator) -> NDArray[np.uint8]:
    """A matrix in Q4_0."""
    count = rows * columns // BLOCK_NUMBERS
    blocks = numbers.integers(0, 256, (count, BLOCK_BYTES), np.uint8)
    blocks[:, :2] = np.frombuffer(np.float16(SCALE).tobytes(), np.uint8)
    return blocks.reshape(rows, -1)


def write_shape(name: str, path: Path) -> None:
    """Write a file of Q4_0 weights, without a tokenizer."""
    shape, numbers = SHAPES[name], np.random.default_rng(0)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(shape.hidden)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(500_000.0)
    writer.add_rope_dimension_count(shape.head_dim)
    writer.add_vocab_size(VOCABULARY)

    def matrix(tensor: str, rows: int, columns: int) -> None:
        blocks = random_blocks(rows, columns, numbers)
        writer.add_tensor(f"{tensor}.weight", blocks, raw_dtype=gguf.GGMLQuantizationType.Q4_0)

    def norm(tensor: str, weight: float = 1.0) -> None:
        writer.add_tensor(f"{tensor}.weight", np.full(shape.hidden, weight, np.float32))

    matrix("token_embd", VOCABULARY, shape.hidden)
    norm("output_norm", OUTPUT_NORM)
    keys = shape.kv_heads * shape.head_dim
    for layer in range(shape.layers):
        block = f"blk.{layer}"
        norm(f"{block}.attn_norm")
        norm(f"{block}.ffn_norm")
        for part, rows, columns in (
            ("attn_q", shape.hidden, shape.hidden),
            ("attn_k", keys, shape.hidden),
            ("attn_v", keys, shape.hidden),
            ("attn_output", shape.hidden, shape.hidden),
            ("ffn_gate", shape.feed_forward, shape.hidden),
            ("ffn_up", shape.feed_forward, shape.hidden),
            ("ffn_down", shape.hidden, shape.feed_forward),
        ):
            matrix(f"{block}.{part}", rows, columns)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
