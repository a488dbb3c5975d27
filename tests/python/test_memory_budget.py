"""How context and cache fit each other and the memory that is free."""

from dataclasses import replace

import pytest

from ruvllm.errors import OutOfMemoryError
from ruvllm.runtime.kv_shape import KvShape
from ruvllm.runtime.memory_budget import KvPlan, KvRequest, plan_kv_cache

MIB = 1024**2


def request(max_context: int | None = None, kv_cache_bytes: int | None = None) -> KvRequest:
    """A model of 8192 tokens at 16 KiB each: 128 MiB for a full context."""
    return KvRequest(
        shape=KvShape(16),
        block_bytes=256 * 1024,
        step_tokens=512,
        model_max_context=8192,
        max_context=max_context,
        kv_cache_bytes=kv_cache_bytes,
    )


@pytest.mark.parametrize(
    ("asked", "free", "plan"),
    [
        # Plenty: four full contexts, or 2 GiB where those are less.
        (request(), 64 * 1024 * MIB, KvPlan(max_context=8192, kv_cache_bytes=2048 * MIB)),
        (
            replace(request(), block_bytes=2048 * 1024),
            64 * 1024 * MIB,
            KvPlan(max_context=8192, kv_cache_bytes=4096 * MIB),
        ),
        # Half of what is free.
        (request(), 600 * MIB, KvPlan(max_context=8192, kv_cache_bytes=300 * MIB)),
        # Less than a full context: a shorter one.
        (request(), 128 * MIB, KvPlan(max_context=4096, kv_cache_bytes=64 * MIB)),
        # A context that was asked for may take more than half.
        (request(max_context=8192), 200 * MIB, KvPlan(max_context=8192, kv_cache_bytes=128 * MIB)),
        (request(max_context=2048), 1024 * MIB, KvPlan(max_context=2048, kv_cache_bytes=512 * MIB)),
        # The caller's budget stands, whatever is free.
        (request(kv_cache_bytes=32 * MIB), 10 * MIB, KvPlan(max_context=2048, kv_cache_bytes=32 * MIB)),
        (request(kv_cache_bytes=900 * MIB), None, KvPlan(max_context=8192, kv_cache_bytes=900 * MIB)),
        (request(), None, KvPlan(max_context=8192, kv_cache_bytes=1024 * MIB)),
    ],
)
def test_plans(asked: KvRequest, free: int | None, plan: KvPlan) -> None:
    assert plan_kv_cache(asked, free) == plan


@pytest.mark.parametrize(
    ("asked", "free", "words"),
    [
        (request(max_context=8192), 100 * MIB, "a context of 8192 tokens needs 134217728 bytes"),
        (request(max_context=8192, kv_cache_bytes=MIB), 999 * MIB, "holds 64 tokens; 134217728 bytes"),
        (request(kv_cache_bytes=1000), 999 * MIB, "1000 bytes holds 0 tokens; 262144 bytes"),
        (request(), 1000, "holds 0 tokens"),
    ],
)
def test_what_does_not_fit(asked: KvRequest, free: int, words: str) -> None:
    with pytest.raises(OutOfMemoryError, match=words):
        plan_kv_cache(asked, free)


def test_layers_with_a_window_need_what_it_reaches() -> None:
    """Of six groups five see 512 tokens: beside a step's 512 never more than 65 blocks each."""
    windows = (None, *[512] * 5)
    asked = replace(request(), shape=KvShape(16, windows), block_bytes=MIB)
    rows = 8192 // 16
    assert plan_kv_cache(asked, 64 * 1024 * MIB).kv_cache_bytes == 4 * (rows + 5 * 65) * MIB
    # In a quarter of what layers without windows would take, the whole context fits.
    tight = replace(asked, kv_cache_bytes=(rows + 5 * 65) * MIB)
    assert plan_kv_cache(tight, None).max_context == 8192
    everything = replace(tight, shape=KvShape(16, (None,) * 6))
    assert plan_kv_cache(everything, None).max_context == (rows + 5 * 65) // 6 * 16
