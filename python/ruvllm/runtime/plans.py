"""What the scheduler is told and what it says: plain values, with no clock, engine or state."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ruvllm.runtime.kv_shape import KvShape

__all__ = [
    "Costs",
    "Decision",
    "PlannedRow",
    "Preemption",
    "Running",
    "Shares",
    "View",
    "Waiting",
    "levels",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A request that is not in yet.

    `priority` orders the requests of a tenant, `rank` stands before everything else between tenants; `since`
    counts up: whoever has the lower number waits for longer.
    """

    request_id: int
    prompt_tokens: int
    reserved_tokens: int
    tenant: str = ""
    priority: int = 0
    rank: int = 0
    since: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A request that is in: tokens known, in the cache and at its longest, and blocks that it holds.

    `entered_tokens` were known of it as it last came in, `planned_at` is the number of the plan that last had
    a part for it; `since` says, as for those who wait, when it was set aside.
    """

    request_id: int
    total_tokens: int
    computed_tokens: int
    reserved_tokens: int
    blocks: int = 0
    tenant: str = ""
    priority: int = 0
    rank: int = 0
    paused: bool = False
    since: int = 0
    entered_tokens: int = 0
    planned_at: int = 0

    @property
    def remaining_tokens(self) -> int:
        """Tokens that are known and not computed: one where it makes tokens, more in its prompt."""
        return self.total_tokens - self.computed_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What setting a request aside costs, measured or assumed, and the room for swapping."""

    recompute_token_seconds: float = 1e-3
    swap_block_seconds: float = 1e-3
    swap_free_blocks: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """All that a decision depends on; who runs in order of arrival, who waits in order within each tenant.

    `free_blocks` are those that no request holds, cached prefixes included: they give way. `quota_blocks`
    says what tenants, and all below them, may hold; `last_turns` when each came in last, 0 or nothing where
    it never did.
    """

    waiting: tuple[Waiting, ...] = ()
    running: tuple[Running, ...] = ()
    free_blocks: int
    total_blocks: int
    shape: KvShape
    costs: Costs = field(default_factory=Costs)
    quota_blocks: Mapping[str, int] = field(default_factory=dict)
    last_turns: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preemption:
    """Someone who is set aside, and whether the blocks' contents are kept."""

    request_id: int
    swap: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Who comes in, who is taken up again, who is set aside, and who never fits (and what would of it)."""

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


def levels(tenant: str) -> Iterable[str]:
    """A tenant's name and those above it: `a/b/c`, `a/b`, `a`."""
    while tenant:
        yield tenant
        tenant = tenant.rpartition("/")[0]
