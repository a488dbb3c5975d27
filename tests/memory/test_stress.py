"""Many threads, random cancels, little memory: nothing hangs, nothing leaks, nothing grows.

Twenty seconds run with the other tests; `pytest -m slow tests/memory` runs ten minutes.
"""

import random
import threading
import time
from pathlib import Path

import pytest

from ruvllm import LLM, GenerateParams
from ruvllm.config import Limits, PrefixCacheConfig

THREADS = 64
TINY = Path(__file__).parents[1] / "fixtures" / "gguf" / "llama-gqa.gguf"
MIB = 1024**2


class Users:
    """Threads that ask, read a little or all, and go away."""

    def __init__(self, llm: LLM, expected: dict[int, tuple[int, ...]], seconds: float) -> None:
        self._llm = llm
        self._expected = expected
        self._end = time.monotonic() + seconds
        self.requests = self.cancelled = 0
        self.wrong: list[str] = []
        self._lock = threading.Lock()

    def run(self) -> None:
        threads = [
            threading.Thread(target=self._ask, args=(number,), daemon=True) for number in range(THREADS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            # Whoever waits for an answer has it soon after the end.
            thread.join(max(0.0, self._end - time.monotonic()) + 30)
        assert not any(thread.is_alive() for thread in threads), "somebody waits for ever"

    def _ask(self, number: int) -> None:
        order = random.Random(number)
        try:
            while time.monotonic() < self._end:
                self._one(order, f"team-{number % 3}/user-{number}")
        except Exception as error:  # noqa: BLE001 - whatever it is, the test must hear of it
            self.wrong.append(repr(error))

    def _one(self, order: random.Random, tenant: str) -> None:
        key = order.randrange(len(self._expected))
        stream = self._llm.stream(prompt(key), PARAMS, tenant=tenant, priority=order.randrange(2))
        patience = order.choice([0, 1, 5, 1000])
        tokens: list[int] = []
        with stream:
            for chunk in stream:
                tokens += chunk.token_ids
                if len(tokens) > patience:
                    break
        if tuple(tokens) != self._expected[key][: len(tokens)]:
            self.wrong.append(f"prompt {key}: {tokens}")
        with self._lock:
            self.requests += 1
            self.cancelled += len(tokens) > patience


PARAMS = GenerateParams(temperature=1.0, seed=5, max_tokens=40, ignore_eos=True)


def prompt(key: int) -> list[int]:
    """Prompts of many lengths that begin alike in groups."""
    order = random.Random(key % 5)
    shared = [3 + order.randrange(300) for _ in range(60)]
    return shared[: 20 + key % 41] + [3 + (key * 31 + index) % 300 for index in range(key % 29)]


def stress(seconds: float) -> None:
    with LLM(TINY, max_context=160) as llm:
        fresh = GenerateParams(temperature=1.0, seed=5, max_tokens=40, ignore_eos=True, cache_prefix=False)
        expected = {key: llm.generate(prompt(key), fresh).token_ids for key in range(100)}
        block_bytes = llm.pool_stats().block_bytes
    config = PrefixCacheConfig(swap_bytes=20 * block_bytes)
    limits = Limits(max_running=24, growth_tokens=8)
    with LLM(
        TINY, max_context=160, kv_cache_bytes=150 * block_bytes, prefix_cache=config, limits=limits
    ) as llm:
        llm.set_quota("team-1", 60 * block_bytes)
        for key in range(20):
            llm.generate(prompt(key), PARAMS)
        before = llm.memory_stats().resident_bytes
        users = Users(llm, expected, seconds)
        users.run()
        assert not users.wrong, users.wrong[:3]
        assert users.requests > 20 * seconds
        assert users.cancelled > users.requests / 10
        deadline = time.monotonic() + 10
        while llm.memory_stats().running_requests:
            assert time.monotonic() < deadline, "a request was left"
            time.sleep(0.01)
        llm.prefix_cache.clear()
        pool = llm.pool_stats()
        assert pool.free_blocks == pool.total_blocks, "a block was lost"
        assert (pool.kv_pages, pool.swapped_bytes, pool.cached_blocks) == (0, 0, 0)
        assert all(tenant.used_bytes == 0 for tenant in pool.tenants)
        assert all(tenant.peak_bytes <= 60 * block_bytes for tenant in pool.tenants if tenant.quota_bytes)
        stats = llm.memory_stats()
        assert stats.preemptions > 0
        # Threads, Python's own heap: what is not the pool's must not grow with the requests.
        assert stats.resident_bytes - before < 64 * MIB


@pytest.mark.timeout(180)
def test_sixty_four_threads() -> None:
    stress(20)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_ten_minutes() -> None:
    stress(600)


@pytest.mark.real_model
@pytest.mark.timeout(180)
def test_the_process_follows_the_budget(smollm2_path: Path) -> None:
    # Eight rounds of 600 tokens are 107 MiB of keys and values, more than twice the budget.
    budget = 48 * MIB
    with LLM(smollm2_path, max_context=1024, kv_cache_bytes=budget) as llm:
        llm.generate([1, 2, 3], GenerateParams(max_tokens=2))
        llm.prefix_cache.clear()
        empty = llm.memory_stats().resident_bytes
        order = random.Random(1)
        highest = 0
        for _ in range(8):
            tokens = [[order.randrange(3, 40_000) for _ in range(300)] for _ in range(2)]
            llm.generate(tokens, GenerateParams(max_tokens=2, ignore_eos=True))
            stats = llm.memory_stats()
            pool = llm.pool_stats()
            highest = max(highest, stats.resident_bytes - empty)
            assert pool.committed_bytes <= budget + pool.page_bytes
        assert llm.prefix_cache.stats().evictions > 0
        # Within 5 % of the budget, and what a step of 512 tokens needs besides.
        assert highest <= budget * 1.05 + 32 * MIB
        llm.prefix_cache.clear()
        assert llm.pool_stats().kv_pages == 0
        left = llm.memory_stats().resident_bytes - empty
        assert left <= 0.05 * budget + 32 * MIB
