"""What part each request has in the next steps: what a step may hold is shared by tenants, then by requests.

A tenant keeps at least the share of its own pace that falls to it: with n tenants at work a step takes no
longer than n steps of the one with the fewest answers under way would take alone, and its rows go round until
each tenant has what it wants or all have the same. So a tenant with one answer is at least 1/n as fast as by
itself, whatever the others do. Whoever has more answers than its share of rows lets them take turns.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ruvllm.runtime.plans import Limits, PlannedRow, Running, Shares
from ruvllm.runtime.step_times import StepTimes

__all__ = ["share_step"]

# Prompts get at least so many tokens a step, whatever the pace says: fewer would be all overhead.
MIN_PROMPT_TOKENS = 16
# One request alone holds nobody up but those who may come: its steps may be so many times as long.
ALONE = 4
# Nobody minds steps of this length, however short a step alone would be.
SHORT_STEP_SECONDS = 0.005
# Answers that take turns have the engine for so long.
TURN_SECONDS = 0.1


@dataclass(slots=True)
class _Tenant:
    """What a tenant has in: answers, one row a step each, and prompts; who comes first stands first."""

    answers: list[Running] = field(default_factory=list)
    prompts: list[Running] = field(default_factory=list)

    @property
    def rank(self) -> int:
        return max(one.rank for one in (*self.answers, *self.prompts))

    @property
    def prompt_rows(self) -> int:
        return sum(one.remaining_tokens for one in self.prompts)

    @property
    def wanted_rows(self) -> int:
        return len(self.answers) + self.prompt_rows


def share_step(running: Iterable[Running], limits: Limits, times: StepTimes | None) -> Shares:
    """Give everybody a part of each step; see the module."""
    tenants = _by_tenant(running)
    if not tenants:
        return Shares()
    seconds = _step_seconds(tenants, limits, times) if times else math.inf
    split = _split(tenants, limits, times.rows_within(seconds) if times else None)
    parts = [
        _parts_of(tenant, *rows, limits.prefill_tokens) for tenant, rows in zip(tenants, split, strict=True)
    ]
    max_steps = limits.horizon_steps
    if any(part.is_short for part in parts):
        # Once a prompt is through, somebody else may have its rows.
        max_steps = min([max_steps, *(steps for part in parts for steps in part.prompt_steps)])
    if any(part.has_turns for part in parts):
        max_steps = min(max_steps, max(1, int(TURN_SECONDS / seconds)))
    # In order, since blocks may be short: who comes first has them.
    rows = sorted((row for part in parts for row in part.rows), key=lambda row: row[0])
    return Shares(rows=tuple(row for _, row in rows), max_steps=max_steps)


def _by_tenant(running: Iterable[Running]) -> list[_Tenant]:
    tenants: dict[str, _Tenant] = {}
    for one in sorted(running, key=lambda one: (-one.priority, one.request_id)):
        tenant = tenants.setdefault(one.tenant, _Tenant())
        (tenant.answers if one.remaining_tokens <= 1 else tenant.prompts).append(one)
    return sorted(tenants.values(), key=lambda tenant: -tenant.rank)


def _step_seconds(tenants: Sequence[_Tenant], limits: Limits, times: StepTimes) -> float:
    """How long a step may take."""
    loads = [len(tenant.answers) for tenant in tenants if tenant.answers]
    if len(tenants) > 1 and loads:
        return max(len(tenants) * times.seconds(min(loads)), SHORT_STEP_SECONDS)
    is_alone = len(tenants) == 1 and len(tenants[0].answers) + len(tenants[0].prompts) == 1
    return limits.step_seconds * ALONE if is_alone else limits.step_seconds


def _split(tenants: Sequence[_Tenant], limits: Limits, within_time: int | None) -> list[tuple[int, int]]:
    """How many answers of each tenant go on, and how many rows its prompts have."""
    num_answers = sum(len(tenant.answers) for tenant in tenants)
    if within_time is None or len(tenants) == 1:
        # Nothing is known of time, or nobody else is held up: all answers go on, and prompts share the rest.
        most = limits.prefill_tokens
        if within_time is not None:
            most = min(most, max(within_time - num_answers, MIN_PROMPT_TOKENS))
        prompts = _shared([(tenant.rank, tenant.prompt_rows) for tenant in tenants], most)
        return [(len(tenant.answers), rows) for tenant, rows in zip(tenants, prompts, strict=True)]
    most = max(min(within_time, num_answers + limits.prefill_tokens), len(tenants))
    shares = _shared([(tenant.rank, tenant.wanted_rows) for tenant in tenants], most)
    split = []
    for tenant, share in zip(tenants, shares, strict=True):
        # Its answers first, but half of it for its prompts.
        prompt_rows = min(tenant.prompt_rows, max(share - len(tenant.answers), share // 2))
        split.append((share - prompt_rows, prompt_rows))
    return split


def _shared(wanted: Sequence[tuple[int, int]], most: int) -> list[int]:
    """Parts by rank and want: what each wants, or as much as every other one; higher ranks before lower ones.

    Whoever wants something gets one at least, if there are so many: a lower rank goes slowly, but it goes.
    """
    shares = [0] * len(wanted)
    order = sorted(range(len(wanted)), key=lambda index: (-wanted[index][0], wanted[index][1]))
    for index in order:
        shares[index] = min(wanted[index][1], 1, most)
        most -= shares[index]
    for rank in sorted({rank for rank, _ in wanted}, reverse=True):
        of_rank = [index for index in order if wanted[index][0] == rank]
        for place, index in enumerate(of_rank):
            more = min(wanted[index][1] - shares[index], most // (len(of_rank) - place))
            shares[index] += more
            most -= more
    return shares


@dataclass(slots=True, kw_only=True)
class _Parts:
    """The parts of a tenant's requests, each with its place among all of the step; what they lack.

    `is_short` says that prompts would have more, `has_turns` that its answers cannot all go on at once.
    """

    rows: list[tuple[tuple[int, int, int], PlannedRow]]
    prompt_steps: list[int]
    is_short: bool
    has_turns: bool


def _parts_of(tenant: _Tenant, num_answers: int, prompt_rows: int, prefill_tokens: int) -> _Parts:
    """Who of a tenant has which part."""
    answers = tenant.answers
    has_turns = num_answers < len(answers)
    if has_turns:
        # Those come first whose turn is longest ago.
        order = sorted(answers, key=lambda one: (-one.priority, one.planned_at, one.request_id))
        answers = order[:num_answers]
    # One token a step. More are allowed, since an engine may have to compute a sequence anew.
    rows = [_row(one, prefill_tokens) for one in answers]
    is_short = prompt_rows < tenant.prompt_rows
    prompt_steps = []
    for one in tenant.prompts:
        part = min(prompt_rows, one.remaining_tokens)
        prompt_rows -= part
        if part:
            rows.append(_row(one, part))
            prompt_steps.append(-(-one.remaining_tokens // part))
    return _Parts(rows=rows, prompt_steps=prompt_steps, is_short=is_short, has_turns=has_turns)


def _row(one: Running, tokens: int) -> tuple[tuple[int, int, int], PlannedRow]:
    place = (-one.rank, -one.priority, one.request_id)
    return place, PlannedRow(request_id=one.request_id, prefill_tokens=tokens)
