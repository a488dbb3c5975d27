"""The scheduling policy over arrival traces, with no engine and no clock."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ruvllm.errors import ConfigError
from ruvllm.runtime.scheduler import Limits, Plan, PlannedRow, Running, Scheduler, View, Waiting, blocks_for


def waiting(request_id: int, prompt: int, reserved: int) -> Waiting:
    return Waiting(request_id=request_id, prompt_tokens=prompt, reserved_tokens=reserved)


def running(request_id: int, total: int, computed: int, reserved: int) -> Running:
    return Running(
        request_id=request_id, total_tokens=total, computed_tokens=computed, reserved_tokens=reserved
    )


def row(request_id: int, prefill: int) -> PlannedRow:
    return PlannedRow(request_id=request_id, prefill_tokens=prefill)


def plan(view: View, **limits: int) -> Plan:
    return Scheduler(Limits(**limits)).plan(view)


def test_nothing_to_do() -> None:
    assert plan(View(free_blocks=4, block_tokens=16)) == Plan()


def test_a_prompt_comes_in_and_is_cut_into_portions() -> None:
    view = View(waiting=(waiting(1, 1200, 1300),), free_blocks=100, block_tokens=16)
    assert plan(view) == Plan(admitted=(1,), rows=(row(1, 512),), max_steps=3)


def test_prompt_and_answer_are_reserved() -> None:
    # 10 blocks: the first takes 6, and the second's 5 are not free though its prompt alone would fit.
    view = View(waiting=(waiting(1, 16, 96), waiting(2, 16, 80)), free_blocks=10, block_tokens=16)
    assert plan(view).admitted == (1,)


def test_what_runs_keeps_its_reservation() -> None:
    # It holds 1 block of 6, so 5 of the 9 free ones are spoken for.
    one = running(1, 17, 16, 96)
    view = View(running=(one,), waiting=(waiting(2, 16, 64),), free_blocks=9, block_tokens=16)
    assert plan(view).admitted == (2,)
    view = View(running=(one,), waiting=(waiting(2, 16, 65),), free_blocks=9, block_tokens=16)
    assert plan(view).admitted == ()


def test_the_head_of_the_queue_is_not_passed() -> None:
    view = View(waiting=(waiting(1, 100, 200), waiting(2, 1, 2)), free_blocks=5, block_tokens=16)
    assert plan(view).admitted == ()


def test_only_so_many_run() -> None:
    queue = tuple(waiting(index, 1, 2) for index in range(10))
    view = View(running=(running(99, 5, 4, 10),), waiting=queue, free_blocks=100, block_tokens=16)
    assert plan(view, max_running=4).admitted == (0, 1, 2)


def test_tokens_are_made_in_every_step_whatever_prompts_there_are() -> None:
    view = View(
        running=(running(1, 1000, 0, 1100), running(2, 50, 49, 60), running(3, 30, 29, 40)),
        free_blocks=100,
        block_tokens=16,
    )
    made = plan(view, prefill_tokens=100)
    assert [row.request_id for row in made.rows] == [1, 2, 3]
    assert made.max_steps == 10


def test_prompts_share_the_budget_oldest_first() -> None:
    view = View(
        running=(running(1, 300, 0, 400), running(2, 300, 0, 400), running(3, 300, 0, 400)),
        free_blocks=100,
        block_tokens=16,
    )
    # The first takes a step; then the parts change.
    assert plan(view) == Plan(rows=(row(1, 300), row(2, 212)), max_steps=1)


def test_prompts_that_end_in_one_step_do_not_end_the_plan() -> None:
    view = View(running=(running(1, 100, 0, 200), running(2, 9, 8, 20)), free_blocks=100, block_tokens=16)
    assert plan(view, horizon_steps=32).max_steps == 32


def test_the_horizon_of_tokens_alone() -> None:
    view = View(running=(running(1, 9, 8, 20),), free_blocks=100, block_tokens=16)
    assert plan(view, horizon_steps=7).max_steps == 7


def test_a_sequence_that_must_be_computed_anew_is_a_prompt_again() -> None:
    view = View(running=(running(1, 700, 0, 900),), free_blocks=100, block_tokens=16)
    assert plan(view) == Plan(rows=(row(1, 512),), max_steps=2)


@pytest.mark.parametrize("name", ["prefill_tokens", "max_running", "horizon_steps"])
def test_limits_are_checked(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} is 0"):
        Limits(**{name: 0})


# -- traces: a world that carries out plans, step by step


@dataclass
class Job:
    request_id: int
    arrival: int
    prompt: int
    answer: int
    computed: int = 0
    made: int = 0
    blocks: int = 0
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
    block_tokens: int = 4
    step: int = 0
    inside: list[Job] = field(default_factory=list)

    @property
    def free_blocks(self) -> int:
        return self.total_blocks - sum(job.blocks for job in self.inside)

    def queue(self) -> list[Job]:
        return [job for job in self.jobs if job.arrival <= self.step and job.admitted_at is None]

    def run(self) -> None:
        scheduler = Scheduler(self.limits)
        while any(job.finished_at is None for job in self.jobs):
            assert self.step < 100_000, "somebody waits for ever"
            plan = scheduler.plan(
                View(
                    waiting=tuple(waiting(job.request_id, job.prompt, job.reserved) for job in self.queue()),
                    running=tuple(
                        running(job.request_id, job.total, job.computed, job.reserved) for job in self.inside
                    ),
                    free_blocks=self.free_blocks,
                    block_tokens=self.block_tokens,
                )
            )
            self.admit(plan)
            self.carry_out(plan)

    def admit(self, plan: Plan) -> None:
        queue = self.queue()
        assert plan.admitted == tuple(job.request_id for job in queue[: len(plan.admitted)])
        for job in queue[: len(plan.admitted)]:
            job.admitted_at = self.step
            self.inside.append(job)
        assert len(self.inside) <= self.limits.max_running
        needed = sum(blocks_for(job.reserved, self.block_tokens) for job in self.inside)
        assert needed <= self.total_blocks, "more was promised than there is"

    def carry_out(self, plan: Plan) -> None:
        if not plan.rows:
            assert not self.inside
            self.step += 1
            return
        assert plan.max_steps >= 1
        jobs = {job.request_id: job for job in self.inside}
        for _ in range(plan.max_steps):
            if self.one_step(plan, jobs):
                return

    def one_step(self, plan: Plan, jobs: dict[int, Job]) -> bool:
        """Like the engine: everybody's part, then stop where somebody ended or came."""
        prompt_tokens = 0
        ended = False
        planned = {planned.request_id for planned in plan.rows}
        assert {job.request_id for job in self.inside if job.total - job.computed == 1} <= planned
        for planned in plan.rows:
            job = jobs[planned.request_id]
            count = min(job.total - job.computed, planned.prefill_tokens)
            prompt_tokens += count if count > 1 else 0
            job.computed += count
            job.blocks = blocks_for(job.computed, self.block_tokens)
            assert self.free_blocks >= 0, "a plan used blocks that are not there"
            if job.computed == job.total:
                job.made += 1
                if job.made == job.answer:
                    job.finished_at = self.step
                    self.inside.remove(job)
                    ended = True
        assert prompt_tokens <= self.limits.prefill_tokens
        self.step += 1
        came = any(job.arrival == self.step for job in self.jobs)
        return ended or came


JOBS = st.lists(
    st.tuples(st.integers(0, 60), st.integers(1, 60), st.integers(1, 20)), min_size=1, max_size=25
)


@settings(max_examples=300, deadline=None)
@given(
    arrivals=JOBS,
    prefill=st.integers(1, 40),
    max_running=st.integers(1, 6),
    horizon=st.integers(1, 20),
    spare=st.integers(0, 20),
)
def test_traces(
    arrivals: list[tuple[int, int, int]], prefill: int, max_running: int, horizon: int, spare: int
) -> None:
    jobs = [Job(index, *arrival) for index, arrival in enumerate(sorted(arrivals))]
    largest = max(blocks_for(job.reserved, 4) for job in jobs)
    limits = Limits(prefill_tokens=prefill, max_running=max_running, horizon_steps=horizon)
    World(jobs, limits, total_blocks=largest + spare).run()
    entries = [job.admitted_at for job in jobs]
    assert entries == sorted(entries, key=lambda step: step or 0), "somebody was passed in the queue"
    for job in jobs:
        assert job.made == job.answer


def test_a_stream_of_small_requests_does_not_starve_a_large_one() -> None:
    small = [Job(index, index, 4, 4) for index in range(200)]
    large = Job(1000, 10, 60, 20)
    jobs = sorted([*small, large], key=lambda job: job.arrival)
    World(jobs, Limits(prefill_tokens=16), total_blocks=20).run()
    assert large.finished_at is not None
    assert large.finished_at < 200
