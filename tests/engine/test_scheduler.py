"""The scheduling policy over arrival traces, with no engine and no clock."""

from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ruvllm.config import Limits
from ruvllm.errors import ConfigError
from ruvllm.runtime.kv_shape import KvShape
from ruvllm.runtime.plans import (
    Costs,
    Decision,
    PlannedRow,
    Preemption,
    Running,
    Shares,
    View,
    Waiting,
    levels,
)
from ruvllm.runtime.scheduler import Scheduler
from ruvllm.runtime.step_times import StepTimes

SHAPE = KvShape(16)


def waiting(request_id: int, prompt: int, reserved: int, *, tenant: str = "", priority: int = 0) -> Waiting:
    return Waiting(
        request_id=request_id,
        prompt_tokens=prompt,
        reserved_tokens=reserved,
        tenant=tenant,
        priority=priority,
        rank=priority,
        since=request_id,
    )


def running(
    request_id: int,
    total: int,
    computed: int,
    reserved: int,
    *,
    tenant: str = "",
    priority: int = 0,
    paused: bool = False,
) -> Running:
    return Running(
        request_id=request_id,
        total_tokens=total,
        computed_tokens=computed,
        reserved_tokens=reserved,
        blocks=0 if paused else SHAPE.rows(computed),
        tenant=tenant,
        priority=priority,
        rank=priority,
        paused=paused,
        since=request_id,
        entered_tokens=total,
    )


def view(
    *,
    waiting: tuple[Waiting, ...] = (),
    running: tuple[Running, ...] = (),
    total: int = 100,
    costs: Costs | None = None,
    quotas: dict[str, int] | None = None,
    turns: dict[str, int] | None = None,
) -> View:
    held = sum(one.blocks for one in running)
    return View(
        waiting=waiting,
        running=running,
        free_blocks=total - held,
        total_blocks=total,
        shape=SHAPE,
        costs=costs or Costs(),
        quota_blocks=quotas or {},
        last_turns=turns or {},
    )


def decide(view: View, **limits: int) -> Decision:
    return Scheduler(Limits(**limits)).decide(view)


def share(*running: Running, **limits: int) -> Shares:
    return Scheduler(Limits(**limits)).share(running)


def row(request_id: int, prefill: int) -> PlannedRow:
    return PlannedRow(request_id=request_id, prefill_tokens=prefill)


# -- who is in


def test_nothing_to_do() -> None:
    assert decide(view()) == Decision()
    assert share() == Shares()


def test_more_get_in_than_could_stay_to_their_longest() -> None:
    queue = tuple(waiting(index, 16, 1616) for index in range(5))
    # Each wants a block for its prompt and one for 16 tokens of growth; at its longest it would take 101.
    assert decide(view(waiting=queue, total=105), growth_tokens=16).admitted == (0, 1, 2, 3, 4)
    assert decide(view(waiting=queue, total=101), growth_tokens=1600).admitted == (0,)


def test_growth_is_kept_free_for_those_who_are_in() -> None:
    one = running(1, 16, 15, 400)
    newcomer = (waiting(2, 16, 32),)
    # 64 tokens more are four blocks, and the newcomer wants two.
    assert decide(view(running=(one,), waiting=newcomer, total=7)).admitted == (2,)
    assert decide(view(running=(one,), waiting=newcomer, total=6)).admitted == ()


def test_the_head_of_the_queue_is_not_passed() -> None:
    queue = (waiting(1, 100, 200), waiting(2, 1, 2))
    inside = (running(9, 160, 159, 160),)
    assert decide(view(running=inside, waiting=queue, total=15)).admitted == ()


def test_only_so_many_run() -> None:
    queue = tuple(waiting(index, 1, 2) for index in range(10))
    assert decide(view(running=(running(99, 5, 4, 10),), waiting=queue), max_running=4).admitted == (0, 1, 2)


def test_what_never_fits_is_refused_and_does_not_stop_the_others() -> None:
    queue = (waiting(1, 10, 161), waiting(2, 10, 160))
    assert decide(view(waiting=queue, total=10)) == Decision(refused=((1, 160),), admitted=(2,))


def test_the_higher_priority_comes_first_and_takes_the_place_of_lower_ones() -> None:
    queue = (waiting(1, 16, 32), waiting(2, 16, 32, priority=1))
    assert decide(view(waiting=queue)).admitted == (2, 1)
    inside = (running(3, 64, 63, 64), running(4, 64, 63, 64), running(5, 64, 63, 64, priority=1))
    urgent = (waiting(6, 64, 64, priority=1),)
    made = decide(view(running=inside, waiting=urgent, total=12))
    # The last one of the lower priority goes, and no more than needed.
    assert made == Decision(admitted=(6,), preempted=(Preemption(request_id=4, swap=False),))
    same = (waiting(6, 64, 64),)
    assert decide(view(running=inside, waiting=same, total=12)) == Decision()


def test_tenants_take_turns() -> None:
    queue = tuple(waiting(index, 16, 32, tenant="many") for index in range(8))
    queue += (waiting(10, 16, 32, tenant="few"), waiting(11, 16, 32, tenant="few"))
    assert decide(view(waiting=queue), max_running=4).admitted == (0, 10, 1, 11)
    inside = (running(20, 16, 15, 32, tenant="few"),)
    assert decide(view(waiting=queue, running=inside), max_running=3).admitted == (0, 1)
    # Where both have as much in, the one that waits for longer, counted from its last turn.
    strangers = (waiting(5, 16, 32, tenant="later"), waiting(3, 16, 32, tenant="earlier"))
    assert decide(view(waiting=strangers), max_running=1).admitted == (3,)
    turns = {"many": 17, "few": 15}
    assert decide(view(waiting=queue, turns=turns), max_running=1).admitted == (10,)
    assert decide(view(waiting=queue, turns=turns), max_running=3).admitted == (10, 0, 11)
    assert decide(view(waiting=queue, running=inside, turns=turns), max_running=2).admitted == (0,)
    # Newcomers come behind who waited before, or endless new names would hold him up.
    newcomer = (*queue[:8], waiting(20, 16, 32, tenant="new"))
    assert decide(view(waiting=newcomer, turns={"many": 17}), max_running=1).admitted == (0,)


def test_a_tenant_at_its_quota_waits_for_itself_alone() -> None:
    inside = (running(1, 16, 15, 64, tenant="a/x"),)
    queue = (waiting(2, 16, 48, tenant="a/y"), waiting(3, 16, 48, tenant="b"))
    assert decide(view(running=inside, waiting=queue, quotas={"a": 6})).admitted == (3,)
    assert decide(view(running=inside, waiting=queue, quotas={"a": 7})).admitted == (2, 3)
    assert decide(view(waiting=queue, quotas={"a": 2})).refused == ((2, 32),)
    assert list(levels("a/b/c")) == ["a/b/c", "a/b", "a"]


# -- who gives way


def test_the_last_one_gives_way_when_blocks_run_short() -> None:
    inside = tuple(running(index, 33, 32, 64) for index in (1, 2, 3))
    assert decide(view(running=inside, total=9)).preempted == ()
    made = decide(view(running=inside, total=7))
    assert made.preempted == (Preemption(request_id=3, swap=False),)
    # It is not taken up again at once.
    assert made.resumed == ()


def test_the_first_one_never_gives_way() -> None:
    inside = (running(1, 33, 32, 64), running(2, 33, 32, 64))
    assert decide(view(running=inside, total=4)).preempted == (Preemption(request_id=2, swap=False),)
    assert decide(view(running=inside[:1], total=2)).preempted == ()


def test_blocks_are_swapped_where_that_is_cheaper_and_there_is_room() -> None:
    # Two blocks go out and come in again, against 32 tokens of a millisecond each.
    inside = (running(1, 33, 32, 64), running(2, 33, 32, 64))
    for seconds, room, swap in (
        (1e-3, 2, True),
        (1e-3, 1, False),
        (1.0, 2, False),
        (7e-3, 2, True),
        (1e-2, 2, False),
    ):
        costs = Costs(recompute_token_seconds=1e-3, swap_block_seconds=seconds, swap_free_blocks=room)
        made = decide(view(running=inside, total=4, costs=costs))
        assert made.preempted == (Preemption(request_id=2, swap=swap),)


def test_room_for_swapping_is_spent_once() -> None:
    inside = tuple(running(index, 33, 32, 64) for index in range(1, 5))
    for room, swapped in ((2, [True, False]), (3, [True, False]), (4, [True, True])):
        costs = Costs(recompute_token_seconds=1e-3, swap_block_seconds=1e-6, swap_free_blocks=room)
        made = decide(view(running=inside, total=8, costs=costs))
        assert [one.request_id for one in made.preempted] == [4, 3]
        assert [one.swap for one in made.preempted] == swapped


@pytest.mark.parametrize(("blocks", "gives_way"), [(3, True), (4, False)])
def test_a_tenant_gives_way_as_long_as_it_still_holds_as_much(blocks: int, *, gives_way: bool) -> None:
    inside = tuple(running(index, 48, 48, 48, tenant="a") for index in (1, 2))
    queue = (waiting(3, 16 * blocks, 16 * blocks, tenant="b"),)
    made = decide(view(running=inside, waiting=queue, total=8))
    assert [one.request_id for one in made.preempted] == ([2] if gives_way else [])
    assert made.admitted == ((3,) if gives_way else ())


def test_a_higher_rank_counts_more_than_having_less_in() -> None:
    inside = (running(1, 33, 32, 64, tenant="a", priority=1),)
    queue = (waiting(2, 16, 32, tenant="b"), waiting(3, 16, 32, tenant="a", priority=1))
    assert decide(view(running=inside, waiting=queue), max_running=2).admitted == (3,)


def test_whoever_was_set_aside_comes_back_before_newcomers() -> None:
    inside = (running(1, 33, 32, 64), running(2, 40, 32, 64, paused=True))
    queue = (waiting(3, 16, 32),)
    made = decide(view(running=inside, waiting=queue, total=100))
    assert (made.resumed, made.admitted) == ((2,), (3,))
    made = decide(view(running=inside, waiting=queue, total=7))
    assert (made.resumed, made.admitted) == ((), ())


# -- what they get


def test_a_prompt_is_cut_into_portions() -> None:
    assert share(running(1, 1200, 0, 1300)) == Shares(rows=(row(1, 512),), max_steps=3)


def test_tokens_are_made_in_every_step_whatever_prompts_there_are() -> None:
    made = share(
        running(1, 1000, 0, 1100), running(2, 50, 49, 60), running(3, 30, 29, 40), prefill_tokens=100
    )
    assert [row.request_id for row in made.rows] == [1, 2, 3]
    assert made.max_steps == 10


def test_prompts_of_a_tenant_share_the_budget_oldest_first() -> None:
    # The first takes a step; then the parts change.
    made = share(running(1, 300, 0, 400), running(2, 300, 0, 400), running(3, 300, 0, 400))
    assert made == Shares(rows=(row(1, 300), row(2, 212)), max_steps=1)


def test_a_long_prompt_of_one_tenant_leaves_the_others_their_share() -> None:
    made = share(running(1, 5000, 0, 5100, tenant="a"), running(2, 100, 0, 200, tenant="b"))
    assert made.rows == (row(1, 412), row(2, 100))


def test_the_higher_priority_has_the_budget_first() -> None:
    made = share(running(1, 5000, 0, 5100), running(2, 500, 0, 600, priority=1))
    assert made.rows == (row(2, 500), row(1, 12))


def test_prompts_that_end_in_one_step_do_not_end_the_plan() -> None:
    assert share(running(1, 100, 0, 200), running(2, 9, 8, 20), horizon_steps=32).max_steps == 32


def test_answers_that_take_turns_have_the_engine_for_a_tenth_of_a_second() -> None:
    times = StepTimes()
    for rows, seconds in ((1, 0.010), (16, 0.025)):
        times.note(rows, seconds)
    many = [running(index, 9, 8, 200, tenant="many") for index in range(1, 17)]
    few = running(17, 9, 8, 200, tenant="few")
    made = Scheduler(Limits()).share([*many, few], times)
    assert len(made.rows) < 17
    seconds = times.seconds(len(made.rows))
    assert made.max_steps * seconds <= 0.1 < (made.max_steps + 1) * seconds


def test_the_horizon_of_tokens_alone() -> None:
    assert share(running(1, 9, 8, 20), horizon_steps=7).max_steps == 7


def test_a_sequence_that_must_be_computed_anew_is_a_prompt_again() -> None:
    assert share(running(1, 700, 0, 900)) == Shares(rows=(row(1, 512),), max_steps=2)


@pytest.mark.parametrize(
    "name", ["prefill_tokens", "max_running", "horizon_steps", "max_waiting", "max_waiting_tokens"]
)
def test_limits_are_checked(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} is 0"):
        Limits(**{name: 0})
    assert getattr(Limits(**{name: 1}), name) == 1


@pytest.mark.parametrize("seconds", [0, -1.0, 3601, float("nan")])
def test_a_step_has_a_time_that_can_pass(seconds: float) -> None:
    with pytest.raises(ConfigError, match=r"step_seconds is .+; it must be above 0 and at most 3600"):
        Limits(step_seconds=seconds)


# -- traces: a world that carries out plans, step by step


@dataclass
class Job:
    request_id: int
    arrival: int
    prompt: int
    answer: int
    tenant: str = ""
    priority: int = 0
    computed: int = 0
    made: int = 0
    blocks: int = 0
    paused: bool = False
    swapped: bool = False
    entered: int = 0
    since: int = 0
    admitted_at: int | None = None
    finished_at: int | None = None

    @property
    def total(self) -> int:
        return self.prompt + self.made

    @property
    def reserved(self) -> int:
        return self.prompt + self.answer


@dataclass
class World:
    jobs: list[Job]
    limits: Limits
    total_blocks: int
    shape: KvShape = field(default_factory=lambda: KvShape(4))
    step: int = 0
    inside: list[Job] = field(default_factory=list)
    preemptions: int = 0

    @property
    def free_blocks(self) -> int:
        return self.total_blocks - sum(job.blocks for job in self.inside)

    def queue(self) -> list[Job]:
        return [job for job in self.jobs if job.arrival <= self.step and job.admitted_at is None]

    def view(self) -> View:
        return View(
            waiting=tuple(
                waiting(job.request_id, job.prompt, job.reserved, tenant=job.tenant, priority=job.priority)
                for job in self.queue()
            ),
            running=self.running(),
            free_blocks=self.free_blocks,
            total_blocks=self.total_blocks,
            shape=self.shape,
            costs=Costs(swap_free_blocks=3),
        )

    def running(self) -> tuple[Running, ...]:
        return tuple(
            Running(
                request_id=job.request_id,
                total_tokens=job.total,
                computed_tokens=job.computed,
                reserved_tokens=job.reserved,
                blocks=job.blocks,
                tenant=job.tenant,
                priority=job.priority,
                rank=job.priority,
                paused=job.paused,
                since=job.since,
                entered_tokens=job.entered,
            )
            for job in self.inside
        )

    def run(self) -> None:
        scheduler = Scheduler(self.limits)
        while any(job.finished_at is None for job in self.jobs):
            assert self.step < 100_000, "somebody waits for ever"
            decision = scheduler.decide(self.view())
            self.apply(decision)
            active = [one for one in self.running() if not one.paused or one.request_id in decision.resumed]
            self.carry_out(scheduler.share(active))

    def apply(self, decision: Decision) -> None:
        assert not decision.refused
        jobs = {job.request_id: job for job in self.jobs}
        for preemption in decision.preempted:
            job = jobs[preemption.request_id]
            others = [one for one in self.inside if not one.paused and one is not job]
            others += [jobs[request_id] for request_id in (*decision.admitted, *decision.resumed)]
            assert others, "the last one was set aside"
            gone = {one.request_id for one in decision.preempted}
            stay = [one for one in self.inside if not one.paused and one.request_id not in gone]
            worse = [one for one in stay if one.tenant == job.tenant and one.priority < job.priority]
            assert not worse, "a lower priority of the same tenant stayed"
            assert not job.paused
            job.paused, job.swapped = True, preemption.swap
            job.computed = job.computed if preemption.swap else 0
            job.blocks = 0
            job.since = 1000 + self.preemptions
            self.preemptions += 1
        for request_id in decision.resumed:
            jobs[request_id].entered = jobs[request_id].total
        for request_id in decision.admitted:
            jobs[request_id].admitted_at = self.step
            jobs[request_id].entered = jobs[request_id].total
            self.inside.append(jobs[request_id])
        self.inside.sort(key=lambda job: job.request_id)
        active = [job for job in self.inside if not job.paused or job.request_id in decision.resumed]
        assert len(active) <= self.limits.max_running

    def carry_out(self, shares: Shares) -> None:
        if not shares.rows:
            assert not self.inside, "nobody may go on"
            self.step += 1
            return
        assert shares.max_steps >= 1
        jobs = {job.request_id: job for job in self.inside}
        for _ in range(shares.max_steps):
            if self.one_step(shares, jobs):
                return

    def one_step(self, shares: Shares, jobs: dict[int, Job]) -> bool:
        """Like the engine: everybody's part, then stop where somebody ended, came or was short."""
        prompt_tokens = 0
        stops = False
        planned_ids = {planned.request_id for planned in shares.rows}
        decoding = {job.request_id for job in self.inside if job.total - job.computed == 1 and not job.paused}
        assert decoding <= planned_ids
        for planned in shares.rows:
            job = jobs[planned.request_id]
            count = min(job.total - job.computed, planned.prefill_tokens)
            needed = self.shape.blocks_at(job.computed, job.computed + count)
            if needed - job.blocks > self.free_blocks:
                stops = True
                continue
            job.paused = False
            prompt_tokens += count if count > 1 else 0
            job.computed += count
            # What the windows have passed is free when the step is done.
            job.blocks = self.shape.blocks_at(job.computed, job.computed)
            if job.computed == job.total:
                job.made += 1
                if job.made == job.answer:
                    job.finished_at = self.step
                    self.inside.remove(job)
                    stops = True
        assert prompt_tokens <= self.limits.prefill_tokens
        self.step += 1
        return stops or any(job.arrival == self.step for job in self.jobs)


JOBS = st.lists(
    st.tuples(
        st.integers(0, 60),
        st.integers(1, 60),
        st.integers(1, 20),
        st.sampled_from(["", "a", "a/b", "c"]),
        st.integers(-1, 1),
    ),
    min_size=1,
    max_size=25,
)


@settings(max_examples=300, deadline=None)
@given(
    arrivals=JOBS,
    prefill=st.integers(1, 40),
    max_running=st.integers(1, 6),
    horizon=st.integers(1, 20),
    growth=st.integers(0, 30),
    spare=st.integers(0, 20),
    windows=st.lists(st.none() | st.integers(1, 30), min_size=1, max_size=3).map(tuple),
)
def test_traces(
    arrivals: list[tuple[int, int, int, str, int]],
    prefill: int,
    max_running: int,
    horizon: int,
    growth: int,
    spare: int,
    windows: tuple[int | None, ...],
) -> None:
    jobs = [Job(index, *arrival) for index, arrival in enumerate(sorted(arrivals))]
    shape = KvShape(4, windows)
    largest = max(shape.most_blocks(job.reserved, prefill) for job in jobs)
    limits = Limits(
        prefill_tokens=prefill, max_running=max_running, horizon_steps=horizon, growth_tokens=growth
    )
    World(jobs, limits, total_blocks=largest + spare, shape=shape).run()
    for job in jobs:
        assert job.made == job.answer
    for queue in Counter((job.tenant, job.priority) for job in jobs):
        entries = [job.admitted_at for job in jobs if (job.tenant, job.priority) == queue]
        assert entries == sorted(entries, key=lambda step: step or 0), "somebody was passed in the queue"


def test_a_world_that_is_too_small_for_all_sets_some_aside() -> None:
    world = World([Job(index, 0, 8, 40) for index in range(8)], Limits(growth_tokens=4), total_blocks=30)
    world.run()
    assert world.preemptions > 0


def test_a_stream_of_small_requests_does_not_starve_a_large_one() -> None:
    small = [Job(index, index, 4, 4) for index in range(200)]
    large = Job(1000, 10, 60, 20)
    jobs = sorted([*small, large], key=lambda job: job.arrival)
    World(jobs, Limits(prefill_tokens=16), total_blocks=20).run()
    assert large.finished_at is not None
    assert large.finished_at < 200
