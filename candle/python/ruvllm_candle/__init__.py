"""candle (the Rust crate) as an engine of `ruvllm`: `LLM(model, backend="candle")`, `CandleBackend`.

It computes logits; tokens, templates, samplers, grammars, stop sequences and queues are those in front of
every engine. docs/backends.md says what it can.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ruvllm_candle.candle_backend import CandleBackend

__all__ = ["CandleBackend"]


def __getattr__(name: str) -> Any:
    # The registry asks for an engine alone, and must not load what stands over it.
    if name != "CandleBackend":
        raise AttributeError(f"module 'ruvllm_candle' has no attribute {name!r}")
    from ruvllm_candle.candle_backend import CandleBackend

    return CandleBackend
