"""How much memory there is, in files as systems have them."""

import os
from pathlib import Path

import pytest

from ruvllm.observability.machine_memory import MachineMemory, available_memory


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
    memory = MachineMemory.now(tmp_path)
    assert memory == MachineMemory(total_bytes=1000 * 1024, limit_bytes=None, available_bytes=800 * 1024)
    assert memory.most_bytes == 1000 * 1024


def test_cgroup_2_the_tightest_of_the_chain(tmp_path: Path) -> None:
    write(tmp_path, "proc/meminfo", MEMINFO)
    write(tmp_path, "proc/self/cgroup", "0::/outer/inner\n")
    write(tmp_path, "sys/fs/cgroup/outer/memory.max", "300000\n")
    write(tmp_path, "sys/fs/cgroup/outer/memory.current", "250000\n")
    write(tmp_path, "sys/fs/cgroup/outer/memory.stat", "anon 1\ninactive_file 20000\n")
    write(tmp_path, "sys/fs/cgroup/outer/inner/memory.max", "200000\n")
    write(tmp_path, "sys/fs/cgroup/outer/inner/memory.current", "50000\n")
    assert available_memory(root=tmp_path) == 70_000
    memory = MachineMemory.now(tmp_path)
    assert memory == MachineMemory(total_bytes=1000 * 1024, limit_bytes=200_000, available_bytes=70_000)
    assert memory.most_bytes == 200_000


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
    free, memory = available_memory(), MachineMemory.now()
    assert free is None or free > 0
    assert memory.total_bytes is None or free is None or free <= memory.total_bytes


def test_a_system_that_does_not_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(name: str) -> int:
        raise ValueError(name)

    monkeypatch.setattr(os, "sysconf", unknown)
    assert MachineMemory.now(tmp_path) == MachineMemory(
        total_bytes=None, limit_bytes=None, available_bytes=None
    )
