"""What a `ModelConfig` says, as a file to load and settings of the engine; what cannot be done is refused."""

import os
from dataclasses import dataclass
from pathlib import Path

import ruvllm.hub as hub
from ruvllm.config import KvCacheConfig, ModelConfig
from ruvllm.engine_settings import EngineKeywords, EngineSettings
from ruvllm.errors import ConfigError
from ruvllm.hub.selection import DEFAULT_QUANTIZATION
from ruvllm.kv_precisions import check_tiers, store_format, tail_format
from ruvllm.types import Precision

__all__ = ["ConfiguredSettings", "resolve_model", "settings_from"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfiguredSettings(EngineSettings):
    """An engine's settings, and what a `ModelConfig` says besides.

    Attributes:
        context_limit: No more context than this, less where the model or the memory allow less.
        quantization: What the file's weights must be; `None` takes any.
    """

    context_limit: int | None = None
    quantization: Precision | None = None


def resolve_model(
    model: str | os.PathLike[str],
    config: ModelConfig | None,
    *,
    quiet: bool = False,
    cache: Path | None = None,
) -> Path:
    """Find the model's file or folder, fetching it where it is not on this machine; with a bar or quietly."""
    token = config.hf_token if config else None
    return hub.resolve(_with_quantization(model, config), quiet=quiet, token=token, cache=cache)


def _with_quantization(model: str | os.PathLike[str], config: ModelConfig | None) -> str | os.PathLike[str]:
    """The name with the configured quantization, where it names a Hub repository and leaves that open."""
    if config is None or config.quantization is None or not isinstance(model, str):
        return model
    reference = hub.parse(model, hub.DEFAULT_REGISTRY)
    is_open = isinstance(reference, hub.HubModel) and not (reference.quantization or reference.file_name)
    # Files of Q4_K are a mixture, and named by it.
    is_mixture = config.quantization is Precision.Q4K
    name = DEFAULT_QUANTIZATION if is_mixture else config.quantization.tensor_type
    return f"{reference}:{name}" if is_open else model


def settings_from(config: ModelConfig | None, given: EngineSettings) -> ConfiguredSettings:
    """The given settings over the configuration; `ConfigError` for what this engine does not have."""
    keywords = given.keywords()
    if config is None:
        return ConfiguredSettings(**keywords)
    if not config.use_flash_attention:
        raise ConfigError("use_flash_attention is False; this engine has no other attention")
    cache, cache_tokens = config.kv_cache_config, config.max_context
    if cache is not None:
        cache_tokens = min(cache_tokens, cache.max_tokens)
        configured = _tiers(cache, given.max_context or cache_tokens)
        if given.kv_format == "auto":
            keywords.update(configured)
        # Each by itself stands above the configuration.
        if given.kv_tail is not None:
            keywords["kv_tail"] = given.kv_tail
            if given.kv_tail == 0:
                keywords["kv_tail_format"] = None
        if given.kv_tail_format is not None:
            keywords["kv_tail_format"] = given.kv_tail_format
    return ConfiguredSettings(
        **keywords,
        context_limit=None if given.max_context else cache_tokens,
        quantization=config.quantization,
    )


def _tiers(cache: KvCacheConfig, max_tokens: int) -> EngineKeywords:
    """The formats of a cache; `ConfigError` for what the engine does not have."""
    tail, store = cache.tail_precision, cache.store_precision
    if cache.tail_length >= max_tokens:
        store = tail
    if cache.tail_length == 0:
        tail = store
    if tail is store:
        return {"kv_format": store_format(store), "kv_tail": 0}
    check_tiers(tail, store)
    return {
        "kv_format": store_format(store),
        "kv_tail": cache.tail_length,
        "kv_tail_format": tail_format(tail),
    }
