"""How much of a prompt a step takes: what others wait, what the prompt loses; over a stepped clock.

The machines are those that were measured: 1B and 8B on two cores. Their steps have a fixed part, one for each
row, and become dearer with the tokens that a prompt is deep.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import mean, quantiles

import pytest

from ruvllm import LLM, GenerateParams
from ruvllm.config import Limits
from ruvllm.runtime.pace import Pace
from ruvllm.runtime.plans import Running, Shares
from ruvllm.runtime.scheduler import Scheduler

PROMPT = 4000


@dataclass(frozen=True, slots=True)
class Machine:
    """Seconds of a step: `row` of each row, as much again where it is `doubled_at` tokens deep."""

    fixed: float
    row: float
    doubled_at: float = 8000.0

    def seconds(self, rows: int, depth: int) -> float:
        return self.fixed + rows * self.row * (1 + depth / self.doubled_at)


SMALL = Machine(fixed=0.001, row=0.0003)
OF_1B = Machine(fixed=0.0075, row=0.0019)
OF_8B = Machine(fixed=0.050, row=0.0247, doubled_at=16_000)


@dataclass(slots=True)
class Request:
    number: int
    tenant: str
    total: int
    computed: int = 0

    @property
    def is_answer(self) -> bool:
        return self.total - self.computed == 1


@dataclass
class World:
    """Requests that run until the prompts among them are through; `noise` is what a step takes besides."""

    machine: Machine
    requests: list[Request]
    limits: Limits = field(default_factory=Limits)
    noise: Callable[[], float] = lambda: 1.0
    pace: Pace = field(default_factory=Pace)
    steps: list[tuple[int, float]] = field(default_factory=list)  # rows of prompts, seconds

    def run(self, plans: int = 100_000) -> float:
        """Give the seconds until no prompt is left, or so many plans are over."""
        began = len(self.steps)
        while plans and any(not one.is_answer for one in self.requests):
            plans -= 1
            self._plan()
        while self.steps[-1][0] == 0:
            self.steps.pop()
        return sum(seconds for _, seconds in self.steps[began:])

    def _plan(self) -> None:
        shares = Scheduler(self.limits).share([self._running(one) for one in self.requests], self.pace.times)
        before = len(self.steps)
        rows = sum(self._step(shares) for _ in range(shares.max_steps))
        seconds = [one for _, one in self.steps[before:]]
        self.pace.note(steps=len(seconds), rows=rows, seconds=sum(seconds))

    def _step(self, shares: Shares) -> int:
        parts = {row.request_id: row.prefill_tokens for row in shares.rows}
        taken = [(one, min(parts.get(one.number, 0), one.total - one.computed)) for one in self.requests]
        rows = sum(count for _, count in taken)
        depth = max((one.computed for one, count in taken if not one.is_answer and count), default=0)
        prompt_rows = sum(count for one, count in taken if not one.is_answer)
        self.steps.append((prompt_rows, self.machine.seconds(rows, depth) * self.noise()))
        for one, count in taken:
            one.computed += count
            if one.computed == one.total:
                one.total += 1
        return rows

    def _running(self, one: Request) -> Running:
        return Running(
            request_id=one.number,
            total_tokens=one.total,
            computed_tokens=one.computed,
            reserved_tokens=one.total + 10,
            tenant=one.tenant,
        )


def answer(number: int, tenant: str = "") -> Request:
    return Request(number, tenant, total=50, computed=49)


def prompt(number: int, tenant: str = "", tokens: int = PROMPT) -> Request:
    return Request(number, tenant, total=tokens)


def p95(seconds: Sequence[float]) -> float:
    return quantiles(seconds, n=20)[-1]


def slowed_now_and_then() -> Callable[[], float]:
    """A machine that others use, too: a tenth more or less, and now and then five times as long."""
    order = random.Random(3)
    return lambda: order.uniform(0.9, 1.1) * (5 if order.random() < 0.02 else 1)


@pytest.mark.parametrize(
    ("machine", "least_pace"),
    [(SMALL, 0.95), (OF_1B, 0.95), (OF_8B, 0.7)],
    ids=["small", "1b", "8b"],
)
@pytest.mark.parametrize("is_noisy", [False, True], ids=["quiet", "noisy"])
def test_others_wait_for_a_step_and_not_for_a_prompt(
    machine: Machine, least_pace: float, *, is_noisy: bool
) -> None:
    """At 8B on two cores the row of the answer alone takes a tenth of a step: there a prompt loses more."""
    noise = slowed_now_and_then() if is_noisy else lambda: 1.0
    alone = World(machine, [prompt(1)], noise=noise).run()
    world = World(machine, [answer(1), prompt(2)], noise=noise)
    beside = world.run()
    assert p95([seconds for _, seconds in world.steps]) <= 0.3
    # Slow steps come when they come, and not to both alike.
    assert alone / beside >= least_pace - (0.04 if is_noisy else 0.0)


def test_a_prompt_alone_and_a_small_model_have_large_steps() -> None:
    alone = World(OF_1B, [prompt(1)])
    alone.run()
    assert max(rows for rows, _ in alone.steps) > 400
    small = World(SMALL, [answer(1), prompt(2)])
    small.run()
    assert max(rows for rows, _ in small.steps) == Limits().prefill_tokens


@pytest.mark.parametrize("machine", [SMALL, OF_1B, OF_8B], ids=["small", "1b", "8b"])
def test_before_anything_is_measured_a_step_is_short(machine: Machine) -> None:
    world = World(machine, [prompt(1)])
    world.run(plans=1)
    assert [rows for rows, _ in world.steps] == [16]
    world.run()
    # One request alone holds up only those who may come: for a second, and as much as it grew since.
    assert max(seconds for _, seconds in world.steps) <= 1.25
    assert mean(seconds for _, seconds in world.steps[2:8]) >= min(0.9, 0.9 * machine.seconds(512, 0))


def test_however_many_tenants_have_prompts_a_step_is_no_longer() -> None:
    """Each with an answer under way and a prompt: their times for a step do not add up."""
    requests = [
        request
        for tenant in range(5)
        for request in (answer(2 * tenant + 1, str(tenant)), prompt(2 * tenant + 2, str(tenant), 1000))
    ]
    world = World(OF_8B, requests)
    world.run()
    # A part more than the answers take, which is 0.25 s where they are as deep as that.
    assert p95([seconds for _, seconds in world.steps]) <= 0.35


def test_two_prompts_of_two_tenants_beside_an_answer_go_on_together() -> None:
    world = World(OF_1B, [answer(1, "a"), prompt(2, "b"), prompt(3, "c")])
    world.run(plans=50)
    done = sorted(one.computed for one in world.requests[1:])
    assert done[0] >= 0.9 * done[1] > 0


@pytest.mark.parametrize("answers", [1, 30], ids=["dear", "many"])
def test_a_prompt_goes_on_where_answers_take_longer_than_a_step_should(answers: int) -> None:
    machine = Machine(fixed=0.5, row=0.02)
    world = World(machine, [*(answer(number) for number in range(answers)), prompt(99, tokens=500)])
    by_itself = machine.seconds(answers, 0)
    world.run()
    steps = world.steps[1:-1]
    assert all(rows > 1 for rows, _ in steps)
    assert mean(seconds for _, seconds in steps) <= 1.35 * by_itself


def test_one_slow_step_does_not_keep_the_others_small() -> None:
    seconds = iter([*[1.0] * 20, *[40.0] * 3])
    world = World(OF_1B, [answer(1), prompt(2, tokens=20_000)], noise=lambda: next(seconds, 1.0))
    world.run(plans=20)
    usual = world.steps[-1][0]
    world.run(plans=3)
    world.run(plans=25)
    assert world.steps[-1][0] >= 0.8 * usual


@pytest.mark.alone
@pytest.mark.real_model
def test_a_real_model_takes_as_much_of_a_prompt_as_its_pace_allows(smollm2_path: str) -> None:
    """Portions follow from the pace, whatever they are the answer is the same."""
    params = GenerateParams(max_tokens=8, temperature=0.0, cache_prefix=False)
    text = "One two three four five six seven. " * 130
    portions: list[int] = []
    with LLM(smollm2_path, limits=Limits(step_seconds=0.02)) as llm:
        engine = llm._loop._engine
        advance = engine.advance

        def noted(rows: list[tuple[int, int]], max_steps: int) -> str:
            if len(rows) == 2:
                portions.append(rows[1][1])
            return advance(rows, max_steps)

        engine.advance = noted
        with llm.stream("Once", GenerateParams(max_tokens=2000, ignore_eos=True)) as others:
            for _ in range(5):
                next(others)
            beside = llm.generate(text, params)
    with LLM(smollm2_path, limits=Limits(step_seconds=3600)) as llm:
        assert llm.generate(text, params).token_ids == beside.token_ids
    prompts = [portion for portion in portions if portion < 512]
    assert len(prompts) > 1000 / 512 + 1
    assert len(set(prompts)) > 1
