"""How context and cache fit each other and the memory that is free."""

from dataclasses import replace

import pytest

from ruvllm.errors import OutOfMemoryError
from ruvllm.runtime.memory_budget import KvPlan, KvRequest, plan_kv_cache

MIB = 1024**2


def request(max_context: int | None = None, kv_cache_bytes: int | None = None) -> KvRequest:
    """A model of 8192 tokens at 16 KiB each: 128 MiB for a full context."""
    return KvRequest(
        token_bytes=16 * 1024,
        block_tokens=16,
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
            replace(request(), token_bytes=128 * 1024),
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
