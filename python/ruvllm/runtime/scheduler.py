"""Who is in, who gives way, and what part of their prompts a step may take. Pure: no clock, engine or state.

In turn come the higher priority, then the tenant that has fewer requests in, then the older request. One gets
in when there are blocks for its prompt and for some growth of all who are in; so more get in than could stay
to their longest, and when blocks run short the last in that order are set aside, their blocks swapped out or
computed anew, whichever costs less. The first in order is never set aside, so there is always progress.
Whoever makes tokens is in every step; prompts share what a step may take, tenant by tenant.
"""

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ruvllm._checks import check_integer

__all__ = [
    "Costs",
    "Decision",
    "Limits",
    "PlannedRow",
    "Preemption",
    "Running",
    "Scheduler",
    "Shares",
    "View",
    "Waiting",
    "blocks_for",
    "levels",
]

MIN_SHARE_TOKENS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of what is taken in and of what a plan may ask for.

    Attributes:
        prefill_tokens: Prompt tokens in one step, all requests together.
        max_running: Requests that are in at once.
        horizon_steps: Steps before the next plan where nothing else ends it; a new request does.
        growth_tokens: For so many more tokens of each request that is in blocks are kept free.
        max_waiting: Requests that wait; one more is refused.
        max_waiting_tokens: Prompt tokens of all that wait; more are refused.
    """

    prefill_tokens: int = 512
    max_running: int = 64
    horizon_steps: int = 64
    growth_tokens: int = 64
    max_waiting: int = 4096
    max_waiting_tokens: int = 4_000_000

    def __post_init__(self) -> None:
        for name in ("prefill_tokens", "max_running", "horizon_steps", "max_waiting", "max_waiting_tokens"):
            check_integer(name, getattr(self, name), 1)
        check_integer("growth_tokens", self.growth_tokens, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A request that is not in yet."""

    request_id: int
    prompt_tokens: int
    reserved_tokens: int
    tenant: str = ""
    priority: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A request that is in: tokens known, in the cache and at its longest, and blocks that it holds."""

    request_id: int
    total_tokens: int
    computed_tokens: int
    reserved_tokens: int
    blocks: int = 0
    tenant: str = ""
    priority: int = 0
    paused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What setting a request aside costs, measured or assumed, and the room for swapping."""

    recompute_token_seconds: float = 1e-3
    swap_block_seconds: float = 1e-3
    swap_free_blocks: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """All that a plan depends on; both lists in order of arrival.

    `free_blocks` are those that no request holds, cached prefixes included: they give way. `quota_blocks`
    says what tenants, and all below them, may hold.
    """

    waiting: tuple[Waiting, ...] = ()
    running: tuple[Running, ...] = ()
    free_blocks: int
    total_blocks: int
    block_tokens: int
    costs: Costs = field(default_factory=Costs)
    quota_blocks: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preemption:
    """Someone who is set aside, and whether the blocks' contents are kept."""

    request_id: int
    swap: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Who comes in, who is taken up again, who is set aside, and who never fits (and the blocks it has)."""

    admitted: tuple[int, ...] = ()
    resumed: tuple[int, ...] = ()
    preempted: tuple[Preemption, ...] = ()
    refused: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRow:
    """A request's part in each step: so many tokens that are not computed yet, at the most."""

    request_id: int
    prefill_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """Everybody's part, and for how many steps that holds."""

    rows: tuple[PlannedRow, ...] = ()
    max_steps: int = 0


def blocks_for(num_tokens: int, block_tokens: int) -> int:
    """Blocks that hold so many tokens."""
    return -(-num_tokens // block_tokens)


def levels(tenant: str) -> Iterable[str]:
    """A tenant's name and those above it: `a/b/c`, `a/b`, `a`."""
    while tenant:
        yield tenant
        tenant = tenant.rpartition("/")[0]


@dataclass(frozen=True, slots=True)
class Scheduler:
    """The policy.

    >>> view = View(waiting=(Waiting(request_id=1, prompt_tokens=5, reserved_tokens=9),), free_blocks=4,
    ...             total_blocks=4, block_tokens=4)
    >>> Scheduler().decide(view).admitted
    (1,)
    """

    limits: Limits = field(default_factory=Limits)

    def decide(self, view: View) -> Decision:
        """Say who is in from now on."""
        return _Deciding(view, self.limits).decide()

    def share(self, running: Iterable[Running]) -> Shares:
        """Give everybody who is in a part of each step, and say for how many steps that holds."""
        active = sorted(running, key=lambda one: -one.priority)
        prompts = [one for one in active if one.total_tokens - one.computed_tokens > 1]
        parts = self._prompt_parts(prompts)
        rows: list[PlannedRow] = []
        steps_of_prompts: list[int] = []
        throttled = False
        for one in active:
            remaining = one.total_tokens - one.computed_tokens
            part = parts.get(one.request_id, 0)
            if remaining <= 1:
                # One token a step. More are allowed, since an engine may have to compute a sequence anew.
                part = self.limits.prefill_tokens
            elif part:
                steps_of_prompts.append(-(-remaining // part))
            throttled = throttled or part < remaining
            if part:
                rows.append(PlannedRow(request_id=one.request_id, prefill_tokens=part))
        max_steps = self.limits.horizon_steps if rows else 0
        if throttled:
            max_steps = min([max_steps, *steps_of_prompts])
        return Shares(rows=tuple(rows), max_steps=max_steps)

    def _prompt_parts(self, prompts: list[Running]) -> dict[int, int]:
        """Prompt tokens a step: first an equal share for each tenant, then the rest in order."""
        parts: Counter[int] = Counter()
        if not prompts:
            return parts
        budget = self.limits.prefill_tokens
        share = max(budget // len({one.tenant for one in prompts}), MIN_SHARE_TOKENS)
        left_of: dict[str, int] = {}
        for one in prompts:
            left = min(left_of.setdefault(one.tenant, share), budget)
            part = min(left, one.total_tokens - one.computed_tokens)
            parts[one.request_id] += part
            left_of[one.tenant] -= part
            budget -= part
        for one in prompts:
            part = min(budget, one.total_tokens - one.computed_tokens - parts[one.request_id])
            parts[one.request_id] += part
            budget -= part
        return parts


class _Deciding:
    """One decision in the making."""

    def __init__(self, view: View, limits: Limits) -> None:
        self._view = view
        self._limits = limits
        self._free = view.free_blocks
        # In order: who stands last is set aside first.
        self._active = sorted((one for one in view.running if not one.paused), key=lambda one: -one.priority)
        self._growth = sum(self._growth_of(one) for one in self._active)
        self._load = Counter(one.tenant for one in self._active)
        self._quota_used: Counter[str] = Counter()
        for one in self._active:
            self._charge(one.tenant, self._longest(one))
        self._swap_free = view.costs.swap_free_blocks
        self._admitted: list[int] = []
        self._resumed: list[int] = []
        self._preempted: list[Preemption] = []
        self._refused: list[tuple[int, int]] = []

    def decide(self) -> Decision:
        self._relieve()
        queues = self._queues()
        while queues and self._take_next(queues):
            pass
        return Decision(
            admitted=tuple(self._admitted),
            resumed=tuple(self._resumed),
            preempted=tuple(self._preempted),
            refused=tuple(self._refused),
        )

    # -- giving way

    def _relieve(self) -> None:
        """Set the last ones aside while those who are in need more blocks for a step than there are."""
        while len(self._active) > 1 and sum(map(self._needed_now, self._active)) > self._free:
            self._preempt(self._active[-1])

    def _preempt(self, one: Running) -> None:
        costs = self._view.costs
        fits = one.blocks <= self._swap_free
        swap_seconds = 2 * one.blocks * costs.swap_block_seconds
        swap = fits and swap_seconds < one.computed_tokens * costs.recompute_token_seconds
        self._preempted.append(Preemption(request_id=one.request_id, swap=swap))
        if swap:
            self._swap_free -= one.blocks
        self._active.remove(one)
        self._free += one.blocks
        self._growth -= self._growth_of(one)
        self._load[one.tenant] -= 1
        self._charge(one.tenant, -self._longest(one))

    def _needed_now(self, one: Running) -> int:
        end = min(one.total_tokens, one.computed_tokens + self._limits.prefill_tokens)
        return max(0, self._blocks(end) - one.blocks)

    # -- coming in

    def _queues(self) -> dict[tuple[int, str], deque[Waiting | Running]]:
        """Who wants in, by priority and tenant; those set aside before those who were never in."""
        queues: dict[tuple[int, str], deque[Waiting | Running]] = {}
        just_preempted = {one.request_id for one in self._preempted}
        paused = [one for one in self._view.running if one.paused and one.request_id not in just_preempted]
        candidates: list[Waiting | Running] = [*paused, *self._view.waiting]
        for candidate in candidates:
            queues.setdefault((-candidate.priority, candidate.tenant), deque()).append(candidate)
        return queues

    def _take_next(self, queues: dict[tuple[int, str], deque[Waiting | Running]]) -> bool:
        """Let the next one in; False where nobody else may."""
        key = min(queues, key=lambda key: (key[0], self._load[key[1]], queues[key][0].request_id))
        candidate = queues[key][0]
        longest = self._longest(candidate)
        limit = self._quota_limit(candidate.tenant)
        if longest > min(self._view.total_blocks, limit):
            self._refused.append((candidate.request_id, min(self._view.total_blocks, limit)))
        elif self._exceeds_quota(candidate.tenant, longest):
            # This tenant waits for itself; the others go on.
            del queues[key]
            return True
        elif self._make_room(candidate):
            self._let_in(candidate)
        else:
            return False
        queues[key].popleft()
        if not queues[key]:
            del queues[key]
        return True

    def _make_room(self, candidate: Waiting | Running) -> bool:
        """Whether there is room, if need be that of others who count less."""
        while not self._fits(candidate):
            if not self._active or self._active[-1].priority >= candidate.priority:
                return False
            self._preempt(self._active[-1])
        return True

    def _fits(self, candidate: Waiting | Running) -> bool:
        if len(self._active) + len(self._admitted) + len(self._resumed) >= self._limits.max_running:
            return False
        return self._wanted(candidate) + self._growth <= self._free

    def _let_in(self, candidate: Waiting | Running) -> None:
        (self._admitted if isinstance(candidate, Waiting) else self._resumed).append(candidate.request_id)
        self._free -= self._wanted(candidate)
        self._load[candidate.tenant] += 1
        self._charge(candidate.tenant, self._longest(candidate))

    # -- blocks

    def _wanted(self, candidate: Waiting | Running) -> int:
        """Blocks for what is known of it and some growth."""
        known = candidate.prompt_tokens if isinstance(candidate, Waiting) else candidate.total_tokens
        return self._blocks(min(candidate.reserved_tokens, known + self._limits.growth_tokens))

    def _growth_of(self, one: Running) -> int:
        return max(0, self._wanted(one) - one.blocks)

    def _longest(self, one: Waiting | Running) -> int:
        return self._blocks(one.reserved_tokens)

    def _blocks(self, num_tokens: int) -> int:
        return blocks_for(num_tokens, self._view.block_tokens)

    def _quota_limit(self, tenant: str) -> int:
        quotas = self._view.quota_blocks
        return min(
            (quotas[name] for name in levels(tenant) if name in quotas), default=self._view.total_blocks
        )

    def _exceeds_quota(self, tenant: str, blocks: int) -> bool:
        quotas = self._view.quota_blocks
        return any(
            self._quota_used[name] + blocks > quotas[name] for name in levels(tenant) if name in quotas
        )

    def _charge(self, tenant: str, blocks: int) -> None:
        for name in levels(tenant):
            self._quota_used[name] += blocks
