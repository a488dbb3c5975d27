"""Who is in from now on: slots and blocks are shared by tenants, then by requests.

In turn comes the tenant with the higher rank, then the one that has less in, then the one that waits for
longer, counted from its last turn; of a tenant the higher priority, then those who were set
aside, then the older request. One gets in when there are blocks for its prompt and for some growth of all who
are in; so more get in than could stay to their longest. Somebody is set aside, the blocks swapped out or
computed anew, whichever costs less,

- where those who are in are short of blocks: the newest of the tenant that holds the most;
- for a higher rank: the newest of the lowest rank; for a higher priority one of the same tenant, likewise;
- for a tenant that has less: the newest of the one that holds the most, as long as that one still holds as
  much as the other will; and for a tenant that has nothing in even its only one, once it has made some.

Somebody always stays, so there is progress.
"""

from collections import Counter, deque
from collections.abc import Iterable

from ruvllm.config import Limits
from ruvllm.runtime.plans import Decision, Preemption, Running, View, Waiting, levels

__all__ = ["Admission"]

# Besides `growth_tokens`, one may make so small a part of what it came in with before it is set aside.
ENTERED_SHARE = 16

Candidate = Waiting | Running


class Admission:
    """One decision in the making."""

    def __init__(self, view: View, limits: Limits, *, preempts: bool = True) -> None:
        self._view = view
        self._limits = limits
        self._preempts = preempts
        self._inside = _Inside(view, limits)
        self._swap_free = view.costs.swap_free_blocks
        self._admitted: list[int] = []
        self._resumed: list[int] = []
        self._preempted: list[Preemption] = []
        self._refused: list[tuple[int, int]] = []

    def decide(self) -> Decision:
        """Say who is in."""
        if self._preempts:
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
        """Set some aside while those who are in need more blocks for a step than there are."""
        inside = self._inside
        while len(inside.active) > 1 and sum(map(self._needed_now, inside.active)) > inside.free:
            last = inside.newest_of_largest(inside.of_lowest_rank(), by_blocks=True)
            assert last is not None  # noqa: S101 - somebody is in
            self._preempt(last)

    def _needed_now(self, one: Running) -> int:
        end = min(one.total_tokens, one.computed_tokens + self._limits.prefill_tokens)
        return max(0, self._view.shape.blocks_at(one.computed_tokens, end) - one.blocks)

    def _preempt(self, one: Running) -> None:
        costs = self._view.costs
        swap_seconds = 2 * one.blocks * costs.swap_block_seconds
        fits = one.blocks <= self._swap_free
        swap = fits and swap_seconds < one.computed_tokens * costs.recompute_token_seconds
        self._preempted.append(Preemption(request_id=one.request_id, swap=swap))
        if swap:
            self._swap_free -= one.blocks
        self._inside.leave(one)

    # -- coming in

    def _queues(self) -> dict[str, deque[Candidate]]:
        """Who wants in, by tenant, each in its order."""
        just_preempted = {one.request_id for one in self._preempted}
        paused = [one for one in self._view.running if one.paused and one.request_id not in just_preempted]
        queues: dict[str, deque[Candidate]] = {}
        candidates: list[Candidate] = [*paused, *self._view.waiting]
        for candidate in sorted(candidates, key=lambda one: -one.priority):
            queues.setdefault(candidate.tenant, deque()).append(candidate)
        return queues

    def _take_next(self, queues: dict[str, deque[Candidate]]) -> bool:
        """Let the next one in; False where nobody else may."""
        inside = self._inside
        tenant = min(queues, key=lambda name: self._order(name, queues[name][0]))
        candidate = queues[tenant][0]
        longest = inside.longest(candidate)
        limit = min(self._view.total_blocks, inside.quota_limit(tenant))
        if longest > limit:
            self._refused.append((candidate.request_id, inside.tokens_in(limit, candidate)))
        elif inside.exceeds_quota(tenant, longest):
            # This tenant waits for itself; the others go on.
            del queues[tenant]
            return True
        elif self._make_room(candidate):
            self._let_in(candidate)
        else:
            # Nobody passes: what becomes free is for this one.
            return False
        queues[tenant].popleft()
        if not queues[tenant]:
            del queues[tenant]
        return True

    def _order(self, tenant: str, first: Candidate) -> tuple[int, int, int]:
        # Where there is one place, nobody has anything in as it becomes free. Who has had a turn waits from
        # there on, however long others of his were there; who is new, from when he came.
        waits_since = max(first.since, self._view.last_turns.get(tenant, 0))
        return -first.rank, self._inside.load[tenant], waits_since

    def _make_room(self, candidate: Candidate) -> bool:
        """Whether there is room, if need be that of others; nobody goes where that is not enough."""
        if self._inside.fits(candidate):
            return True
        if not self._preempts:
            return False
        trial = self._inside.copy()
        victims = []
        while not trial.fits(candidate):
            victim = trial.victim_for(candidate)
            if victim is None:
                return False
            trial.leave(victim)
            victims.append(victim)
        for victim in victims:
            self._preempt(victim)
        return True

    def _let_in(self, candidate: Candidate) -> None:
        (self._admitted if isinstance(candidate, Waiting) else self._resumed).append(candidate.request_id)
        self._inside.enter(candidate)


class _Inside:
    """Who is in and what they hold, as it changes within a decision."""

    def __init__(self, view: View, limits: Limits) -> None:
        self._view = view
        self._limits = limits
        self.active = [one for one in view.running if not one.paused]
        self.free = view.free_blocks
        self.load: Counter[str] = Counter(one.tenant for one in self.active)
        self._held: Counter[str] = Counter()
        self._quota_used: Counter[str] = Counter()
        self._growth = sum(map(self._growth_of, self.active))
        self._entered = 0  # in this decision
        for one in self.active:
            self._charge(one, one.blocks, 1)

    def copy(self) -> "_Inside":
        """The same, to try what would be."""
        other = object.__new__(_Inside)
        other._view, other._limits = self._view, self._limits
        other.active, other.free = list(self.active), self.free
        other.load, other._held = Counter(self.load), Counter(self._held)
        other._quota_used = Counter(self._quota_used)
        other._growth, other._entered = self._growth, self._entered
        return other

    def leave(self, one: Running) -> None:
        """Somebody is set aside."""
        self.active.remove(one)
        self.load[one.tenant] -= 1
        self.free += one.blocks
        self._growth -= self._growth_of(one)
        self._charge(one, one.blocks, -1)

    def enter(self, candidate: Candidate) -> None:
        """Somebody comes in."""
        wanted = self.wanted(candidate)
        self._entered += 1
        self.load[candidate.tenant] += 1
        self.free -= wanted
        self._charge(candidate, wanted, 1)

    def fits(self, candidate: Candidate) -> bool:
        """Whether there is a slot, and blocks."""
        return self._has_slot() and self.wanted(candidate) + self._growth <= self.free

    def victim_for(self, candidate: Candidate) -> Running | None:
        """Who gives way to a candidate that does not fit; see the module."""
        by_blocks = self._has_slot()
        lowest = self.of_lowest_rank()
        if lowest and lowest[0].rank < candidate.rank:
            return self.newest_of_largest(lowest, by_blocks=by_blocks)
        equals = [one for one in self.active if one.rank == candidate.rank]
        others = [one for one in equals if self._yields(one, candidate)]
        own = [one for one in equals if one.tenant == candidate.tenant and one.priority < candidate.priority]
        return self.newest_of_largest(others or own, by_blocks=by_blocks)

    def of_lowest_rank(self) -> list[Running]:
        """Those who count least."""
        lowest = min((one.rank for one in self.active), default=0)
        return [one for one in self.active if one.rank == lowest]

    def newest_of_largest(self, those: Iterable[Running], *, by_blocks: bool) -> Running | None:
        """Of some who may go: of the tenant that holds the most the lowest priority, then the newest."""
        holds = self._held if by_blocks else self.load
        return max(those, key=lambda one: (holds[one.tenant], -one.priority, one.request_id), default=None)

    def _yields(self, one: Running, candidate: Candidate) -> bool:
        """Whether tenants share more evenly if one of another tenant goes for a candidate's sake."""
        if one.tenant == candidate.tenant:
            return False
        if self._has_slot():
            left = self._held[one.tenant] - one.blocks
            will_have = self._held[candidate.tenant] + self.wanted(candidate)
        else:
            left, will_have = self.load[one.tenant] - 1, self.load[candidate.tenant] + 1
        return left >= will_have or (not self.load[candidate.tenant] and self._had_its_turn(one))

    def _had_its_turn(self, one: Running) -> bool:
        turn = self._limits.growth_tokens + one.entered_tokens // ENTERED_SHARE
        return one.total_tokens - one.entered_tokens >= max(1, turn)

    def _has_slot(self) -> bool:
        return len(self.active) + self._entered < self._limits.max_running

    # -- blocks

    def wanted(self, candidate: Candidate) -> int:
        """Blocks for what is known of it and some growth."""
        known = candidate.prompt_tokens if isinstance(candidate, Waiting) else candidate.total_tokens
        # What is computed one by one needs no room for a step of many.
        is_answer = isinstance(candidate, Running) and candidate.remaining_tokens <= 1
        step_tokens = 1 if is_answer else min(known, self._limits.prefill_tokens)
        wanted = min(candidate.reserved_tokens, known + self._limits.growth_tokens)
        return self._view.shape.most_blocks(wanted, step_tokens)

    def longest(self, one: Candidate) -> int:
        """Blocks that it may come to hold."""
        return self._view.shape.most_blocks(one.reserved_tokens, self._limits.prefill_tokens)

    def tokens_in(self, blocks: int, one: Candidate) -> int:
        """Tokens of one that so many blocks have room for."""
        return self._view.shape.tokens_in(blocks, self._limits.prefill_tokens, one.reserved_tokens)

    def quota_limit(self, tenant: str) -> int:
        """Blocks that one request of a tenant may come to hold."""
        quotas = self._view.quota_blocks
        named = (quotas[name] for name in levels(tenant) if name in quotas)
        return min(named, default=self._view.total_blocks)

    def exceeds_quota(self, tenant: str, blocks: int) -> bool:
        """Whether so many more are too many for a tenant or one above it."""
        quotas = self._view.quota_blocks
        return any(
            self._quota_used[name] + blocks > quotas[name] for name in levels(tenant) if name in quotas
        )

    def _growth_of(self, one: Running) -> int:
        return max(0, self.wanted(one) - one.blocks)

    def _charge(self, one: Candidate, blocks: int, sign: int) -> None:
        self._held[one.tenant] += sign * blocks
        for name in levels(one.tenant):
            self._quota_used[name] += sign * self.longest(one)
