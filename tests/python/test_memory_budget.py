"""How context and cache fit each other and the memory that is free."""

from dataclasses import replace
from pathlib import Path

import pytest

from ruvllm.errors import OutOfMemoryError
from ruvllm.runtime.kv_shape import KvShape
from ruvllm.runtime.memory_budget import KvPlan, KvRequest, available_memory, plan_kv_cache

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


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


MEMINFO = "MemTotal:  1000 kB\nMemAvailable:   800 kB\n"


def test_a_machine_without_limits(tmp_path: Path) -> None:
    write(tmp_path, "proc/meminfo", MEMINFO)
    write(tmp_path, "proc/self/cgroup", "0::/\n")
    write(tmp_path, "sys/fs/cgroup/memory.max", "max\n")
    write(tmp_path, "sys/fs/cgroup/memory.current", "5\n")
    assert available_memory(root=tmp_path) == 800 * 1024


def test_cgroup_2_the_tightest_of_the_chain(tmp_path: Path) -> None:
    write(tmp_path, "proc/meminfo", MEMINFO)
    write(tmp_path, "proc/self/cgroup", "0::/outer/inner\n")
    write(tmp_path, "sys/fs/cgroup/outer/memory.max", "300000\n")
    write(tmp_path, "sys/fs/cgroup/outer/memory.current", "250000\n")
    write(tmp_path, "sys/fs/cgroup/outer/memory.stat", "anon 1\ninactive_file 20000\n")
    write(tmp_path, "sys/fs/cgroup/outer/inner/memory.max", "200000\n")
    write(tmp_path, "sys/fs/cgroup/outer/inner/memory.current", "50000\n")
    assert available_memory(root=tmp_path) == 70_000


def test_cgroup_1(tmp_path: Path) -> None:
    write(tmp_path, "proc/meminfo", MEMINFO)
    write(tmp_path, "proc/self/cgroup", "5:cpu:/x\n4:memory:/x\n")
    write(tmp_path, "sys/fs/cgroup/memory/x/memory.limit_in_bytes", "90000\n")
    write(tmp_path, "sys/fs/cgroup/memory/x/memory.usage_in_bytes", "50000\n")
    write(tmp_path, "sys/fs/cgroup/memory/memory.limit_in_bytes", str(2**63 - 4096))
    write(tmp_path, "sys/fs/cgroup/memory/memory.usage_in_bytes", "50000\n")
    assert available_memory(root=tmp_path) == 40_000


def test_mapped_weights_are_not_free_though_they_could_give_way(tmp_path: Path) -> None:
    """The system counts them as free; in a group, as far as they are among what it would take first."""
    write(tmp_path, "proc/meminfo", MEMINFO)
    assert available_memory(700 * 1024, root=tmp_path) == 100 * 1024
    assert available_memory(900 * 1024, root=tmp_path) == 0
    write(tmp_path, "proc/self/cgroup", "0::/one\n")
    write(tmp_path, "sys/fs/cgroup/one/memory.max", "300000\n")
    write(tmp_path, "sys/fs/cgroup/one/memory.current", "250000\n")
    write(tmp_path, "sys/fs/cgroup/one/memory.stat", "inactive_file 20000\n")
    assert available_memory(5000, root=tmp_path) == 300_000 - 250_000 + 15_000
    # Those that are in use count as used already.
    assert available_memory(40_000, root=tmp_path) == 50_000


def test_this_machine() -> None:
    free = available_memory()
    assert free is None or free > 0
