"""How much memory the key-value cache may take, and how long a context fits into it.

The budget is a share of what this process may still take: the machine's free memory or the cgroup's,
whichever is less.
"""

import ctypes
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from ruvllm.config import PrefixCacheConfig
from ruvllm.errors import ConfigError, OutOfMemoryError
from ruvllm.runtime.kv_shape import KvShape

__all__ = ["EngineMemory", "KvPlan", "KvRequest", "adapter_budget", "available_memory", "plan_kv_cache"]

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
    kv_format: str
    prefix_bytes: int
    prefix_entries: int
    high_watermark: float
    low_watermark: float
    swap_bytes: int

    @classmethod
    def of(cls, plan: KvPlan, kv_format: str, config: PrefixCacheConfig) -> "EngineMemory":
        """Fit the prefix cache to the planned key-value cache."""
        swap = config.swap_bytes
        prefix = config.max_memory_bytes
        return cls(
            max_context=plan.max_context,
            kv_bytes=plan.kv_cache_bytes,
            kv_format=kv_format,
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


def available_memory(mapped_bytes: int = 0, root: Path = Path("/")) -> int | None:
    """Bytes that this process may still take; `None` where the system does not tell.

    Weights that are mapped from a file could give way, which the system counts as free; they must not.
    """
    machine = _machine_free(root)
    left = None if machine is None else max(0, machine - mapped_bytes)
    known = [size for size in (left, _cgroup_free(root, mapped_bytes)) if size is not None]
    return min(known) if known else None


def _machine_free(root: Path) -> int | None:
    if sys.platform == "win32":
        return _windows_free()
    for line in _lines(root / "proc/meminfo"):
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return int(value.split()[0]) * 1024
    try:  # macOS tells the whole only
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (ValueError, OSError):
        return None


def _cgroup_free(root: Path, mapped_bytes: int) -> int | None:
    """What the control group leaves, version 2 or 1: the least of its own limit and those above it."""
    free: int | None = None
    for folder, limit_name, used_name in _cgroup_folders(root):
        limit, used = _number(folder / limit_name), _number(folder / used_name)
        if limit is None or used is None or limit >= 2**60:  # version 1 writes "no limit" as a huge number
            continue
        left = max(0, limit - used + max(0, _reclaimable(folder) - mapped_bytes))
        free = left if free is None else min(free, left)
    return free


def _cgroup_folders(root: Path) -> list[tuple[Path, str, str]]:
    folders: list[tuple[Path, str, str]] = []
    for line in _lines(root / "proc/self/cgroup"):
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0":
            base, names = root / "sys/fs/cgroup", ("memory.max", "memory.current")
        elif "memory" in controllers.split(","):
            base, names = root / "sys/fs/cgroup/memory", ("memory.limit_in_bytes", "memory.usage_in_bytes")
        else:
            continue
        own = base / path.strip().lstrip("/")
        inside = [own, *own.parents]
        folders += [(folder, *names) for folder in inside if folder == base or base in folder.parents]
    return folders


def _reclaimable(folder: Path) -> int:
    """Page cache that counts as used but gives way, the mapped model file among it."""
    for line in _lines(folder / "memory.stat"):
        name, _, value = line.partition(" ")
        if name in ("inactive_file", "total_inactive_file"):
            return int(value)
    return 0


def _number(path: Path) -> int | None:
    lines = _lines(path)
    return int(lines[0]) if lines and lines[0].strip().isdigit() else None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return []


def _windows_free() -> int | None:  # pragma: no cover - Windows only
    class _Status(ctypes.Structure):
        _fields_ = (
            ("length", ctypes.c_ulong),
            ("load", ctypes.c_ulong),
            ("total_physical", ctypes.c_ulonglong),
            ("free_physical", ctypes.c_ulonglong),
            ("total_page", ctypes.c_ulonglong),
            ("free_page", ctypes.c_ulonglong),
            ("total_virtual", ctypes.c_ulonglong),
            ("free_virtual", ctypes.c_ulonglong),
            ("free_extended", ctypes.c_ulonglong),
        )

    status = _Status(length=ctypes.sizeof(_Status))
    kernel32 = getattr(ctypes, "windll").kernel32  # noqa: B009 - absent from other systems' stubs
    return int(status.free_physical) if kernel32.GlobalMemoryStatusEx(ctypes.byref(status)) else None
