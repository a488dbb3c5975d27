"""An engine's status and the loop's requests as the scheduler sees them, and whoever asks for the load."""

from collections.abc import Mapping, Sequence

from ruvllm.runtime.engine_face import EngineStatus, Load
from ruvllm.runtime.kv_shape import KvShape
from ruvllm.runtime.pace import Pace
from ruvllm.runtime.plans import Costs, Running, View, Waiting
from ruvllm.runtime.request import Request, Task
from ruvllm.runtime.turns import Turns

__all__ = ["costs_of", "load_of", "note_progress", "view_of"]


def view_of(  # noqa: PLR0913 - all that a plan depends on
    status: EngineStatus,
    waiting: Sequence[Request],
    running: Mapping[int, Request],
    *,
    costs: Costs,
    quotas: Mapping[str, int],
    turns: Turns,
    is_stuck: bool,
) -> View:
    """All that a plan depends on; `running` by the engine's sequence, `quotas` in bytes.

    An engine that is stuck had no block for anybody: whatever was counted, none is free.
    """
    return View(
        waiting=tuple(
            Waiting(
                request_id=request.request_id,
                prompt_tokens=len(request.task.token_ids),
                reserved_tokens=request.task.reserved_tokens,
                tenant=request.task.tenant,
                priority=request.task.priority,
                rank=_rank(request.task),
                since=request.since,
            )
            for request in waiting
        ),
        running=tuple(
            Running(
                request_id=request.request_id,
                total_tokens=one.total_tokens,
                computed_tokens=one.computed_tokens,
                reserved_tokens=max(request.task.reserved_tokens, one.total_tokens),
                blocks=one.blocks,
                tenant=request.task.tenant,
                priority=request.task.priority,
                rank=_rank(request.task),
                paused=one.is_paused,
                since=request.since,
                entered_tokens=request.entered_tokens,
                planned_at=request.planned_at,
            )
            for one in status.sequences
            if (request := running.get(one.sequence)) is not None
        ),
        free_blocks=0 if is_stuck else max(0, status.room_blocks - status.held_blocks),
        total_blocks=status.total_blocks,
        shape=KvShape(status.block_tokens, tuple(status.windows)),
        costs=costs,
        quota_blocks={name: quota // max(1, status.block_bytes) for name, quota in quotas.items()},
        last_turns=turns.of({one.task.tenant for one in (*waiting, *running.values())}),
    )


def note_progress(status: EngineStatus, running: Mapping[int, Request]) -> None:
    """Tell requests how far they are; an engine that runs no steps one by one does not know it.

    A plan that lets somebody in is made anew before the next step: what is computed of them then was found.
    """
    for one in status.sequences:
        if request := running.get(one.sequence):
            if request.found_tokens is None:
                request.found_tokens = one.computed_tokens
            if status.steps:
                request.computed_tokens = one.computed_tokens


def _rank(task: Task) -> int:
    """What a task counts beside those of other tenants: where nobody said, what it counts among its own."""
    return task.priority if task.rank is None else task.rank


def costs_of(status: EngineStatus, pace: Pace, swap_bytes: int) -> Costs:
    """What it takes to set somebody aside, where so many bytes may be kept of those who are."""
    block_bytes = max(1, status.block_bytes)
    return Costs(
        recompute_token_seconds=1 / pace.tokens_per_second,
        swap_block_seconds=pace.swap_block_seconds(block_bytes),
        swap_free_blocks=max(0, swap_bytes - status.swapped_bytes) // block_bytes,
    )


def load_of(status: EngineStatus) -> Load:
    """What the engine holds; who runs and waits, the loop adds."""
    cached = max(0, status.room_blocks - status.free_blocks - status.held_blocks)
    return Load(
        paused_requests=sum(one.is_paused for one in status.sequences),
        used_block_bytes=status.held_blocks * status.block_bytes,
        cached_block_bytes=cached * status.block_bytes,
        swapped_bytes=status.swapped_bytes,
        total_block_bytes=status.total_blocks * status.block_bytes,
        drafted_tokens=status.drafted_tokens,
        accepted_tokens=status.accepted_tokens,
        step_costs=tuple(status.step_costs),
    )
