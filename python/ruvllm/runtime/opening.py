"""From a model's name to a loop that runs requests on it."""

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ruvllm import _native, hub
from ruvllm._settings import of_this_machine
from ruvllm.config import KvCacheConfig, Limits, ModelConfig, PrefixCacheConfig
from ruvllm.engine_settings import EngineSettings, KvFormat
from ruvllm.errors import ConfigError
from ruvllm.hub.selection import DEFAULT_QUANTIZATION, quantization_of
from ruvllm.packs.manager import KernelManager
from ruvllm.packs.store import PackStore
from ruvllm.runtime.loop import EngineLoop
from ruvllm.runtime.memory_budget import EngineMemory, KvPlan, KvRequest, available_memory, plan_kv_cache
from ruvllm.runtime.request import GenerationTask, Task
from ruvllm.runtime.scheduler import Scheduler
from ruvllm.text.loading import ModelText, load_text
from ruvllm.types import Precision

__all__ = ["ConfiguredSettings", "OpenModel", "open_model", "resolve_model", "settings_from"]

logger = logging.getLogger(__name__)

# The precisions of a `KvCacheConfig` that the engine's cache has.
KV_PRECISIONS: dict[Precision, KvFormat] = {
    Precision.FP16: "f16",
    Precision.FP32: "f32",
    Precision.Q8: "int8",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfiguredSettings(EngineSettings):
    """An engine's settings, and what a `ModelConfig` says besides.

    Attributes:
        context_limit: No more context than this, less where the model or the memory allow less.
        quantization: What the file's weights must be; `None` takes any.
    """

    context_limit: int | None = None
    quantization: Precision | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenModel:
    """A model in memory with the loop that runs it."""

    path: Path
    native: _native.Model
    text: ModelText
    vocabulary: _native.Vocabulary | None
    memory: _native.EngineMemory
    loop: EngineLoop
    max_context: int
    kernel_packs: KernelManager | None


def resolve_model(model: str | os.PathLike[str], config: ModelConfig | None) -> Path:
    """Find the model's file or folder, fetching it where it is not on this machine."""
    token = config.hf_token if config else None
    return hub.resolve(_with_quantization(model, config), token=token)


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
    config.device.require()
    if not config.use_flash_attention:
        raise ConfigError("use_flash_attention is False; this engine has no other attention")
    cache, cache_tokens = config.kv_cache_config, config.max_context
    if cache is not None:
        cache_tokens = min(cache_tokens, cache.max_tokens)
        configured = _one_tier(cache, given.max_context or cache_tokens)
        if given.kv_format == "auto":
            keywords["kv_format"] = configured
    return ConfiguredSettings(
        **keywords,
        context_limit=None if given.max_context else cache_tokens,
        quantization=config.quantization,
    )


def _one_tier(cache: KvCacheConfig, max_tokens: int) -> KvFormat:
    """The format of a cache that is one tier in effect; `ConfigError` where it is two."""
    tail, store = cache.tail_precision, cache.store_precision
    if cache.tail_length >= max_tokens:
        store = tail
    if cache.tail_length == 0:
        tail = store
    if tail is store and tail in KV_PRECISIONS:
        return KV_PRECISIONS[tail]
    asked = f"{tail.name} throughout"
    if tail is not store:
        asked = f"a tail of {cache.tail_length} tokens in {tail.name} over a store in {store.name}"
    raise ConfigError(
        f"kv_cache_config asks for {asked}; this engine has one tier: set tail_precision and store_precision "
        "both to FP16, both to FP32 or both to Q8, or leave kv_cache_config out"
    )


def open_model(
    path: Path, settings: ConfiguredSettings, progress: Callable[[int, int], None] | None = None
) -> OpenModel:
    """Load the model and start its loop."""
    settings = of_this_machine(settings)
    packs = _open_pack(settings.kernel_pack, settings.isa)
    native = _native.Model.load(
        str(path),
        threads=settings.threads,
        isa=settings.isa,
        activations=settings.activations,
        progress=progress,
        packs=packs.native if packs else None,
    )
    _check_quantization(settings.quantization, native.quantization, path)
    text = load_text(native, path)
    plan = _plan_memory(native, settings)
    memory = EngineMemory.of(plan, settings.kv_format, settings.prefix_cache or PrefixCacheConfig())
    tokenizer = text.tokenizer
    vocabulary = tokenizer.vocabulary(native.vocab_size) if tokenizer else None
    end_tokens = dict.fromkeys([*native.end_tokens, *(tokenizer.end_tokens if tokenizer else ())])
    engine = _native.Engine(
        native,
        vocabulary=vocabulary,
        end_tokens=[token for token in end_tokens if token < native.vocab_size],
        memory=memory,
    )
    logger.info(
        "%s: %s, %s, context %d, key-value cache %d bytes, %s with %d threads",
        path.name, native.architecture, native.quantization, plan.max_context, plan.kv_cache_bytes,
        native.isa, native.threads,
    )  # fmt: skip
    return OpenModel(
        path=path,
        native=native,
        text=text,
        vocabulary=vocabulary,
        memory=engine.memory(),
        loop=EngineLoop(
            engine,
            lambda task: _add(engine, task),
            scheduler=Scheduler(settings.limits or Limits()),
            swap_bytes=memory.swap_bytes,
        ),
        max_context=plan.max_context,
        kernel_packs=packs,
    )


def _check_quantization(wanted: Precision | None, tensor_type: str, path: Path) -> None:
    """Refuse a file of another quantization: neither its name nor most of its weights say that it is."""
    if wanted is None or wanted.tensor_type == tensor_type:
        return
    # Where rows are too short for a type's blocks, most weights of the mixture that it names are others.
    named = quantization_of(path.name) if path.suffix.lower() == ".gguf" else None
    if not (named or "").startswith(wanted.tensor_type):
        raise ConfigError(
            f"quantization is {wanted.name}, which is {wanted.tensor_type}; the weights of {path.name} are "
            f"{tensor_type}, and a file is run as it is: leave quantization out, or name another file"
        )


def _open_pack(pack: str | os.PathLike[str] | None, isa: str | None) -> KernelManager | None:
    """The manager of an engine with that pack active; one that is refused ends the loading early."""
    if pack is None:
        return None
    manager = KernelManager(floors=PackStore().floors, isa=isa)
    active = manager.activate(pack)
    logger.info("kernel pack %s %s, signed by %s", active.name, active.version, active.signer)
    return manager


@dataclass(frozen=True, slots=True, kw_only=True)
class _GenerationSettings:
    """What the engine reads of a generation besides tokens and sampling."""

    max_tokens: int
    stop: tuple[str, ...]
    ignore_end: bool
    tenant: str
    cache_min_tokens: int | None


def _add(engine: _native.Engine, task: Task) -> int:
    if not isinstance(task, GenerationTask):
        return engine.add_evaluation(task.token_ids, task)
    params = task.params
    sampling = _native.Sampling(
        temperature=params.temperature,
        top_k=params.top_k,
        top_p=params.top_p,
        min_p=params.min_p,
        repetition_penalty=params.repetition_penalty,
        presence_penalty=params.presence_penalty,
        frequency_penalty=params.frequency_penalty,
        logit_bias=list(params.logit_bias.items()),
        seed=params.seed,
        logprobs=params.logprobs,
    )
    settings = _GenerationSettings(
        max_tokens=task.max_tokens,
        stop=params.stop_sequences,
        ignore_end=params.ignore_eos,
        tenant=task.tenant,
        cache_min_tokens=params.min_cache_tokens if params.cache_prefix else None,
    )
    return engine.add_generation(task.token_ids, sampling, settings)


def _plan_memory(native: _native.Model, settings: ConfiguredSettings) -> KvPlan:
    wanted = settings.max_context
    if wanted is not None and wanted > native.max_context:
        raise ConfigError(
            f"max_context is {wanted}; this model was made for {native.max_context} tokens at most"
        )
    block_tokens = _native.KvBlocks.BLOCK_TOKENS
    request = KvRequest(
        token_bytes=native.kv_block_bytes(settings.kv_format) // block_tokens,
        block_tokens=block_tokens,
        model_max_context=min(native.max_context, settings.context_limit or native.max_context),
        max_context=wanted,
        kv_cache_bytes=settings.kv_cache_bytes,
    )
    return plan_kv_cache(request, available_memory())
