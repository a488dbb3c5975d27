"""A smaller model that guesses what the answers of another one go on with."""

import logging
import os
from dataclasses import dataclass

import ruvllm._native as _native
from ruvllm.engine_settings import KvFormats
from ruvllm.errors import ConfigError
from ruvllm.runtime.configuration import ConfiguredSettings, resolve_model
from ruvllm.runtime.weight_images import ImageChoice
from ruvllm.text.loading import load_text

__all__ = ["Draft", "open_draft"]

logger = logging.getLogger(__name__)

# What it rounds costs guesses, never tokens.
_KV_FORMATS: KvFormats = ("int8", None, None)


@dataclass(frozen=True, slots=True)
class Draft:
    """A draft model, and what of the key-value cache's budget is its own.

    Attributes:
        native: The model; it computes on the threads of the one that it guesses for.
        vocabulary: What its tokens say, where that is known.
        share: The part of the budget with which it reaches as far as the other one with the rest.
    """

    native: _native.Model
    vocabulary: _native.Vocabulary | None
    share: float

    def parts(self, kv_cache_bytes: int) -> tuple[_native.Model, _native.Vocabulary | None, int]:
        """As an engine is told, of which so many bytes are the other one's."""
        own_bytes = int(kv_cache_bytes * self.share / (1 - self.share))
        return self.native, self.vocabulary, own_bytes


def open_draft(
    name: str | os.PathLike[str], beside: _native.Model, settings: ConfiguredSettings, *, quiet: bool
) -> Draft:
    """Fetch and load a draft model for one that is loaded."""
    if settings.speculation == "off":
        raise ConfigError(
            f"draft is {str(name)!r}, a model that guesses tokens, and speculation is off: then nothing is "
            "guessed; leave one of them out"
        )
    path = resolve_model(name, None, quiet=quiet)
    images = ImageChoice.of(settings.weight_image, path)
    native = _native.Model.load(
        str(path),
        isa=settings.isa,
        activations=settings.activations,
        images=images.folder,
        keep_image=images.keep,
        beside=beside,
    )
    tokenizer = load_text(native, path).tokenizer
    logger.info("%s guesses for it, %d bytes of weights", path.name, native.weight_bytes[0])
    own, other = _row_bytes(beside, settings.kv_formats), _row_bytes(native, _KV_FORMATS)
    return Draft(
        native=native,
        vocabulary=tokenizer.vocabulary(native.vocab_size) if tokenizer else None,
        share=other / (own + other),
    )


def _row_bytes(model: _native.Model, formats: KvFormats) -> int:
    """Of a few tokens in all layers."""
    _, block_bytes, windows = model.kv_shape(formats)
    return block_bytes * len(windows)
