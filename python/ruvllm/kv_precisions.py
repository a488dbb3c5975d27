"""The documented precisions of a key-value cache, as formats of the engine's blocks."""

from ruvllm.engine_settings import KvFormat, KvTailFormat
from ruvllm.errors import ConfigError
from ruvllm.types import Precision

__all__ = ["check_tiers", "store_format", "tail_format"]

# 16 bits are integers in the engine, as exact as floats.
TAIL_FORMATS: dict[Precision, KvTailFormat] = {
    Precision.FP16: "int16",
    Precision.FP32: "f32",
    Precision.Q8: "int8",
}
STORE_FORMATS: dict[Precision, KvFormat] = {**TAIL_FORMATS, Precision.Q4: "q4"}
BEST_FIRST = (Precision.FP32, Precision.FP16, Precision.Q8, Precision.Q4)


def tail_format(precision: Precision) -> KvTailFormat:
    """How the newest tokens are kept; `ConfigError` for a precision that there is no format of."""
    if precision not in TAIL_FORMATS:
        raise ConfigError(f"a tail in {precision.name} cannot be kept; it may be {_names(TAIL_FORMATS)}")
    return TAIL_FORMATS[precision]


def store_format(precision: Precision) -> KvFormat:
    """How all others are kept, likewise."""
    if precision not in STORE_FORMATS:
        raise ConfigError(f"a store in {precision.name} cannot be kept; it may be {_names(STORE_FORMATS)}")
    return STORE_FORMATS[precision]


def check_tiers(tail: Precision, store: Precision) -> None:
    """`ConfigError` where there is no such tier, or the tail would keep the newest tokens no better."""
    tail_format(tail)
    store_format(store)
    if BEST_FIRST.index(tail) >= BEST_FIRST.index(store):
        raise ConfigError(
            f"a tail in {tail.name} keeps no more than a store in {store.name}; give another "
            "tail_precision or store_precision, or one for both"
        )


def _names(formats: dict[Precision, KvTailFormat] | dict[Precision, KvFormat]) -> str:
    return ", ".join(precision.name for precision in formats)
