"""What part each request has in the next steps: shared by tenants, then by requests.

By itself a tenant would have a row for each of its answers and a portion of its prompts in a step, and a pace
that follows from the time of such a step. Beside others, every tenant keeps the same share of its own pace:
the one whose step would be the shortest has all of its rows, the others as many as they would have computed
in that time. So of n tenants each keeps at least an n-th of its pace (without guesses of next tokens: beside
prompts there are none), whatever the others ask for, and what it is cheaper to compute together is
everybody's gain. Whoever has more answers than rows lets them take turns.

Prompts beside answers have what is left of `Limits.step_seconds`, by the times that were measured of this
model on this machine: whoever makes tokens waits for a step, not for a prompt. Until something is measured a
plan is a small step, which measures it; and a plan with prompts is made anew about as often as such a step
ends, since steps become dearer with every token that a prompt is deep.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ruvllm.config import Limits
from ruvllm.runtime.plans import PlannedRow, Running, Shares
from ruvllm.runtime.step_times import StepTimes

__all__ = ["share_step"]

# Where there are prompts, a step has at least so many rows: fewer read all weights for next to nothing.
MIN_ROWS = 4
# Where answers alone take longer than a step should, prompts may add such a part to them: nobody starves.
PROMPT_SHARE = 0.25
# Before anything is measured: short on any model, and enough to know the next step by.
UNMEASURED_TOKENS = 16
# One request alone holds nobody up but those who may come: its steps may be so many times as long.
ALONE = 4
# Answers that take turns have the engine for so long.
TURN_SECONDS = 0.1


@dataclass(slots=True)
class _Tenant:
    """What a tenant has in: answers, one row a step each, and prompts; who comes first stands first."""

    answers: list[Running] = field(default_factory=list)
    prompts: list[Running] = field(default_factory=list)

    @property
    def prompt_rows(self) -> int:
        return sum(one.remaining_tokens for one in self.prompts)


def share_step(running: Iterable[Running], limits: Limits, times: StepTimes | None) -> Shares:
    """Give everybody a part of each step; see the module."""
    tenants = _by_tenant(running)
    if not tenants:
        return Shares()
    split = _split(tenants, limits, times)
    # Whoever passes no times has none to come: plans are then counted in tokens.
    is_unmeasured = times is not None and not times
    parts = [
        _parts_of(tenant, *rows, limits.prefill_tokens) for tenant, rows in zip(tenants, split, strict=True)
    ]
    max_steps = 1 if is_unmeasured else limits.horizon_steps
    if any(part.is_short for part in parts):
        # Once a prompt is through, somebody else may have its rows.
        max_steps = min([max_steps, *(steps for part in parts for steps in part.prompt_steps)])
        if times:
            max_steps = min(max_steps, max(1, int(limits.step_seconds / times.seconds(sum(map(sum, split))))))
    if any(part.has_turns for part in parts):
        seconds = times.seconds(sum(map(sum, split))) if times else TURN_SECONDS
        max_steps = min(max_steps, max(1, int(TURN_SECONDS / seconds)))
    # In order, since blocks may be short: who comes first has them.
    rows = sorted((row for part in parts for row in part.rows), key=lambda row: row[0])
    return Shares(rows=tuple(row for _, row in rows), max_steps=max_steps)


def _by_tenant(running: Iterable[Running]) -> list[_Tenant]:
    tenants: dict[str, _Tenant] = {}
    for one in sorted(running, key=lambda one: (-one.priority, one.request_id)):
        tenant = tenants.setdefault(one.tenant, _Tenant())
        (tenant.answers if one.remaining_tokens <= 1 else tenant.prompts).append(one)
    return list(tenants.values())


def _split(tenants: Sequence[_Tenant], limits: Limits, times: StepTimes | None) -> list[tuple[int, int]]:
    """How many answers of each tenant go on, and how many rows its prompts have."""
    most = limits.prefill_tokens if times or times is None else min(UNMEASURED_TOKENS, limits.prefill_tokens)
    split = [(len(tenant.answers), tenant.prompt_rows) for tenant in tenants]
    # Where answers of one tenant are all there is, they all go on, and nobody asks for the time.
    if times and (len(tenants) > 1 or tenants[0].prompts):
        seconds = limits.step_seconds * (ALONE if sum(map(_requests, tenants)) == 1 else 1)
        within_time = times.rows_within(seconds)
        alone = [_by_itself(tenant, limits, times, within_time) for tenant in tenants]
        by_itself = [times.seconds(sum(rows)) for rows in alone]
        shortest = min(by_itself)
        split = [_in_time(*rows, shortest / time) for rows, time in zip(alone, by_itself, strict=True)]
        # A row is dearer in a step of few: what a tenant is cut down to must not take more than its part.
        room = times.rows_within(len(tenants) * shortest)
        cut = [place for place, time in enumerate(by_itself) if time > shortest]
        room -= sum(sum(rows) for place, rows in enumerate(split) if place not in cut)
        rows_of_cut = _shared([sum(split[place]) for place in cut], max(room, len(cut)))
        for place, rows in zip(cut, rows_of_cut, strict=True):
            split[place] = _in_time(*split[place], rows / sum(split[place]))
        most = min(most, _prompt_tokens(split, times, within_time))
    prompts = _shared([prompt_rows for _, prompt_rows in split], most)
    return [(answers, rows) for (answers, _), rows in zip(split, prompts, strict=True)]


def _requests(tenant: _Tenant) -> int:
    return len(tenant.answers) + len(tenant.prompts)


def _by_itself(tenant: _Tenant, limits: Limits, times: StepTimes, within_time: int) -> tuple[int, int]:
    """Answers and prompt rows of a step that a tenant would have for itself."""
    answers = len(tenant.answers)
    if not tenant.prompts:
        return answers, 0
    portion = min(_prompt_tokens([(answers, 0)], times, within_time), limits.prefill_tokens)
    return answers, min(portion, tenant.prompt_rows)


def _prompt_tokens(split: Sequence[tuple[int, int]], times: StepTimes, within_time: int) -> int:
    """The most prompt tokens beside the answers of a step, which should have `within_time` rows at the most.

    Where answers by themselves take longer than that, prompts add a part to it; and where tenants have
    prompts alone, as much for each of them as the answers take: a share is not less for being one of prompts.
    """
    answers = sum(answers for answers, _ in split)
    if answers == 0:
        return max(within_time, MIN_ROWS)
    with_prompts_alone = sum(1 for answers, prompt_rows in split if not answers and prompt_rows)
    longer = times.seconds(answers) * (1 + max(PROMPT_SHARE, with_prompts_alone))
    return max(within_time, times.rows_within(longer), MIN_ROWS, answers + 1) - answers


def _in_time(answers: int, prompt_rows: int, share: float) -> tuple[int, int]:
    """The same in a share of its time: answers first, but half of it for prompts."""
    rows = max(1, round((answers + prompt_rows) * share))
    prompt_part = min(prompt_rows, max(rows - answers, rows // 2))
    return rows - prompt_part, prompt_part


def _shared(wanted: Sequence[int], most: int) -> list[int]:
    """Parts by want: what each wants, or as much as every other one; one at least, if there are so many."""
    shares = [0] * len(wanted)
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    for place, index in enumerate(order):
        shares[index] = min(wanted[index], max(most // (len(order) - place), min(most, 1)))
        most -= shares[index]
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
