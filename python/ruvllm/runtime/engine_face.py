"""What the loop needs of an engine, and what it tells about it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from ruvllm.runtime.events import Event
from ruvllm.runtime.request import Task

if TYPE_CHECKING:
    import ruvllm._native as _native

__all__ = ["EngineFace", "EngineStatus", "Load", "SequenceStatus"]


class SequenceStatus(Protocol):
    """How far one sequence is."""

    @property
    def sequence(self) -> int:
        """Its number."""

    @property
    def total_tokens(self) -> int:
        """Tokens that are known of it."""

    @property
    def computed_tokens(self) -> int:
        """Those of them that are computed."""

    @property
    def blocks(self) -> int:
        """Blocks that it holds."""

    @property
    def is_paused(self) -> bool:
        """Whether it is set aside."""


class EngineStatus(Protocol):
    """What planning needs to know of an engine."""

    @property
    def sequences(self) -> Sequence[SequenceStatus]:
        """Those that are in."""

    @property
    def free_blocks(self) -> int:
        """Blocks that nobody holds and nothing is kept in."""

    @property
    def held_blocks(self) -> int:
        """Blocks that sequences hold, each counted once."""

    @property
    def room_blocks(self) -> int:
        """Blocks for which there is memory, held or not."""

    @property
    def total_blocks(self) -> int:
        """Blocks that one sequence may come to hold."""

    @property
    def block_tokens(self) -> int:
        """Tokens of a block."""

    @property
    def windows(self) -> Sequence[int | None]:
        """Of how many of the last tokens each group of layers has blocks."""

    @property
    def block_bytes(self) -> int:
        """Bytes of a block."""

    @property
    def swapped_bytes(self) -> int:
        """Bytes kept of sequences that are set aside."""

    @property
    def steps(self) -> int:
        """Steps since the beginning, of an engine that runs them one by one."""

    @property
    def rows(self) -> int:
        """Tokens that were computed in all of them."""

    @property
    def drafted_tokens(self) -> int:
        """Guesses that were computed."""

    @property
    def accepted_tokens(self) -> int:
        """Guesses that came true."""

    @property
    def step_costs(self) -> Sequence[tuple[int, float]]:
        """Rows of a step, and how many times as long as a single one they were seen to take."""


class EngineFace(Protocol):
    """What the loop needs of an engine; `NativeEngine` has it. All but what says so is its thread's alone."""

    def add(self, task: Task) -> int:
        """Put a task in; gives its sequence."""

    def advance(self, plan: Sequence[tuple[int, int]], max_steps: int) -> str:
        """Run steps until someone has to decide; "blocks" where some have to wait for a block."""

    def preempt(self, sequence: int, swap: bool) -> None:  # noqa: FBT001 - the engine's own face
        """Set a sequence aside; a plan that names it takes it up again."""

    def trim(self) -> None:
        """Give the memory back that nothing stands on."""

    def status(self) -> EngineStatus:
        """Say what planning needs to know."""

    def start_profile(self) -> None:
        """Time the steps from here on. Any thread."""

    def take_profile(self) -> "_native.Profile | None":
        """End that, and give what was recorded. Any thread."""

    def cancel(self, sequence: int) -> None:
        """End a sequence. Any thread."""

    def interrupt(self) -> None:
        """Make `advance` return soon. Any thread."""

    def events(self, timeout: float) -> Sequence[tuple[int, Event]]:
        """Wait for events; gives each with its sequence. Any thread."""

    def close(self) -> None:
        """Wake everyone for good. Any thread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Requests that are in, set aside and waiting, and bytes of key-value blocks, as of the last plan.

    `used_block_bytes` counts what requests hold, `cached_block_bytes` what only the prefix cache holds;
    `preemptions` and guesses count since the beginning.
    """

    running_requests: int = 0
    waiting_requests: int = 0
    paused_requests: int = 0
    preemptions: int = 0
    used_block_bytes: int = 0
    cached_block_bytes: int = 0
    swapped_bytes: int = 0
    total_block_bytes: int = 0
    drafted_tokens: int = 0
    accepted_tokens: int = 0
    step_costs: tuple[tuple[int, float], ...] = ()
