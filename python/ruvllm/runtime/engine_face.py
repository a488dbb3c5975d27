"""What the loop needs of an engine, and what it tells about it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

from ruvllm.runtime.request import Task

if TYPE_CHECKING:
    from ruvllm import _native

__all__ = ["AddTask", "EngineFace", "Load"]

AddTask: TypeAlias = Callable[[Task], int]
"""Puts a task into the engine and gives its sequence; called in the engine's thread."""


class EngineFace(Protocol):
    """What the loop needs of an engine; `_native.Engine` has it."""

    def advance(self, plan: Sequence[tuple[int, int]], max_steps: int) -> str:
        """Run steps until someone has to decide."""

    def preempt(self, sequence: int, swap: bool) -> None:  # noqa: FBT001 - the engine's own face
        """Set a sequence aside; a plan that names it takes it up again."""

    def trim(self) -> None:
        """Give the memory back that nothing stands on."""

    def status(self) -> "_native.Status":
        """Say what planning needs to know."""

    def start_profile(self) -> None:
        """Time the steps from here on. Any thread."""

    def take_profile(self) -> "_native.Profile | None":
        """End that, and give what was recorded. Any thread."""

    def cancel(self, sequence: int) -> None:
        """End a sequence. Any thread."""

    def interrupt(self) -> None:
        """Make `advance` return soon. Any thread."""

    def events(self, timeout: float) -> "list[_native.Event]":
        """Wait for events. Any thread."""

    def close(self) -> None:
        """Wake everyone for good. Any thread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Requests that are in, set aside and waiting, and bytes of key-value blocks, as of the last plan.

    `used_block_bytes` counts what requests hold, `cached_block_bytes` what only the prefix cache holds;
    `preemptions` counts since the beginning.
    """

    running_requests: int = 0
    waiting_requests: int = 0
    paused_requests: int = 0
    preemptions: int = 0
    used_block_bytes: int = 0
    cached_block_bytes: int = 0
    swapped_bytes: int = 0
    total_block_bytes: int = 0
