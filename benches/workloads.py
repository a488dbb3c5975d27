"""What is measured, the same in every benchmark and for every engine."""

import numpy as np
from numpy.typing import NDArray

from ruvllm import GenerateParams, kernels


def token_ids(count: int, vocab_size: int) -> list[int]:
    """Ids of ordinary tokens, spread over the vocabulary; the same ones every time."""
    first = min(1000, vocab_size // 4)
    return [first + index * 7919 % (vocab_size - first) for index in range(count)]


def exactly(num_tokens: int) -> GenerateParams:
    """So many tokens, each computed by itself: nothing out of a cache, nothing guessed."""
    return GenerateParams(
        max_tokens=num_tokens,
        temperature=0.0,
        repetition_penalty=1.0,
        ignore_eos=True,
        cache_prefix=False,
        speculate=False,
    )


def random_blocks(block_type: kernels.BlockType, count: int) -> NDArray[np.uint8]:
    """Blocks of so many values, with finite scales: no byte reaches the highest exponents of any format."""
    size = count // block_type.block_elements * block_type.block_bytes
    return np.random.default_rng(1).integers(0, 0x3C, size, dtype=np.uint8)
