"""What a model is, what its engine holds and has done: plain values that do not change."""

from dataclasses import dataclass, fields
from pathlib import Path

from ruvllm.types import DeviceType, ModelSize

__all__ = [
    "CacheStats",
    "EngineStats",
    "KernelPackStats",
    "LoadedPrefixes",
    "MemoryStats",
    "ModelInfo",
    "PoolStats",
    "PrefixCacheStats",
    "SpeculationStats",
    "TenantStats",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """What a loaded model is.

    Attributes:
        name: The name in its file, or the file's own.
        path: Where it lies.
        architecture: Its family: `llama`, `gemma3`, ...
        quantization: The tensor type that holds most weights: `Q4_1`, `F32`, ...
        num_parameters: Weights.
        vocab_size: Tokens that it knows.
        hidden_size: Values of a token's state.
        num_layers: Layers.
        num_heads: Query heads.
        num_kv_heads: Key-value heads.
        head_dim: Values of a head.
        model_max_context: Tokens that the model was made for.
        max_context: Tokens of a prompt and its answer here.
        file_bytes: Size on disk.
        weight_bytes: Size in memory; 0 where the backend does not say.
        device: Where it runs.
        isa: The instruction set that the kernels use; the backend's name where it does not say.
        threads: Threads that they use.
    """

    name: str
    path: Path
    architecture: str
    quantization: str
    num_parameters: int
    vocab_size: int
    hidden_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    model_max_context: int
    max_context: int
    file_bytes: int
    weight_bytes: int
    device: DeviceType
    isa: str
    threads: int

    @property
    def size(self) -> ModelSize:
        """The class of its size."""
        return ModelSize.from_parameters(self.num_parameters)


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryStats:
    """Memory in use, counted, in bytes.

    Attributes:
        weight_bytes: The weights in memory, those of a draft model too.
        kv_total_bytes: The budget of the key-value cache.
        kv_used_bytes: What of it requests hold now.
        kv_cached_bytes: What of it only the prefix cache holds; it gives way to requests.
        swapped_bytes: Beside it, what is kept of requests that were set aside.
        grammar_bytes: The vocabulary as grammars need it, and compiled grammars that are kept, about.
        resident_bytes: The whole process now; 0 where the system does not tell.
        peak_resident_bytes: The whole process at its highest; 0 where the system does not tell.
        running_requests: Requests that hold key-value blocks now.
        waiting_requests: Requests that wait for some.
        paused_requests: Requests that are set aside for others.
        preemptions: How often one was, since the model was loaded.
    """

    weight_bytes: int
    kv_total_bytes: int
    kv_used_bytes: int
    kv_cached_bytes: int
    swapped_bytes: int
    grammar_bytes: int
    resident_bytes: int
    peak_resident_bytes: int
    running_requests: int
    waiting_requests: int
    paused_requests: int
    preemptions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixCacheStats:
    """Counters of a prefix cache, and what it holds.

    Attributes:
        total_lookups: Hits, partial hits and misses.
        cache_hits: The whole prompt was there; its last token is always computed.
        partial_hits: A beginning of the prompt was there.
        cache_misses: Nothing was there.
        miss_reasons: Misses by reason, as in `Usage.cache_miss`.
        evictions: Entries that had to go for others or for running requests.
        insertions: Entries that were added.
        refused_insertions: Entries that did not fit into the budget.
        lookup_tokens: Tokens that were looked up.
        reused_tokens: Tokens that were found, and not computed again.
        entries: Entries now.
        tokens: Their tokens.
        pinned_entries: Entries that running requests use.
        memory_usage_bytes: Bytes of the blocks that they hold.
        max_memory_bytes: The most bytes that they may hold.
    """

    total_lookups: int
    cache_hits: int
    partial_hits: int
    cache_misses: int
    miss_reasons: dict[str, int]
    evictions: int
    insertions: int
    refused_insertions: int
    lookup_tokens: int
    reused_tokens: int
    entries: int
    tokens: int
    pinned_entries: int
    memory_usage_bytes: int
    max_memory_bytes: int

    @classmethod
    def none(cls) -> "PrefixCacheStats":
        """Of an engine that tells of no such cache."""
        counters = {one.name: 0 for one in fields(cls) if one.name != "miss_reasons"}
        return cls(miss_reasons={}, **counters)

    @property
    def hit_rate(self) -> float:
        """Lookups that found something, of all; 0 where there was none."""
        found = self.cache_hits + self.partial_hits
        return found / self.total_lookups if self.total_lookups else 0.0

    @property
    def token_hit_rate(self) -> float:
        """Tokens that were found, of all that were looked up; 0 where there was none."""
        return self.reused_tokens / self.lookup_tokens if self.lookup_tokens else 0.0


CacheStats = PrefixCacheStats
"""The other name that the documents use for `PrefixCacheStats`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedPrefixes:
    """What became of a prefix cache's file.

    Attributes:
        entries_in_file: Entries that it held.
        entries: Of those, entries that are in the cache now; the others found no room, or were there.
        tokens: Their tokens.
    """

    entries_in_file: int
    entries: int
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantStats:
    """What a tenant holds of the key-value cache, with all below it; `quota_bytes` is `None` without one."""

    tenant: str
    used_bytes: int
    peak_bytes: int
    quota_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolStats:
    """The page pool: what is committed, for whom, and how full the blocks on it are.

    Attributes:
        page_bytes: Bytes of a page.
        total_pages: The budget.
        kv_pages: Pages of keys and values.
        adapter_pages: Pages of adapters.
        scratch_pages: Pages of working memory.
        idle_pages: Of all these, pages that may be evicted at once.
        peak_pages: The most that were in use.
        evictions: Owners that were evicted.
        block_bytes: Bytes of a key-value block, of one group of layers.
        windows: Of how many of the last tokens each group of layers has blocks; `None` is all.
        total_blocks: Blocks that the budget has room for.
        free_blocks: Blocks that nobody holds.
        cached_blocks: Blocks that the prefix cache holds, alone or with requests.
        swapped_bytes: Beside the budget, what is kept of requests that were set aside.
        tenants: Who holds how much.
    """

    page_bytes: int
    total_pages: int
    kv_pages: int
    adapter_pages: int
    scratch_pages: int
    idle_pages: int
    peak_pages: int
    evictions: int
    block_bytes: int
    windows: tuple[int | None, ...]
    total_blocks: int
    free_blocks: int
    cached_blocks: int
    swapped_bytes: int
    tenants: tuple[TenantStats, ...]

    @property
    def committed_bytes(self) -> int:
        """Bytes of the pages in use."""
        return (self.kv_pages + self.adapter_pages + self.scratch_pages) * self.page_bytes

    @property
    def fragmentation(self) -> float:
        """The share of the key-value pages that no block uses; 0 where there are none."""
        committed = self.kv_pages * self.page_bytes
        used = (self.total_blocks - self.free_blocks) * self.block_bytes
        return max(0.0, 1 - used / committed) if committed else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelPackStats:
    """Which operation of the forward pass ran where, since the model was loaded.

    Attributes:
        pack: Name and version of the active pack; `None` while all is native.
        calls: By operation, results that were the pack's: `rmsnorm`, `rope` and `swiglu`, and `lora_apply`,
            `kv_pack` and `kv_unpack`, for which the engine does not ask yet.
        native_calls: By operation, results that were native, for whatever reason.
        fallbacks: By operation and reason, those that were native because the pack's kernel failed.
        automatic_rollbacks: How often a pack broke and the one before came back.
    """

    pack: str | None
    calls: dict[str, int]
    native_calls: dict[str, int]
    fallbacks: dict[str, dict[str, int]]
    automatic_rollbacks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeculationStats:
    """What was guessed of answers, since the model was loaded.

    Attributes:
        drafted_tokens: Guesses that were computed.
        accepted_tokens: Those that came true.
        step_costs: By rows of a step, how many times as long as a single one they were seen to take lately.
    """

    drafted_tokens: int
    accepted_tokens: int
    step_costs: dict[int, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStats:
    """What an engine holds and has done; `kernel_pack` is `None` where it was loaded without one."""

    memory: MemoryStats
    prefix_cache: PrefixCacheStats
    speculation: SpeculationStats
    kernel_pack: KernelPackStats | None
