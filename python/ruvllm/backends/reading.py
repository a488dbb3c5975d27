"""What is told of a model that another engine runs: text, end tokens and facts, as our engine reads them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import ruvllm._native as _native
from ruvllm.errors import ConfigError
from ruvllm.runtime.configuration import ConfiguredSettings
from ruvllm.runtime.opening import check_quantization
from ruvllm.text.loading import ModelText, load_text

__all__ = ["FileFacts", "chosen_context", "read_model"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFacts:
    """A `ModelFacts` out of a model's files; what runs it adds what it knows, the rest stays 0."""

    architecture: str
    quantization: str
    sizes: tuple[int, int]
    vocab_size: int
    hidden_size: int
    num_layers: int
    heads: tuple[int, int, int]
    max_context: int
    threads: int = 0
    weight_bytes: tuple[int, int] = (0, 0)
    isa: str = ""


def read_model(
    path: Path, settings: ConfiguredSettings, progress: Callable[[int, int], None] | None
) -> tuple[ModelText, FileFacts, tuple[int, ...]]:
    """How a model reads and writes, what it is and what ends its answers; its weights are let go of."""
    native = _native.Model.load(str(path), threads=settings.threads, progress=progress)
    text = load_text(native, path)
    ends = [*native.end_tokens, *(text.tokenizer.end_tokens if text.tokenizer else ())]
    check_quantization(settings.quantization, native.quantization, path)
    names = ("architecture", "quantization", "sizes", "vocab_size", "hidden_size", "num_layers", "heads")
    facts = FileFacts(**{name: getattr(native, name) for name in names}, max_context=native.max_context)
    return text, facts, tuple(token for token in dict.fromkeys(ends) if token < native.vocab_size)


def chosen_context(settings: ConfiguredSettings, limit: int, why: str, *, usual: int | None = None) -> int:
    """Tokens of a prompt and its answer together; `why` says why there are no more than the limit.

    Where nobody says, there are no more than are `usual`.
    """
    if settings.max_context is None:
        return min(limit, settings.context_limit or limit, usual or limit)
    if settings.max_context > limit:
        raise ConfigError(f"max_context is {settings.max_context}; {why}")
    return settings.max_context
