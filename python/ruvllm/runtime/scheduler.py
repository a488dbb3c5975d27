"""Who is in, and how much of their prompts a step may take. Pure: no clock, no engine, no state.

First come, first served, with room reserved: a request gets in when the blocks for its prompt and all the
tokens that it may make are free, so that nobody who is in ever runs out. The head of the queue is never
passed, so that nobody waits for ever. Whoever makes tokens is in every step; prompts share the budget of a
step, the oldest first.
"""

from dataclasses import dataclass, field

from ruvllm._checks import check_integer

__all__ = ["Limits", "Plan", "PlannedRow", "Running", "Scheduler", "View", "Waiting", "blocks_for"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of a plan.

    Attributes:
        prefill_tokens: Prompt tokens in one step, all requests together.
        max_running: Requests that are in at once.
        horizon_steps: Steps before the next plan where nothing else ends it; a new request does.
    """

    prefill_tokens: int = 512
    max_running: int = 64
    horizon_steps: int = 64

    def __post_init__(self) -> None:
        for name in ("prefill_tokens", "max_running", "horizon_steps"):
            check_integer(name, getattr(self, name), 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A request that is not in yet."""

    request_id: int
    prompt_tokens: int
    reserved_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A request that is in: tokens known, tokens in the cache, tokens at its longest."""

    request_id: int
    total_tokens: int
    computed_tokens: int
    reserved_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """All that a plan depends on; both lists in order of arrival."""

    waiting: tuple[Waiting, ...] = ()
    running: tuple[Running, ...] = ()
    free_blocks: int
    block_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRow:
    """A request's part in each step: so many tokens that are not computed yet, at the most."""

    request_id: int
    prefill_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Who comes in, who takes part, and for how many steps that holds."""

    admitted: tuple[int, ...] = ()
    rows: tuple[PlannedRow, ...] = ()
    max_steps: int = 0


def blocks_for(num_tokens: int, block_tokens: int) -> int:
    """Blocks that hold so many tokens."""
    return _ceiling(num_tokens, block_tokens)


def _ceiling(count: int, size: int) -> int:
    return -(-count // size)


@dataclass(frozen=True, slots=True)
class Scheduler:
    """The policy.

    >>> view = View(waiting=(Waiting(request_id=1, prompt_tokens=5, reserved_tokens=9),), free_blocks=4,
    ...             block_tokens=4)
    >>> Scheduler().plan(view).admitted
    (1,)
    """

    limits: Limits = field(default_factory=Limits)

    def plan(self, view: View) -> Plan:
        """Decide the next steps."""
        admitted = self._admit(view)
        newcomers = tuple(
            Running(
                request_id=waiting.request_id,
                total_tokens=waiting.prompt_tokens,
                computed_tokens=0,
                reserved_tokens=waiting.reserved_tokens,
            )
            for waiting in view.waiting[: len(admitted)]
        )
        rows, max_steps = self._share_steps(view.running + newcomers)
        return Plan(admitted=admitted, rows=rows, max_steps=max_steps)

    def _admit(self, view: View) -> tuple[int, ...]:
        """The longest beginning of the queue that fits."""
        free = view.free_blocks - sum(_blocks_still_owed(one, view.block_tokens) for one in view.running)
        places = self.limits.max_running - len(view.running)
        admitted: list[int] = []
        for waiting in view.waiting:
            needed = blocks_for(waiting.reserved_tokens, view.block_tokens)
            if needed > free or len(admitted) >= places:
                break
            free -= needed
            admitted.append(waiting.request_id)
        return tuple(admitted)

    def _share_steps(self, running: tuple[Running, ...]) -> tuple[tuple[PlannedRow, ...], int]:
        """Everybody's part in a step, and the steps until the parts should change."""
        budget = self.limits.prefill_tokens
        rows: list[PlannedRow] = []
        steps_of_prompts: list[int] = []
        throttled = False
        for one in running:
            remaining = one.total_tokens - one.computed_tokens
            part = min(budget, remaining)
            if remaining <= 1:
                # One token a step. More are allowed, since an engine may have to compute a sequence anew.
                part = self.limits.prefill_tokens
            elif part:
                budget -= part
                steps_of_prompts.append(_ceiling(remaining, part))
            throttled = throttled or part < remaining
            if part:
                rows.append(PlannedRow(request_id=one.request_id, prefill_tokens=part))
        max_steps = self.limits.horizon_steps if rows else 0
        return tuple(rows), min([max_steps, *steps_of_prompts]) if throttled else max_steps


def _blocks_still_owed(one: Running, block_tokens: int) -> int:
    """Blocks reserved for a request that it has not taken yet."""
    return blocks_for(one.reserved_tokens, block_tokens) - blocks_for(one.computed_tokens, block_tokens)
