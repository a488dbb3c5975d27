"""What a tenant gets whatever the others do: over worlds in seconds, with the scheduler alone.

The world's steps take time as measured ones do: a fixed part and one for each row. What a tenant would have
by itself is found by running it by itself in the same world.
"""

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ruvllm.config import Limits
from ruvllm.runtime.kv_shape import KvShape
from ruvllm.runtime.plans import Running, View, Waiting
from ruvllm.runtime.scheduler import Scheduler
from ruvllm.runtime.step_times import StepTimes

FIXED_SECONDS = 0.004
ROW_SECONDS = 0.0008
SHAPE = KvShape(16)


def step_seconds(rows: int) -> float:
    return FIXED_SECONDS + rows * ROW_SECONDS


@dataclass
class Job:
    """A request; `computed` of `total` tokens are in the cache."""

    number: int
    tenant: str
    prompt: int
    answer: int
    arrived: float
    since: int = 0
    computed: int = 0
    made: int = 0
    entered: int = 0
    planned_at: int = 0
    blocks: int = 0
    is_inside: bool = False
    is_paused: bool = False
    first_token: float | None = None
    admitted: float | None = None

    @property
    def total(self) -> int:
        return self.prompt + self.made


@dataclass
class Client:
    """Keeps so many requests of a tenant under way, each begun as the one before ends."""

    tenant: str
    load: int
    prompt: int = 50
    answer: int = 60
    starts_at: float = 0.0


@dataclass
class World:
    clients: Sequence[Client]
    limits: Limits = field(default_factory=Limits)
    total_blocks: int = 20_000
    now: float = 0.0
    plans: int = 0
    preemptions: int = 0
    tokens: Counter[str] = field(default_factory=Counter)
    jobs: list[Job] = field(default_factory=list)
    ended: list[Job] = field(default_factory=list)
    longest_out: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._numbers = itertools.count(1)
        self._times = StepTimes()
        for rows in (1, 8, 64, 512):
            self._times.note(rows, step_seconds(rows))
        self._out_since: dict[str, float] = {}

    def run(self, seconds: float) -> None:
        scheduler = Scheduler(self.limits)
        while self.now < seconds:
            self._arrive()
            decision = scheduler.decide(self._view())
            by_number = {job.number: job for job in self.jobs}
            for one in decision.preempted:
                job = by_number[one.request_id]
                job.is_paused, job.blocks, job.since = True, 0, next(self._numbers)
                job.computed = job.computed if one.swap else 0
                self.preemptions += 1
            for number in (*decision.admitted, *decision.resumed):
                job = by_number[number]
                job.is_inside, job.is_paused, job.entered = True, False, job.total
                job.admitted = self.now if job.admitted is None else job.admitted
            self._note_who_is_out()
            shares = scheduler.share([self._running(job) for job in self._active()], self._times)
            self.plans += 1
            for _ in range(max(1, shares.max_steps)):
                ended = self._step([(by_number[row.request_id], row.prefill_tokens) for row in shares.rows])
                if ended or any(client.starts_at > self.now - 1 for client in self.clients):
                    break

    def _step(self, rows: list[tuple[Job, int]]) -> bool:
        counts = [(job, min(part, job.total - job.computed)) for job, part in rows]
        self.now += step_seconds(sum(count for _, count in counts))
        ended = False
        for job, count in counts:
            job.planned_at = self.plans
            job.computed += count
            job.blocks = max(job.blocks, SHAPE.rows(job.computed))
            if job.computed == job.total:
                job.made += 1
                job.first_token = job.first_token or self.now
                self.tokens[job.tenant] += 1
                if job.made == job.answer:
                    self.jobs.remove(job)
                    self.ended.append(job)
                    ended = True
        return ended

    def _arrive(self) -> None:
        under_way = Counter(job.tenant for job in self.jobs)
        for client in self.clients:
            for _ in range(client.load - under_way[client.tenant] if self.now >= client.starts_at else 0):
                number = next(self._numbers)
                job = Job(number, client.tenant, client.prompt, client.answer, self.now, since=number)
                self.jobs.append(job)

    def _note_who_is_out(self) -> None:
        inside = {job.tenant for job in self._active()}
        for tenant in {job.tenant for job in self.jobs}:
            if tenant in inside:
                self._out_since.pop(tenant, None)
            else:
                began = self._out_since.setdefault(tenant, self.now)
                self.longest_out[tenant] = max(self.longest_out.get(tenant, 0.0), self.now - began)

    def _active(self) -> list[Job]:
        return [job for job in self.jobs if job.is_inside and not job.is_paused]

    def _view(self) -> View:
        held = sum(job.blocks for job in self.jobs)
        return View(
            waiting=tuple(
                Waiting(
                    request_id=job.number,
                    prompt_tokens=job.prompt,
                    reserved_tokens=job.prompt + job.answer,
                    tenant=job.tenant,
                    since=job.since,
                )
                for job in self.jobs
                if not job.is_inside
            ),
            running=tuple(self._running(job) for job in self.jobs if job.is_inside),
            free_blocks=self.total_blocks - held,
            total_blocks=self.total_blocks,
            shape=SHAPE,
        )

    def _running(self, job: Job) -> Running:
        return Running(
            request_id=job.number,
            total_tokens=job.total,
            computed_tokens=job.computed,
            reserved_tokens=job.prompt + job.answer,
            blocks=job.blocks,
            tenant=job.tenant,
            paused=job.is_paused,
            since=job.since,
            entered_tokens=job.entered,
            planned_at=job.planned_at,
        )


@cache
def rate_alone(load: int, prompt: int, answer: int) -> float:
    world = World([Client("alone", load, prompt, answer)])
    world.run(20)
    return world.tokens["alone"] / world.now


def pace_of(world: World) -> list[float]:
    """Each tenant's tokens a second, as a share of what it makes by itself."""
    return [
        world.tokens[client.tenant] / world.now / rate_alone(client.load, client.prompt, client.answer)
        for client in world.clients
    ]


def jain(values: Sequence[float]) -> float:
    return sum(values) ** 2 / (len(values) * sum(value**2 for value in values))


LOADS = [
    (1, 64),
    (1, 1),
    (8, 64),
    (64, 64),
    (3, 17),
    (1, 4, 16, 64),
    (64, 64, 64, 1),
    (2, 2, 2, 64),
    (1, 2, 4, 8, 16, 32, 64, 64),
    (1, 1, 1, 1, 1, 1, 1, 64),
    (64, 64, 64, 64, 64, 64, 64, 1),
]


@pytest.mark.parametrize("loads", LOADS, ids=str)
def test_tenants_of_any_load_keep_the_same_share_of_their_own_pace(loads: tuple[int, ...]) -> None:
    world = World([Client(f"tenant-{index}", load) for index, load in enumerate(loads)])
    world.run(60)
    paces = pace_of(world)
    assert jain(paces) >= 0.9, [f"{pace:.2f}" for pace in paces]
    # Nobody has less than its part of the machine, but for what turns and steps of fewer rows cost.
    assert min(paces) >= 0.75 / len(loads), [f"{pace:.2f}" for pace in paces]


def test_tenants_of_equal_load_make_equally_many_tokens() -> None:
    world = World([Client(f"tenant-{index}", 20) for index in range(8)])
    world.run(60)
    assert jain([world.tokens[client.tenant] for client in world.clients]) >= 0.99


@pytest.mark.parametrize("slots", [1, 2])
def test_more_tenants_than_slots_take_turns(slots: int) -> None:
    clients = [Client(f"tenant-{index}", 1 + index, prompt=50, answer=100_000) for index in range(5)]
    world = World(clients, Limits(max_running=slots))
    world.run(60)
    assert jain([world.tokens[client.tenant] for client in clients]) >= 0.95, world.tokens
    # A turn is 64 tokens and a sixteenth of what one came with, which grows here and is computed anew.
    known = 50 + max(world.tokens.values())
    turn = (64 + known / 16) * step_seconds(slots) + known * ROW_SECONDS
    assert max(world.longest_out.values()) <= len(clients) * turn


def test_the_answers_of_a_tenant_take_turns() -> None:
    world = World([Client("many", 40, answer=100_000), Client("one", 1, answer=100_000)])
    world.run(10)
    before = {job.number: job.made for job in world.jobs}
    world.run(40)
    made = [job.made - before[job.number] for job in world.jobs if job.tenant == "many"]
    assert len(made) == 40
    assert min(made) >= 0.8 * max(made) > 10, sorted(made)


@pytest.mark.parametrize(
    "worst",
    [
        Client("worst", 64, prompt=10, answer=8000),
        Client("worst", 512, prompt=8000, answer=1),
        Client("worst", 250, prompt=8100, answer=8000),
        Client("worst", 400, prompt=3, answer=2),
        Client("worst", 1, prompt=8000, answer=8000),
    ],
    ids=str,
)
@pytest.mark.parametrize("total_blocks", [20_000, 2_100])
def test_a_tenant_that_does_its_worst_costs_another_at_most_its_part(
    worst: Client, total_blocks: int
) -> None:
    other = Client("other", 1, prompt=100, answer=100, starts_at=5.0)
    world = World([worst, other], total_blocks=total_blocks)
    world.run(25)
    answers = [job for job in world.ended if job.tenant == "other"]
    assert len(answers) > 3
    waits = [(job.first_token or 0) - job.arrived for job in answers]
    assert max(waits) < 2.0
    rate = world.tokens["other"] / (world.now - 5.0)
    assert rate >= rate_alone(1, 100, 100) / 3
    # The other one pays its part, and no more.
    assert world.tokens["worst"] > 0


@settings(max_examples=60, deadline=None)
@given(
    attackers=st.lists(
        st.builds(
            Client,
            tenant=st.sampled_from(["a", "b", "c", "d", "e"]),
            load=st.integers(1, 30),
            prompt=st.integers(1, 600),
            answer=st.integers(1, 300),
            starts_at=st.floats(0, 3),
        ),
        max_size=5,
        unique_by=lambda client: client.tenant,
    ),
    victim=st.builds(
        Client,
        tenant=st.just("v"),
        load=st.integers(1, 3),
        prompt=st.integers(1, 300),
        answer=st.integers(1, 50),
        starts_at=st.floats(0, 3),
    ),
    max_running=st.integers(1, 8),
    spare=st.integers(0, 60),
)
def test_no_tenant_waits_longer_than_the_bound(
    attackers: list[Client], victim: Client, max_running: int, spare: int
) -> None:
    clients = [*attackers, victim]
    longest = max(SHAPE.rows(client.prompt + client.answer) for client in clients)
    limits = Limits(max_running=max_running)
    world = World(clients, limits, total_blocks=longest + spare)
    world.run(12)
    # docs/security.md: a turn is the prompt at its share of the steps, 64 tokens and a sixteenth of what it
    # came with; each other tenant may have one before.
    tenants = len(clients)
    known = max(client.prompt + client.answer for client in clients)
    step = max(tenants * step_seconds(max_running), limits.step_seconds)
    turn_tokens = limits.growth_tokens + known / 16
    turn = known * ROW_SECONDS * tenants * 2 + turn_tokens * step + known * step / 16
    assert world.longest_out.get("v", 0.0) <= tenants * turn
