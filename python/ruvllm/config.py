"""Settings of a model, of its key-value cache and of its queue, with the documented defaults."""

from dataclasses import dataclass, field

from ruvllm._checks import Interval, check_integer, check_number, check_type
from ruvllm.errors import ConfigError
from ruvllm.types import DeviceType, Precision

__all__ = ["KvCacheConfig", "Limits", "ModelConfig", "PrefixCacheConfig"]


@dataclass(frozen=True, slots=True, kw_only=True)
class KvCacheConfig:
    """A key-value cache of two tiers: the newest tokens precise, the older ones packed.

    `TwoTierKvCache` is such a cache by itself. A model that is loaded with this keeps its cache so: tails of
    FP16 (integers of 16 bits, as exact), FP32 or Q8, over stores of these or Q4. One precision for both, no
    tail (`tail_length=0`) or nothing but tail (as long as the context) is one tier. BF16 and Q4K are refused.
    The engine packs each token when it comes and moves the border with each, so no token depends on when.

    >>> KvCacheConfig(tail_length=128, tail_precision=Precision.Q8).store_precision.name
    'Q4'

    Attributes:
        tail_length: So many newest tokens stay at `tail_precision`.
        tail_precision: FP32, FP16, BF16 or Q8.
        store_precision: How older tokens are kept.
        max_tokens: The most tokens in all; at least `tail_length`.
        num_kv_heads: Key-value heads, for a cache made by itself; a model's own shape stands above it.
        head_dim: Values of a head, likewise.
        migration_batch: So many tokens at a time move from the tail to the store.
    """

    tail_length: int = 256
    tail_precision: Precision = Precision.FP16
    store_precision: Precision = Precision.Q4
    max_tokens: int = 4096
    num_kv_heads: int = 8
    head_dim: int = 128
    migration_batch: int = 64

    def __post_init__(self) -> None:
        check_integer("tail_length", self.tail_length, 0)
        for name in ("max_tokens", "num_kv_heads", "head_dim", "migration_batch"):
            check_integer(name, getattr(self, name), 1)
        check_type("tail_precision", self.tail_precision, Precision)
        check_type("store_precision", self.store_precision, Precision)
        if self.tail_precision not in (Precision.FP32, Precision.FP16, Precision.BF16, Precision.Q8):
            raise ConfigError(
                f"tail_precision is {self.tail_precision.name}; it must be FP32, FP16, BF16 or Q8"
            )
        if self.max_tokens < self.tail_length:
            raise ConfigError(
                f"max_tokens is {self.max_tokens}; it must be at least tail_length, {self.tail_length}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixCacheConfig:
    """What of the key-value cache computed prefixes may keep, and when they give way.

    >>> PrefixCacheConfig(max_memory_bytes=512 * 1024**2).max_entries
    100000

    Attributes:
        max_memory_bytes: The most bytes of blocks; `None` is 2 GiB, or less where the whole cache has less.
        max_entries: The most nodes of the tree.
        high_watermark: When more than this share of the key-value cache is in use, prefixes are evicted ...
        low_watermark: ... until this share is.
        swap_bytes: Memory beside the cache for requests that are set aside; `None` is an eighth of the
            cache, 0 computes them anew.
    """

    max_memory_bytes: int | None = None
    max_entries: int = 100_000
    high_watermark: float = 0.85
    low_watermark: float = 0.70
    swap_bytes: int | None = None

    def __post_init__(self) -> None:
        for name in ("max_memory_bytes", "swap_bytes"):
            if getattr(self, name) is not None:
                check_integer(name, getattr(self, name), 0)
        check_integer("max_entries", self.max_entries, 2)
        check_number("high_watermark", self.high_watermark, Interval(0, 1, low_included=False))
        check_number(
            "low_watermark", self.low_watermark, Interval(0, self.high_watermark, low_included=False)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of what is taken in and of what a plan may ask for.

    Attributes:
        prefill_tokens: Prompt tokens in one step, all requests together.
        step_seconds: How long a step with prompts should take, by the times that were measured of this model
            on this machine: whoever makes tokens waits for so long. Four times as long where there is one
            request alone; a part longer than the answers of a step where they take longer by themselves.
        max_running: Requests that are in at once.
        horizon_steps: Steps before the next plan where nothing else ends it; a new request does.
        growth_tokens: For so many more tokens of each request that is in blocks are kept free; and so many
            tokens, and a sixteenth of those it came with, whoever is in may make before it is set aside for
            a tenant that has nothing in.
        max_waiting: Requests that wait; one more is refused to a tenant that has its share of them.
        max_waiting_tokens: Prompt tokens of all that wait, likewise.
    """

    prefill_tokens: int = 512
    step_seconds: float = 0.25
    max_running: int = 64
    horizon_steps: int = 64
    growth_tokens: int = 64
    max_waiting: int = 4096
    max_waiting_tokens: int = 4_000_000

    def __post_init__(self) -> None:
        for name in ("prefill_tokens", "max_running", "horizon_steps", "max_waiting", "max_waiting_tokens"):
            check_integer(name, getattr(self, name), 1)
        check_integer("growth_tokens", self.growth_tokens, 0)
        check_number("step_seconds", self.step_seconds, Interval(0, 3600, low_included=False))


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """How a model is loaded.

    >>> ModelConfig(max_context=2048, quantization=Precision.Q8).quantization
    <Precision.Q8: 'q8'>

    Attributes:
        max_context: The most tokens of a prompt and its answer; less where the model's own limit is.
        use_flash_attention: Attention block by block, without the whole score matrix.
        quantization: Which file of a Hub repository to take, where it has several; `None` takes Q4_K_M before
            others. A file that is named is run as it is: one with other weights is refused.
        kv_cache_config: The cache; `None` leaves the choice to the engine.
        device: Where to run; a device that is not present is refused.
        hf_token: For private repositories of the Hugging Face Hub; never shown.
    """

    max_context: int = 4096
    use_flash_attention: bool = True
    quantization: Precision | None = None
    kv_cache_config: KvCacheConfig | None = None
    device: DeviceType = field(default_factory=DeviceType.auto)
    hf_token: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        check_integer("max_context", self.max_context, 1)
        check_type("use_flash_attention", self.use_flash_attention, bool)
        if self.quantization is not None:
            check_type("quantization", self.quantization, Precision)
        if self.kv_cache_config is not None:
            check_type("kv_cache_config", self.kv_cache_config, KvCacheConfig)
        check_type("device", self.device, DeviceType)
        if self.hf_token is not None and not isinstance(self.hf_token, str):
            raise ConfigError("hf_token must be a text")
        self.device.require()
