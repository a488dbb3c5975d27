"""What an open model is, holds and may hold, in the values that callers know."""

import ruvllm._native as _native
from ruvllm._checks import check_integer
from ruvllm.figures import (
    EngineStats,
    MemoryStats,
    ModelInfo,
    PoolStats,
    PrefixCacheStats,
    SpeculationStats,
    TenantStats,
)
from ruvllm.runtime.open_model import OpenModel
from ruvllm.types import DeviceType

__all__ = ["engine_stats", "memory_stats", "model_info", "pool_stats", "set_quota", "speculation_stats"]


def model_info(model: OpenModel, device: DeviceType) -> ModelInfo:
    """What the model is and how it runs."""
    native = model.facts
    num_heads, num_kv_heads, head_dim = native.heads
    num_parameters, file_bytes = native.sizes
    weight_bytes, _ = native.weight_bytes
    return ModelInfo(
        name=model.text.name,
        path=model.path,
        architecture=native.architecture,
        quantization=native.quantization,
        num_parameters=num_parameters,
        vocab_size=native.vocab_size,
        hidden_size=native.hidden_size,
        num_layers=native.num_layers,
        num_heads=num_heads,
        num_kv_heads=num_kv_heads,
        head_dim=head_dim,
        model_max_context=native.max_context,
        max_context=model.max_context,
        file_bytes=file_bytes,
        weight_bytes=weight_bytes,
        device=device,
        isa=native.isa,
        threads=native.threads,
    )


def memory_stats(model: OpenModel) -> MemoryStats:
    """Memory in use now; the key-value blocks as of the last plan."""
    load = model.loop.load()
    resident, peak = _native.process_memory()
    weight_bytes, _ = model.facts.weight_bytes
    draft = model.own.draft if model.own else None
    draft_bytes, _ = draft.weight_bytes if draft else (0, 0)
    return MemoryStats(
        weight_bytes=weight_bytes + draft_bytes,
        kv_total_bytes=load.total_block_bytes,
        kv_used_bytes=load.used_block_bytes,
        kv_cached_bytes=load.cached_block_bytes,
        swapped_bytes=load.swapped_bytes,
        grammar_bytes=model.grammars.bytes if model.grammars else 0,
        resident_bytes=resident,
        peak_resident_bytes=peak,
        running_requests=load.running_requests,
        waiting_requests=load.waiting_requests,
        paused_requests=load.paused_requests,
        preemptions=load.preemptions,
    )


def engine_stats(model: OpenModel, prefix_cache: PrefixCacheStats) -> EngineStats:
    """What it holds and has done."""
    packs = model.own.kernel_packs if model.own else None
    return EngineStats(
        memory=memory_stats(model),
        prefix_cache=prefix_cache,
        speculation=speculation_stats(model),
        kernel_pack=packs.stats() if packs else None,
    )


def speculation_stats(model: OpenModel) -> SpeculationStats:
    """What was guessed, as of the last plan."""
    load = model.loop.load()
    return SpeculationStats(
        drafted_tokens=load.drafted_tokens,
        accepted_tokens=load.accepted_tokens,
        step_costs=dict(load.step_costs),
    )


def pool_stats(model: OpenModel) -> PoolStats:
    """The pages, blocks and tenants of the key-value cache, between two plans."""
    stats = model.loop.call(model.memory.pool_stats)
    return PoolStats(
        page_bytes=stats.page_bytes,
        total_pages=stats.total_pages,
        kv_pages=stats.kv_pages,
        adapter_pages=stats.adapter_pages,
        scratch_pages=stats.scratch_pages,
        idle_pages=stats.idle_pages,
        peak_pages=stats.highest_pages,
        evictions=stats.evictions,
        block_bytes=stats.block_bytes,
        windows=tuple(stats.windows),
        total_blocks=stats.total_blocks,
        free_blocks=stats.free_blocks,
        cached_blocks=stats.cached_blocks,
        swapped_bytes=stats.swapped_bytes,
        tenants=tuple(
            TenantStats(tenant=name, used_bytes=used, peak_bytes=peak, quota_bytes=quota)
            for name, used, peak, quota in stats.tenants
        ),
    )


def set_quota(model: OpenModel, tenant: str, num_bytes: int | None) -> None:
    """Hold a tenant to its bytes, in the engine and in the plans."""
    if num_bytes is not None:
        check_integer("num_bytes", num_bytes, 1)

    def apply() -> None:
        model.memory.set_quota(tenant, num_bytes)
        known = model.memory.pool_stats().tenants
        model.loop.set_quotas({name: quota for name, _, _, quota in known if quota is not None})

    model.loop.call(apply)
