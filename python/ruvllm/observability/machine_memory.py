"""How much memory there is: the machine's or the control group's, whichever is less.

What is not told is `None`: nobody reads the system a second way.
"""

import ctypes
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["MachineMemory", "available_memory"]

# Version 1 of control groups writes "no limit" as a huge number.
NO_LIMIT = 2**60


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineMemory:
    """Memory in bytes; `None` where the system does not tell.

    Attributes:
        total_bytes: What the machine has.
        available_bytes: What this process may still take.
        limit_bytes: What the control groups of this process allow, the least of them; `None` without any.
    """

    total_bytes: int | None
    available_bytes: int | None
    limit_bytes: int | None

    @classmethod
    def now(cls, root: Path = Path("/")) -> "MachineMemory":
        """As it is at this moment."""
        limits = [limit for _, limit, _ in _cgroup_limits(root)]
        return cls(
            total_bytes=_machine_total(root),
            available_bytes=available_memory(root=root),
            limit_bytes=min(limits, default=None),
        )

    @property
    def most_bytes(self) -> int | None:
        """What this process could have, if it had all: the machine's or the control group's."""
        return min((size for size in (self.total_bytes, self.limit_bytes) if size is not None), default=None)


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
        status = _windows_status()
        return int(status.free_physical) if status else None
    free = _meminfo(root, "MemAvailable")
    if free is not None:
        return free
    total = _pages_of_all()  # macOS tells the whole only
    return None if total is None else total // 2


def _machine_total(root: Path) -> int | None:
    if sys.platform == "win32":
        status = _windows_status()
        return int(status.total_physical) if status else None
    total = _meminfo(root, "MemTotal")
    return _pages_of_all() if total is None else total


def _meminfo(root: Path, wanted: str) -> int | None:
    for line in _lines(root / "proc/meminfo"):
        name, _, value = line.partition(":")
        if name == wanted:
            return int(value.split()[0]) * 1024
    return None


def _pages_of_all() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return None


def _cgroup_free(root: Path, mapped_bytes: int) -> int | None:
    """What the control group leaves, version 2 or 1: the least of its own limit and those above it."""
    free: int | None = None
    for folder, limit, used in _cgroup_limits(root):
        left = max(0, limit - used + max(0, _reclaimable(folder) - mapped_bytes))
        free = left if free is None else min(free, left)
    return free


def _cgroup_limits(root: Path) -> Iterator[tuple[Path, int, int]]:
    """Of each control group with a limit: its folder, the limit, and what is used of it."""
    for folder, limit_name, used_name in _cgroup_folders(root):
        limit, used = _number(folder / limit_name), _number(folder / used_name)
        if limit is not None and used is not None and limit < NO_LIMIT:
            yield folder, limit, used


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


class _WindowsStatus(ctypes.Structure):
    """What Windows fills in."""

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


def _windows_status() -> _WindowsStatus | None:  # pragma: no cover - Windows only
    status = _WindowsStatus(length=ctypes.sizeof(_WindowsStatus))
    kernel32 = getattr(ctypes, "windll").kernel32  # noqa: B009 - absent from other systems' stubs
    return status if kernel32.GlobalMemoryStatusEx(ctypes.byref(status)) else None
