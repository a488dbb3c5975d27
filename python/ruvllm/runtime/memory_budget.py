"""How much memory the key-value cache may take, and how long a context fits into it.

The budget is a share of what this process may still take (`observability/machine_memory.py`).
"""

from dataclasses import dataclass

from ruvllm.config import PrefixCacheConfig
from ruvllm.engine_settings import EngineSettings, KvFormats
from ruvllm.errors import ConfigError, OutOfMemoryError
from ruvllm.runtime.kv_shape import KvShape

__all__ = ["EngineMemory", "KvPlan", "KvRequest", "adapter_budget", "plan_kv_cache"]

SHARE_OF_FREE_MEMORY = 0.5
# No more than so many sequences at full length, or so many bytes for small models: prefixes stay there, too.
FULL_SEQUENCES = 4
ENOUGH_BYTES = 2 * 1024**3
# Of the cache, for adapters that are ready.
ADAPTER_SHARE = 1 / 2
# Of the cache, beside it, for requests that are set aside.
SWAP_SHARE = 1 / 8
# Where the system does not tell what is free.
FALLBACK_BYTES = 2 * 1024**3


@dataclass(frozen=True, slots=True, kw_only=True)
class KvRequest:
    """What is known of the cache before it is made.

    Attributes:
        shape: How many blocks tokens need.
        block_bytes: Bytes of a block.
        step_tokens: Tokens of a prompt that are computed together.
        model_max_context: Tokens that the model was made for.
        max_context: What the caller asked for, if anything.
        kv_cache_bytes: The caller's budget, if any.
    """

    shape: KvShape
    block_bytes: int
    step_tokens: int
    model_max_context: int
    max_context: int | None = None
    kv_cache_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KvPlan:
    """A context and a budget that fit each other."""

    max_context: int
    kv_cache_bytes: int


def adapter_budget(wanted: int | None, kv_cache_bytes: int) -> int:
    """What of the key-value cache's budget adapters may take, so that requests are left some of it."""
    most = int(kv_cache_bytes * ADAPTER_SHARE)
    if wanted is None:
        return most
    if wanted >= kv_cache_bytes:
        raise ConfigError(
            f"adapter_bytes is {wanted}, a part of kv_cache_bytes, which is {kv_cache_bytes}; it must be less"
        )
    return wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineMemory:
    """All that an engine is told about its memory."""

    max_context: int
    kv_bytes: int
    kv: KvFormats
    prefix_bytes: int
    prefix_entries: int
    high_watermark: float
    low_watermark: float
    swap_bytes: int

    @classmethod
    def of(cls, plan: KvPlan, settings: EngineSettings) -> "EngineMemory":
        """Fit the prefix cache to the planned key-value cache."""
        config = settings.prefix_cache or PrefixCacheConfig()
        swap = config.swap_bytes
        prefix = config.max_memory_bytes
        return cls(
            max_context=plan.max_context,
            kv_bytes=plan.kv_cache_bytes,
            kv=settings.kv_formats,
            prefix_bytes=min(ENOUGH_BYTES if prefix is None else prefix, plan.kv_cache_bytes),
            prefix_entries=config.max_entries,
            high_watermark=config.high_watermark,
            low_watermark=config.low_watermark,
            swap_bytes=int(plan.kv_cache_bytes * SWAP_SHARE) if swap is None else swap,
        )


def plan_kv_cache(request: KvRequest, free_bytes: int | None) -> KvPlan:
    """Fit context and budget to each other and to the memory that is free.

    What the caller set stands; where both are set and do not fit, or where what is set is more than there is,
    `OutOfMemoryError` says so with the numbers.
    """
    free = FALLBACK_BYTES if free_bytes is None else free_bytes
    wanted = min(request.max_context or request.model_max_context, request.model_max_context)
    if request.kv_cache_bytes is not None:
        return _within_budget(request, wanted, request.kv_cache_bytes)
    full = _bytes_for(request, wanted)
    share = int(free * SHARE_OF_FREE_MEMORY)
    if full <= share:
        return KvPlan(max_context=wanted, kv_cache_bytes=min(max(full * FULL_SEQUENCES, ENOUGH_BYTES), share))
    if request.max_context is not None:
        if full > free:
            raise OutOfMemoryError(
                f"a context of {wanted} tokens needs {full} bytes of key-value cache, and {free} are free; "
                "lower max_context"
            )
        return KvPlan(max_context=wanted, kv_cache_bytes=full)
    return _within_budget(request, wanted, share)


def _bytes_for(request: KvRequest, num_tokens: int) -> int:
    return request.shape.most_blocks(num_tokens, request.step_tokens) * request.block_bytes


def _within_budget(request: KvRequest, wanted: int, budget: int) -> KvPlan:
    fitting = request.shape.tokens_in(budget // request.block_bytes, request.step_tokens, wanted)
    if fitting == 0 or (request.max_context is not None and fitting < wanted):
        needed = _bytes_for(request, wanted if request.max_context is not None else 1)
        raise OutOfMemoryError(
            f"a key-value cache of {budget} bytes holds {fitting} tokens; {needed} bytes are needed here"
        )
    return KvPlan(max_context=fitting, kv_cache_bytes=budget)
