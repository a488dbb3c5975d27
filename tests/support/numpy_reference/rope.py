"""Frequencies of rotary position embeddings: the published scalings, as transformers parametrizes them."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def inverse_frequencies(
    rope: dict[str, Any], head_dim: int, max_positions: int, length: int
) -> tuple[Array, float]:
    """Radians a position for each pair of dimensions, and the factor on cosines and sines.

    `length` is that of the whole sequence: two of the scalings depend on it.
    """
    dimensions = int(head_dim * (rope.get("partial_rotary_factor") or 1.0))
    base, factor = rope["rope_theta"], rope.get("factor")
    exponents = np.arange(0, dimensions, 2) / dimensions
    plain = base**-exponents
    match rope["rope_type"]:
        case "default":
            return plain, 1.0
        case "linear":  # kaiokendev: positions closer together
            return plain / factor, 1.0
        case "dynamic":  # bloc97, emozilla: the base grows with the sequence
            stretch = factor * max(length, max_positions) / max_positions - (factor - 1)
            return (base * stretch ** (dimensions / (dimensions - 2))) ** -exponents, 1.0
        case "yarn":
            return _yarn(rope, plain, max_positions)
        case "llama3":
            return _llama3(rope, plain), 1.0
        case "longrope":
            return _longrope(rope, plain, max_positions, length)
    raise ValueError(rope["rope_type"])


def _yarn(rope: dict[str, Any], plain: Array, max_positions: int) -> tuple[Array, float]:
    """arXiv 2309.00071: pairs that turn often keep their frequency, slow ones are interpolated."""
    trained, base = rope["original_max_position_embeddings"], rope["rope_theta"]
    factor = rope.get("factor") or max_positions / trained
    dimensions = 2 * len(plain)

    def pair_with(rotations: float) -> float:
        return dimensions * math.log(trained / (rotations * 2 * math.pi)) / (2 * math.log(base))

    first, last = pair_with(rope.get("beta_fast") or 32), pair_with(rope.get("beta_slow") or 1)
    if rope.get("truncate", True):
        first, last = math.floor(first), math.ceil(last)
    first, last = max(first, 0), min(last, dimensions - 1)
    if first == last:
        last += 0.001
    interpolated = np.clip((np.arange(len(plain)) - first) / (last - first), 0, 1)
    frequencies = plain / factor * interpolated + plain * (1 - interpolated)

    def magnitude(multiplier: float) -> float:
        return 1.0 if factor <= 1 else 0.1 * multiplier * math.log(factor) + 1.0

    scale = rope.get("attention_factor")
    if scale is None:
        one, all_dimensions = rope.get("mscale"), rope.get("mscale_all_dim")
        scale = magnitude(one) / magnitude(all_dimensions) if one and all_dimensions else magnitude(1)
    return frequencies, scale


def _llama3(rope: dict[str, Any], plain: Array) -> Array:
    """Llama 3.1: three bands of wavelengths, the middle one blended."""
    trained, factor = rope["original_max_position_embeddings"], rope["factor"]
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    turns = trained * plain / (2 * math.pi)  # within the trained context
    kept = np.clip((turns - low) / (high - low), 0, 1)
    return plain * kept + plain / factor * (1 - kept)


def _longrope(rope: dict[str, Any], plain: Array, max_positions: int, length: int) -> tuple[Array, float]:
    """arXiv 2402.13753: a divisor for each pair, of two sets."""
    trained = rope["original_max_position_embeddings"]
    divisors = rope["long_factor"] if length > trained else rope["short_factor"]
    factor = rope.get("factor") or max_positions / trained
    scale = rope.get("attention_factor")
    if scale is None:
        scale = 1.0 if factor <= 1 else math.sqrt(1 + math.log(factor) / math.log(trained))
    return plain / np.asarray(divisors), scale
