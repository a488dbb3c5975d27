"""The background loop: each strategy does what it says, and what does not help is dropped."""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from ruvllm import LLM, ConsolidationStrategy, SonaConfig, SonaLlm, SonaLlmConfig
from ruvllm.learning import LearningEvent, TenantState
from ruvllm.learning.background_thread import BackgroundThread
from ruvllm.learning.consolidation import Generations, merged
from tests.conftest import FIXTURES

PROMPT = [5, 17, 42, 99, 3]
ANSWERS = [[203, 11, 7, 60], [90, 91, 92], [14, 203, 80, 9, 33]]
FREE = SonaConfig(ewc_lambda=0.0, baseline_rate=0.0)
QUALITIES = [0.2, 1.0, 0.6, 0.9, 0.3, 0.1, 0.95, 0.4, 0.5, 0.7]


@pytest.fixture(scope="module")
def llm() -> Iterator[LLM]:
    with LLM(FIXTURES / "models" / "llama-gqa", activations="f32") as llm:
        yield llm


def fixed(seed: int, count: int = len(QUALITIES), hidden: int = 12, rank: int = 2) -> Generations:
    """Generations of random matrices."""
    numbers = np.random.default_rng(seed)

    def matrix() -> NDArray[np.float32]:
        return numbers.standard_normal((rank, hidden), dtype=np.float32)

    anchor_a, anchor_b = matrix(), matrix()
    states = [
        replace(
            TenantState.new("t", hidden=hidden, rank=rank, scale=0.5, baseline=0.5),
            generation=index + 1,
            a=matrix(),
            b=matrix(),
            anchor_a=anchor_a,
            anchor_b=anchor_b,
            fisher_a=matrix() ** 2,
            fisher_b=matrix() ** 2,
        )
        for index in range(count)
    ]
    return Generations(states=states, qualities=QUALITIES[:count])


def added(state: TenantState) -> NDArray[np.float64]:
    """The map that it adds."""
    return state.scale * state.b.astype("f8").T @ state.a.astype("f8")


def test_each_strategy_does_what_it_says() -> None:
    generations = fixed(1)
    states, weights = generations.states, np.array(QUALITIES)
    found = {strategy: merged(strategy, generations) for strategy in ConsolidationStrategy}
    mean_b = np.mean([state.b for state in states], axis=0)
    weighted_b = np.einsum("g,grh->rh", weights / weights.sum(), [state.b for state in states])
    assert np.allclose(found[ConsolidationStrategy.Average].b, mean_b, atol=1e-6)
    assert np.allclose(found[ConsolidationStrategy.QualityWeighted].b, weighted_b, atol=1e-6)
    # The best two of ten.
    best_b = (states[1].b + states[6].b) / 2
    assert np.allclose(found[ConsolidationStrategy.BestOnly].b, best_b, atol=1e-6)
    # The nearest map of rank 2 to the mean of the maps, which no other comes as near to.
    mean_map = np.mean([added(state) for state in states], axis=0)
    sizes = np.linalg.svd(mean_map, compute_uv=False)
    far = {name: np.linalg.norm(added(state) - mean_map) for name, state in found.items()}
    assert far[ConsolidationStrategy.Ensemble] == pytest.approx(np.linalg.norm(sizes[2:]), rel=1e-4)
    assert min(far, key=lambda name: far[name]) is ConsolidationStrategy.Ensemble
    # Between the anchor and what is now, the nearer to that the more important it was.
    merge, now = found[ConsolidationStrategy.EwcMerge], states[-1]
    share = (merge.b - now.anchor_b) / (now.b - now.anchor_b)
    assert share.min() >= 0
    assert share.max() <= 1
    order = np.argsort(now.fisher_b.ravel())
    assert (np.diff(share.ravel()[order]) > -1e-4).all()
    for one in found.values():
        assert np.array_equal(one.anchor_b, one.b)
        assert np.array_equal(one.anchor_a, one.a)
    bs = [one.b for one in found.values()]
    assert all(not np.allclose(bs[i], bs[j]) for i in range(5) for j in range(i))


def test_where_all_were_bad_none_is_preferred() -> None:
    generations = replace(fixed(2, count=3), qualities=[0.0, 0.0, 0.0])
    weighted = merged(ConsolidationStrategy.QualityWeighted, generations)
    assert np.array_equal(weighted.b, merged(ConsolidationStrategy.Average, generations).b)


def taught(llm: LLM, strategy: ConsolidationStrategy) -> SonaLlm:
    config = SonaLlmConfig(sona=FREE, consolidation_strategy=strategy, background_min_samples=6)
    sona = SonaLlm(llm, config, tenant=f"background {strategy.name}")
    for index in range(6):
        answer = ANSWERS[index % len(ANSWERS)]
        captured = llm.learning.captured(sona.tenant, PROMPT, answer)
        sona.learner.adapt(captured, f"answer {index}", QUALITIES[index])
    return sona


@pytest.mark.parametrize("strategy", list(ConsolidationStrategy))
def test_a_turn_keeps_what_is_best_by_the_feedback(llm: LLM, strategy: ConsolidationStrategy) -> None:
    sona = taught(llm, strategy)
    before = sona.state

    def worth(state: TenantState) -> float:
        return sum(
            one.advantage * sona.learner.judge(one.captured, state)[0] for one in sona.learner.samples()
        )

    zero = replace(before, a=before.anchor_a, b=before.anchor_b)
    result = sona.background_consolidate()
    assert result.applied
    assert result.loop_type == "background"
    assert result.samples_used == 6
    assert worth(sona.state) >= max(worth(before), worth(zero)) - 1e-6
    assert np.array_equal(sona.state.anchor_b, sona.state.b)
    stats = sona.stats()
    assert (stats.background_count, stats.pending_samples) == (1, 0)
    assert stats.last_background_secs is not None
    assert sona.state.feedback == before.feedback
    # It can be taken back like any other.
    sona.rollback()
    assert np.array_equal(sona.state.b, before.b)
    # Nothing came since.
    assert not sona.learner.snapshots(sona.state.generation)


def test_a_turn_waits_for_enough_and_for_its_time(llm: LLM) -> None:
    config = SonaLlmConfig(sona=FREE, background_min_samples=2, background_interval_ms=3_600_000)
    sona = SonaLlm(llm, config, tenant="waits")
    assert sona.maybe_background() is None
    for index in range(4):
        assert (sona.maybe_background() is not None) == (index == 2)
        captured = llm.learning.captured("waits", PROMPT, ANSWERS[0])
        sona.learner.adapt(captured, f"answer {index}", index % 2)
    # Enough waits, and the hour is not over.
    assert sona.stats().pending_samples == 2
    assert sona.maybe_background() is None
    assert sona.stats().background_count == 1
    assert not SonaLlm(llm, tenant="empty").background_consolidate().applied


def test_what_feedback_says_meanwhile_is_not_lost(llm: LLM) -> None:
    sona = taught(llm, ConsolidationStrategy.Average)
    learner, judge = sona.learner, sona.learner.judge
    captured = llm.learning.captured(sona.tenant, PROMPT, ANSWERS[0])
    came: list[TenantState] = []

    def judge_and_hear(*arguments: object) -> tuple[float, float]:
        if not came:
            learner.adapt(captured, "meanwhile", 0.0)
            came.append(sona.state)
        return judge(*arguments)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learner, "judge", judge_and_hear)
        result = sona.background_consolidate()
    assert not result.applied
    assert "in between" in result.notes[0]
    assert sona.state is came[0]


def test_the_thread_takes_turns_until_it_is_stopped(llm: LLM) -> None:
    config = SonaLlmConfig(sona=FREE, background_min_samples=2, background_interval_ms=10)
    sona = SonaLlm(llm, config, tenant="thread")
    sona.start_background()
    sona.start_background()
    for index in range(2):
        captured = llm.learning.captured("thread", PROMPT, ANSWERS[index])
        sona.learner.adapt(captured, f"answer {index}", index % 2)
    until = time.monotonic() + 30
    while not sona.stats().background_count and time.monotonic() < until:
        time.sleep(0.01)
    sona.stop_background()
    assert sona.stats().background_count >= 1


def test_one_thread_serves_all_tenants_and_outlives_the_failure_of_one(
    llm: LLM, caplog: pytest.LogCaptureFixture
) -> None:
    config = SonaLlmConfig(sona=FREE, background_min_samples=1, background_interval_ms=10)
    both = [SonaLlm(llm, config, tenant=f"of many {index}") for index in range(2)]
    fails = SonaLlm(llm, config, tenant="fails")

    def fail(event: LearningEvent) -> None:
        if event.result.loop_type == "background":
            raise RuntimeError("no disk")

    fails.learner.watch(fail)
    threads = threading.active_count()
    for sona in (fails, *both):
        sona.start_background()
        sona.learner.adapt(llm.learning.captured(sona.tenant, PROMPT, ANSWERS[0]), "answer", 1.0)
    assert threading.active_count() <= threads + 1
    until = time.monotonic() + 30
    while not all(sona.stats().background_count for sona in both) and time.monotonic() < until:
        time.sleep(0.01)
    for sona in both:
        assert sona.stats().background_count
        sona.stop_background()
    assert "tenant 'fails' failed" in caplog.text
    assert llm.learning.background("fails") not in llm.learning.background_thread


def test_requests_go_first_for_a_while() -> None:
    busy = [True]
    thread = BackgroundThread(lambda: busy[0])
    loop = _Due()
    thread.add(loop)  # type: ignore[arg-type]
    time.sleep(0.1)
    assert not loop.taken.is_set()
    busy[0] = False
    assert loop.taken.wait(30)
    thread.close()


class _Due:
    """A loop that always has something to do."""

    tenant, interval = "due", 0.01

    def __init__(self) -> None:
        self.taken = threading.Event()

    def is_due(self) -> bool:
        return True

    def consolidate(self) -> None:
        self.taken.set()

    def wait(self) -> None:
        """Nothing is being taken."""


def test_deep_is_worth_it_from_a_sum_of_qualities_on(llm: LLM) -> None:
    sona = SonaLlm(llm, SonaLlmConfig(deep_trigger_threshold=1.5), tenant="deep")
    found = []
    for index in range(3):
        captured = llm.learning.captured("deep", PROMPT, ANSWERS[0])
        sona.learner.adapt(captured, f"answer {index}", 0.8, prompt=PROMPT)
        found.append(sona.should_trigger_deep())
    assert found == [False, True, True]
