"""Feedback that is wrong, too much, contradictory or somebody else's: refused or bounded, and said."""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress

import numpy as np
import pytest

from ruvllm import LLM, AsyncEngine, GenerateParams, MicroLoraConfig, SonaConfig, SonaLlm, SonaLlmConfig
from ruvllm.errors import ConfigError, InvalidOperationError, NotFoundError, OverloadedError, SonaError
from ruvllm.learning import LearningEvent
from ruvllm.learning.rate import Allowance
from tests.conftest import FIXTURES

PROMPT, ANSWER = [5, 17, 42, 99, 3], [203, 11, 7, 60]
GREEDY = GenerateParams(max_tokens=8, temperature=0.0, repetition_penalty=1.0, ignore_eos=True)


@pytest.fixture(scope="module")
def llm() -> Iterator[LLM]:
    with LLM(FIXTURES / "gguf" / "llama-gqa.gguf") as llm:
        yield llm


def test_nobody_learns_unless_asked(llm: LLM) -> None:
    assert llm.generate(PROMPT, GREEDY, tenant="asked by nobody").completion_id is None
    assert "asked by nobody" not in llm.learning.tenants()
    assert llm.learn(tenant="asked").tenant in llm.learning.tenants()
    assert llm.generate(PROMPT, GREEDY, tenant="asked").completion_id is not None
    llm.learning.end("asked")
    with pytest.raises(NotFoundError):
        llm.learning.end("asked")


@pytest.mark.parametrize("feedback", [float("nan"), float("inf"), -0.1, 1.5, True, "1", None])
def test_what_is_no_quality_is_refused(llm: LLM, feedback: object) -> None:
    sona = SonaLlm(llm, tenant="no quality")
    answer = sona.generate(PROMPT, GREEDY)
    before, refused = sona.state, sona.stats().refused
    with pytest.raises(SonaError, match="0 \\(bad\\) to 1 \\(good\\)"):
        sona.feedback(answer.completion_id, feedback)  # type: ignore[arg-type]
    with pytest.raises(SonaError, match="0 \\(bad\\) to 1 \\(good\\)"):
        sona.instant_adapt(PROMPT, answer, feedback)  # type: ignore[arg-type]
    assert sona.state is before
    assert sona.stats().refused == refused + 1
    # Its answer still waits.
    assert sona.feedback(answer.completion_id, 1.0).applied


def test_ids_of_nobody_and_of_others_are_not_known(llm: LLM) -> None:
    mine, other = SonaLlm(llm, tenant="mine"), SonaLlm(llm, tenant="other")
    answer = mine.generate(PROMPT, GREEDY)
    before = other.state
    for completion_id in ("completion-0", "", answer.completion_id):
        with pytest.raises(NotFoundError, match="of tenant 'other'"):
            other.feedback(completion_id, 1.0)
    with pytest.raises(NotFoundError):
        other.instant_adapt(PROMPT, answer, 1.0)
    with pytest.raises(SonaError, match="completion_id is None"):
        other.feedback(None, 1.0)
    with pytest.raises(SonaError, match="not kept"):
        other.instant_adapt(PROMPT, llm.generate(PROMPT, GREEDY), 1.0)
    assert other.state is before
    assert mine.feedback(answer.completion_id, 1.0).applied


def test_more_than_so_much_a_minute_is_refused(llm: LLM) -> None:
    config = SonaLlmConfig(sona=SonaConfig(max_feedback_per_minute=5))
    sona = SonaLlm(llm, config, tenant="often")
    captured = llm.learning.captured("often", PROMPT, ANSWER)
    for index in range(5):
        sona.learner.adapt(captured, f"answer {index}", index % 2)
    refused = 0
    for index in range(200):
        with suppress(OverloadedError):
            sona.learner.adapt(captured, f"more {index}", index % 2)
            continue
        refused += 1
    assert refused == sona.stats().refused >= 150


def test_turns_come_back_evenly() -> None:
    now = [0.0]
    allowance = Allowance(60, clock=lambda: now[0])
    for _ in range(60):
        allowance.take()
    with pytest.raises(OverloadedError, match="60 feedbacks a minute") as caught:
        allowance.take()
    assert caught.value.retry_after_seconds == 1.0
    now[0] = 2.0
    allowance.take()
    allowance.take()
    with pytest.raises(OverloadedError):
        allowance.take()


def test_contradictions_and_insistence_stay_within_the_bounds(llm: LLM) -> None:
    bounds = SonaConfig(ewc_lambda=0.0, baseline_rate=0.0, max_drift=0.1)
    tokens = PROMPT + ANSWER
    for name, feedbacks in [("contradicts", [0.0, 1.0] * 40), ("insists", [0.0] * 80)]:
        sona = SonaLlm(llm, SonaLlmConfig(sona=bounds), tenant=name)
        captured = llm.learning.captured(name, PROMPT, ANSWER)
        for index, feedback in enumerate(feedbacks):
            result = sona.learner.adapt(captured, f"answer {index}", feedback)
            assert result.drift <= 0.1
            assert result.divergence <= sona.config.instant_lr
            assert result.applied or result.notes
        assert np.isfinite(sona.logits(tokens)).all()
    assert not result.applied
    assert "bounds" in result.notes[0]


def test_answers_that_wait_are_bounded(llm: LLM) -> None:
    config = SonaLlmConfig(sona=SonaConfig(capture_bytes=20_000, capture_tokens=5))
    sona = SonaLlm(llm, config, tenant="few")
    answers = [sona.generate([*PROMPT, index], GREEDY) for index in range(20)]
    kept, num_bytes = sona.learner.captures.usage()
    assert 1 <= kept < 20
    assert num_bytes <= 20_000
    with pytest.raises(NotFoundError):
        sona.feedback(answers[0].completion_id, 1.0)
    assert sona.feedback(answers[-1].completion_id, 1.0).applied
    [sample] = sona.learner.samples()
    assert tuple(sample.captured.token_ids) == answers[-1].token_ids[:5]
    SonaLlm(llm, SonaLlmConfig(sona=SonaConfig(capture_bytes=10)), tenant="none fits")
    with pytest.raises(SonaError, match="capture_bytes"):
        llm.learning.captured("none fits", PROMPT, ANSWER)


def test_generations_that_are_kept_are_bounded(llm: LLM) -> None:
    bounds = SonaConfig(max_generations=3, ewc_lambda=0.0, baseline_rate=0.0)
    sona = SonaLlm(llm, SonaLlmConfig(sona=bounds), tenant="generations")
    captured = llm.learning.captured("generations", PROMPT, ANSWER)
    for index in range(5):
        sona.learner.adapt(captured, f"answer {index}", index % 2)
    assert sona.learner.generations() == (2, 3, 4)
    assert sona.state.generation == 5
    with pytest.raises(InvalidOperationError, match="3 are kept"):
        sona.rollback(4)
    for matrix in (sona.state.a, sona.state.b):
        with pytest.raises(ValueError, match="read-only"):
            matrix[0, 0] = 1.0


def test_counts_equal_what_happened_and_whoever_watches_hears_of_it(llm: LLM) -> None:
    sona = SonaLlm(llm, tenant="counts")
    heard: list[LearningEvent] = []
    sona.learner.watch(heard.append)
    answers = [sona.generate([*PROMPT, index], GREEDY) for index in range(3)]
    qualities = [1.0, 0.55, 0.0]
    results = [
        sona.feedback(answer.completion_id, quality)
        for answer, quality in zip(answers, qualities, strict=True)
    ]
    sona.rollback()
    stats = sona.stats()
    assert (stats.instant_count, stats.total_samples, stats.pending_samples) == (3, 3, 3)
    assert stats.accumulated_quality == pytest.approx(sum(qualities))
    assert stats.instant_avg_latency_us == pytest.approx(np.mean([one.latency_us for one in results]))
    # What is expected was a half, and a tenth of the way nearer to 1 after the first.
    assert [one.quality_delta for one in results] == pytest.approx([0.5, 0.0, -0.55])
    assert [one.applied for one in results] == [True, False, True]
    assert [event.result.loop_type for event in heard] == ["instant"] * 3 + ["rollback"]
    assert [event.completion_id for event in heard] == [one.completion_id for one in answers] + [None]
    assert [event.generation_before for event in heard] == [0, 1, 1, 2]
    assert heard[-1].state is sona.state
    assert stats.generation == sona.state.generation == 3


def test_from_many_threads(llm: LLM) -> None:
    sona = SonaLlm(llm, tenant="threads")
    answers = [sona.generate([*PROMPT, index], GREEDY) for index in range(12)]
    failures: list[Exception] = []

    def say(index: int) -> None:
        try:
            sona.feedback(answers[index].completion_id, index % 2)
            sona.generate(PROMPT, GREEDY)
        except Exception as error:  # noqa: BLE001 - shown below
            failures.append(error)

    threads = [threading.Thread(target=say, args=(index,)) for index in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert sona.stats().instant_count == 12


def test_settings_are_checked(llm: LLM) -> None:
    for make in (
        lambda: SonaConfig(micro_lora_rank=3),
        lambda: SonaConfig(max_drift=0.0),
        lambda: SonaConfig(ewc_lambda=float("nan")),
        lambda: SonaLlmConfig(instant_lr=0.0),
        lambda: SonaLlmConfig(background_min_samples=0),
        lambda: SonaLlm(llm, tenant=""),
        lambda: SonaLlm(llm, SonaLlmConfig(micro_lora=MicroLoraConfig.for_hidden_dim(7)), tenant="wide"),
    ):
        with pytest.raises(ConfigError):
            make()
    hidden = llm.model_info.hidden_size
    micro = MicroLoraConfig(in_features=hidden, out_features=hidden, rank=1)
    sona = SonaLlm(llm, SonaLlmConfig(micro_lora=micro), tenant="rank")
    assert sona.state.rank == 1
    assert SonaLlm(llm, tenant="rank").state is sona.state
    with pytest.raises(ConfigError, match="another config"):
        SonaLlm(llm, SonaLlmConfig(), tenant="rank")
    with pytest.raises(ConfigError, match="lm_head"):
        sona.forward(np.zeros(hidden, np.float32), "q_proj")


def test_over_asyncio_and_in_pieces(llm: LLM) -> None:
    async def ask() -> tuple[str | None, str | None]:
        async with AsyncEngine(llm) as engine:
            sona = SonaLlm(engine, tenant="asyncio")
            whole = await engine.generate(PROMPT, GREEDY, tenant="asyncio")
            chunks = [chunk async for chunk in engine.stream(PROMPT, GREEDY, tenant="asyncio")]
            result = await asyncio.to_thread(sona.feedback, whole.completion_id, 1.0)
            assert result.applied
            return whole.completion_id, chunks[-1].completion_id

    first, second = asyncio.run(ask())
    assert first
    assert second
    assert first != second
    sona = SonaLlm(llm, tenant="asyncio")
    *_, last = sona.stream(PROMPT, GREEDY)
    for completion_id in (second, last.completion_id):
        assert sona.feedback(completion_id, 0.0).samples_used == 1
    together = llm.generate([PROMPT, ANSWER], GREEDY, tenant="asyncio")
    assert len({one.completion_id for one in together}) == 2


def test_the_token_that_ended_an_answer_is_learned_from(llm: LLM) -> None:
    """It was chosen like any other, and is no part of the text."""
    sona = SonaLlm(llm, tenant="ended")
    tokens = llm.generate(PROMPT, GREEDY).token_ids
    stop = llm.detokenize([tokens[2]])
    answer = sona.generate(
        PROMPT, GenerateParams(max_tokens=8, temperature=0.0, repetition_penalty=1.0, stop_sequences=(stop,))
    )
    sona.feedback(answer.completion_id, 1.0)
    [sample] = sona.learner.samples()
    assert sample.captured.token_ids == list(answer.token_ids)


def test_a_correction_marks_down_the_answer_within_the_bounds_of_one_feedback(llm: LLM) -> None:
    bounds = SonaConfig(baseline_rate=0.0)
    sona = SonaLlm(llm, SonaLlmConfig(sona=bounds), tenant="corrects")
    answer = sona.generate(PROMPT, GREEDY)
    wanted = llm.detokenize([203, 11])
    tokens = llm.tokenize(wanted, add_bos=False, parse_special=False)

    def likely(said: Sequence[int]) -> float:
        return -float(np.mean(sona.score([*PROMPT, *said])[len(PROMPT) - 1 :]))

    before = likely(answer.token_ids), likely(tokens)
    result = sona.correct(PROMPT, answer, wanted)
    down, up = likely(answer.token_ids) - before[0], likely(tokens) - before[1]
    assert down < -0.005
    assert up > 0.005
    assert result.logprob_change == pytest.approx(up, rel=0.3, abs=0.01)
    assert 0 < result.divergence <= sona.config.instant_lr * 0.5**2 * 1.01
    assert (result.samples_used, result.generation) == (2, 1)
    assert "the answer that was given: -" in result.notes[0]
    stats = sona.stats()
    assert (stats.instant_count, sona.state.feedback, sona.state.updates) == (1, 1, 1)
    # Both are known to the loops behind, one as bad and one as good.
    assert [one.quality for one in sona.learner.collected.samples()] == [0.0, 1.0]
    assert sorted(one.quality for one in sona.learner.samples()) == [0.0, 1.0]
    assert {one.generation for one in sona.learner.samples()} == {1}
    sona.rollback()
    assert (likely(answer.token_ids), likely(tokens)) == before
    # Where the answer is not kept, the correction counts alone.
    alone = sona.correct(PROMPT, None, wanted)
    assert (alone.applied, alone.samples_used, alone.notes) == (True, 1, ())
    with pytest.raises(SonaError, match="empty"):
        sona.correct(PROMPT, answer, "")


def test_no_more_tenants_learn_than_may(llm: LLM) -> None:
    learning = llm.learning
    before = learning.memory()
    assert (before.tenants, before.max_tenants) == (len(learning.tenants()), 64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learning, "max_tenants", before.tenants + 1)
        one = SonaLlm(llm, tenant="the last one")
        with pytest.raises(OverloadedError, match="no more than") as caught:
            SonaLlm(llm, tenant="one too many")
        assert caught.value.retry_after_seconds == 60.0
        assert llm.generate(PROMPT, GREEDY, tenant="one too many").completion_id is None
        assert SonaLlm(llm, tenant="the last one").state is one.state
        learning.end("the last one")
        SonaLlm(llm, tenant="one too many")


def test_the_memory_of_learning_is_counted(llm: LLM) -> None:
    sona = SonaLlm(llm, tenant="memory")
    before = sona.learner.num_bytes()
    answers = [sona.generate([*PROMPT, index], GREEDY) for index in range(4)]
    waiting = sona.learner.num_bytes() - before
    # Hidden states of 16 bits, 64 candidates of each token, and the tokens before the answer.
    assert waiting >= 4 * 8 * (2 * llm.model_info.hidden_size + 500) + 4 * 4 * 6
    for answer in answers:
        sona.feedback(answer.completion_id, 1.0)
    matrices = sona.state.a.nbytes + sona.state.b.nbytes
    assert sona.learner.num_bytes() - before >= waiting + 4 * matrices
    assert llm.learning.memory().num_bytes >= sona.learner.num_bytes()


def test_what_was_asked_is_bounded(llm: LLM) -> None:
    config = SonaLlmConfig(sona=SonaConfig(token_bytes=400))
    sona = SonaLlm(llm, config, tenant="asked")
    answers = [sona.generate([*PROMPT, index], GREEDY) for index in range(20)]
    for answer in answers:
        sona.feedback(answer.completion_id, 1.0)
    assert sona.learner.collected.num_bytes <= 400
    kept = sona.learner.collected.samples()
    assert 1 <= len(kept) <= 4
    assert kept[-1].prompt.tolist() == [*PROMPT, 19]
