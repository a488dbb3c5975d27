"""The deep loop: layers learn a tenant's good answers, where that helps; for that tenant, until undone."""

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from benches.training_examples import sailor_examples
from ruvllm import LLM, GenerateParams, SonaConfig, SonaLlm, SonaLlmConfig, TrainingConfig, TrainingSample
from ruvllm.adapters import read_peft
from ruvllm.errors import ConfigError, InvalidOperationError, NotFoundError, SonaError, TrainingError
from ruvllm.learning import LearningEvent, LearningKeeper
from ruvllm.learning.deep_adapters import DeepAdapters
from ruvllm.training import TokenSample, TrainingObjective, TrainingProgress
from ruvllm.training.order import split
from tests.conftest import FIXTURES

MODEL = FIXTURES / "gguf" / "llama-gqa.gguf"
PROMPT, ANSWER = [5, 17, 42, 99, 3], [203, 11, 7, 60]
GREEDY = GenerateParams(max_tokens=6, temperature=0.0, repetition_penalty=1.0, ignore_eos=True)
QUICK = TrainingConfig(rank=2, alpha=8.0, learning_rate=0.01, steps=12, quality_threshold=0.5)
# Answers that go on in one way, which a model of random weights can learn.
SAMPLES = [
    TokenSample(prompt=np.array([*PROMPT, index]), answer=np.array(ANSWER, np.uint32)) for index in range(8)
]


@pytest.fixture(scope="module")
def llm() -> Iterator[LLM]:
    with LLM(MODEL, max_context=256) as llm:
        yield llm


def logits(llm: LLM, tenant: str) -> np.ndarray:
    return llm.logits(PROMPT, tenant=tenant)


def likelihood(llm: LLM, tenant: str) -> float:
    """Of the answer after a prompt that was not trained on, by the logits in f64."""
    rows = llm.logits([*PROMPT, 100, *ANSWER], tenant=tenant).astype(np.float64)[len(PROMPT) : -1]
    rows -= rows.max(axis=1, keepdims=True)
    rows -= np.log(np.exp(rows).sum(axis=1, keepdims=True))
    return float(rows[np.arange(len(ANSWER)), ANSWER].mean())


def test_it_changes_the_layers_for_its_tenant_alone_and_can_be_undone(llm: LLM) -> None:
    sona, nobody = SonaLlm(llm, tenant="deep"), logits(llm, "")
    heard: list[LearningEvent] = []
    sona.learner.watch(heard.append)
    before, hidden = likelihood(llm, "deep"), llm.embed(PROMPT, tenant="deep")
    steps: list[TrainingProgress] = []
    result = sona.deep_optimize(SAMPLES, QUICK, on_progress=steps.append)
    assert (result.applied, result.loop_type, result.generation) == (True, "deep", 1)
    assert likelihood(llm, "deep") > before + 0.5
    assert result.logprob_before is not None
    assert result.logprob_after == pytest.approx(result.logprob_before + result.logprob_change)
    assert result.logprob_change > 0.5
    assert (result.samples_used, result.judged, len(steps)) == (8, 1, 12)
    assert result.training is not None
    assert result.training.train_loss_after < result.training.train_loss_before
    # Nobody else's, and no embedding; theirs alone to name.
    assert np.array_equal(logits(llm, ""), nobody)
    assert np.array_equal(logits(llm, "other"), nobody)
    assert np.array_equal(llm.embed(PROMPT, tenant="deep"), hidden)
    [info] = [one for one in llm.adapters.list() if one.name == result.adapter]
    assert (info.tenant, info.rank) == ("deep", 2)
    learned = logits(llm, "deep")
    assert np.array_equal(llm.logits(PROMPT, adapter=info.name, tenant="deep"), learned)
    for tenant in ("", "other"):
        with pytest.raises(NotFoundError, match="no adapter"):
            llm.generate(PROMPT, GREEDY, adapter=info.name, tenant=tenant)
    answer = sona.generate([*PROMPT, 101], GenerateParams(max_tokens=4, temperature=0.0, ignore_eos=True))
    assert list(answer.token_ids) == ANSWER
    # It is counted, told, undone to the bit, and gone when nobody can go back to it.
    stats = sona.stats()
    assert (stats.deep_count, stats.accumulated_quality, stats.generation) == (1, 0.0, 1)
    assert stats.deep_avg_latency_secs == pytest.approx(result.latency_us / 1e6)
    [event] = heard
    assert event.result is result
    sona.rollback()
    assert np.array_equal(logits(llm, "deep"), nobody)
    assert info.name not in {one.name for one in llm.adapters.list()}


def test_a_request_that_names_an_adapter_has_that_one(llm: LLM, tmp_path: Path) -> None:
    sona = SonaLlm(llm, tenant="named")
    result = sona.deep_optimize(SAMPLES, QUICK)
    assert result.adapter is not None
    llm.adapters.export(result.adapter, tmp_path / "copy")
    llm.adapters.load("everybodys", read_peft(tmp_path / "copy"))
    assert np.array_equal(
        llm.logits(PROMPT, tenant="plain", adapter="everybodys"),
        llm.logits(PROMPT, tenant="named", adapter="everybodys"),
    )
    llm.adapters.unload("everybodys")


def test_by_default_it_learns_the_answers_that_were_rated_well(llm: LLM) -> None:
    config = SonaLlmConfig(training=QUICK, deep_trigger_threshold=2.5)
    sona = SonaLlm(llm, config, tenant="own answers")
    with pytest.raises(SonaError, match="0 of 0 samples"):
        sona.deep_optimize()
    answers = [sona.generate([*PROMPT, index], GREEDY) for index in range(6)]
    due = []
    for index, answer in enumerate(answers):
        sona.feedback(answer.completion_id, 0.0 if index < 2 else 0.9)
        due.append(sona.should_trigger_deep())
    assert due == [False, False, False, False, True, True]
    result = sona.deep_optimize()
    assert result.samples_used == 4
    kept = sona.learner.collected.samples()
    assert [one.prompt.tolist() for one in kept] == [[*PROMPT, index] for index in range(6)]
    assert [one.answer.tolist() for one in kept] == [list(one.token_ids) for one in answers]
    # A turn was taken, whether it helped or not.
    assert not sona.should_trigger_deep()
    sona.reset()
    assert not sona.learner.collected.samples()


def test_answers_that_are_not_good_are_nothing_to_train_on(llm: LLM) -> None:
    sona = SonaLlm(llm, SonaLlmConfig(training=QUICK, deep_trigger_threshold=0.5), tenant="not good")
    for index in range(3):
        sona.feedback(sona.generate([*PROMPT, index], GREEDY).completion_id, 0.4)
    assert sona.stats().accumulated_quality > 0.5
    assert not sona.should_trigger_deep()


def test_what_does_not_help_is_not_used(llm: LLM) -> None:
    """Trained on one answer and judged by another that it makes less likely."""
    sona, nobody = SonaLlm(llm, tenant="no help"), logits(llm, "")
    usual = llm.generate(PROMPT, GREEDY).token_ids
    opposite = TokenSample(prompt=np.array(PROMPT), answer=np.array(usual, np.uint32))
    samples = [SAMPLES[0], SAMPLES[0], SAMPLES[0], opposite]
    seed = next(seed for seed in range(99) if split(4, 0.25, seed)[1] == [3])
    config = TrainingConfig(rank=2, alpha=8.0, learning_rate=0.01, steps=8, held_out=0.25, seed=seed)
    result = sona.deep_optimize(samples, config)
    assert not result.applied
    assert "kept out of training" in result.notes[0]
    assert result.logprob_after is not None
    assert result.logprob_before is not None
    assert result.logprob_after < result.logprob_before
    assert result.adapter is None
    assert result.training is not None
    assert np.array_equal(logits(llm, "no help"), nobody)
    assert sona.state.generation == 0
    assert not [one for one in llm.adapters.list() if one.tenant == "no help"]


def test_one_turn_at_a_time_and_it_can_be_ended(llm: LLM) -> None:
    sona = SonaLlm(llm, tenant="ended")
    begun, refused = threading.Event(), []

    def train() -> None:
        try:
            sona.deep_optimize(
                SAMPLES, TrainingConfig(rank=2, steps=100_000), on_progress=lambda _: begun.set()
            )
        except InvalidOperationError as error:
            refused.append(error.message)

    thread = threading.Thread(target=train)
    thread.start()
    assert begun.wait(60)
    with pytest.raises(InvalidOperationError, match="trains already"):
        sona.deep_optimize(SAMPLES, QUICK)
    deep = llm.learning.deep("ended")
    assert deep.progress is not None
    assert llm.generate(PROMPT, GREEDY, tenant="ended").token_ids
    deep.stop()
    thread.join()
    assert "nothing has changed" in refused[0]
    assert sona.state.generation == 0
    assert sona.deep_optimize(SAMPLES, QUICK).applied


def test_feedback_during_a_turn_is_kept_or_said(llm: LLM) -> None:
    sona = SonaLlm(llm, SonaLlmConfig(sona=SonaConfig(ewc_lambda=0.0)), tenant="meanwhile")
    heard: list[int] = []

    def say(progress: TrainingProgress) -> None:
        if progress.step == 1:
            sona.instant_adapt(PROMPT, "abc", 1.0)
            heard.append(sona.state.generation)

    result = sona.deep_optimize(SAMPLES, QUICK, on_progress=say)
    assert (heard, result.generation) == ([1], 2)
    assert (sona.state.feedback, sona.state.updates, sona.state.deep) == (1, 1, 1)
    sona.rollback()
    assert sona.state.deep is None
    assert sona.state.b.any()


@pytest.mark.parametrize(
    ("samples", "config", "error"),
    [
        ([TrainingSample(query="a", response="b", quality=0.1)] * 3, QUICK, SonaError),
        (SAMPLES[:1], QUICK, SonaError),
        ([TrainingSample(query="a")] * 2, QUICK, TrainingError),
    ],
)
def test_samples_that_cannot_be_trained_on_are_refused(
    llm: LLM, samples: list[TokenSample], config: TrainingConfig, error: type[Exception]
) -> None:
    sona = SonaLlm(llm, tenant="refused")
    with pytest.raises(error):
        sona.deep_optimize(samples, config)
    assert sona.stats().deep_count == 0


def test_pairs_are_no_answers() -> None:
    with pytest.raises(ConfigError, match="no pairs"):
        SonaLlmConfig(training=TrainingConfig(objective=TrainingObjective.Dpo))


def test_a_restart_has_it_and_can_undo_it(tmp_path: Path) -> None:
    with LLM(MODEL, max_context=256) as llm, keeper(llm, tmp_path) as kept:
        kept.follow("acme")
        sona = SonaLlm(llm, tenant="acme")
        untaught = logits(llm, "acme")
        assert sona.deep_optimize(SAMPLES, QUICK).applied
        sona.instant_adapt(PROMPT, "abc", 1.0)
        learned = logits(llm, "acme")
        with pytest.raises(ZeroDivisionError):
            sona.deep_optimize(SAMPLES, QUICK, on_progress=lambda progress: 1 // 0 and None)
    [folder] = (tmp_path / "adapters").iterdir()
    assert [one.name for one in folder.iterdir()] == ["0000000001"]
    (folder / "0000000009.training").mkdir()  # of a process that was killed
    with LLM(MODEL, max_context=256) as llm, keeper(llm, tmp_path):
        assert [one.name for one in folder.iterdir()] == ["0000000001"]
        assert np.array_equal(logits(llm, "acme"), learned)
        sona = SonaLlm(llm, tenant="acme")
        assert llm.adapters.info("learned/acme/1").tenant == "acme"
        sona.rollback(2)
        assert np.array_equal(logits(llm, "acme"), untaught)
        assert not list(folder.iterdir())
    with LLM(MODEL, max_context=256) as llm, keeper(llm, tmp_path):
        assert np.array_equal(logits(llm, "acme"), untaught)


def test_an_adapter_that_is_lost_is_left_out_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with LLM(MODEL, max_context=256) as llm, keeper(llm, tmp_path) as kept:
        kept.follow("acme")
        untaught = logits(llm, "acme")
        SonaLlm(llm, tenant="acme").deep_optimize(SAMPLES, QUICK)
    for path in (tmp_path / "adapters").rglob("*.safetensors"):
        path.write_bytes(b"no adapter")
    with LLM(MODEL, max_context=256) as llm, keeper(llm, tmp_path):
        assert np.array_equal(logits(llm, "acme"), untaught)
        assert "lost its adapter" in caplog.text
        state = SonaLlm(llm, tenant="acme").state
        assert (state.deep, state.generation) == (None, 2)


def keeper(llm: LLM, folder: Path) -> LearningKeeper:
    return LearningKeeper(llm.learning, folder, llm.model_info.path)


def test_names_in_the_registry() -> None:
    assert DeepAdapters.name("acme/web", 3) == "learned/acme/web/3"
    odd = DeepAdapters.name("what is this?", 3)
    assert odd.startswith("learned/")
    assert odd != DeepAdapters.name("what is that?", 3)


@pytest.mark.real_model
def test_smollm2_takes_on_a_manner_of_answering(smollm2: LLM) -> None:
    """Answers in one manner, given as texts, make the same manner likelier in other answers."""
    given = sailor_examples()[:12]
    samples = [TrainingSample(query=one["prompt"], response=one["completion"]) for one in given]
    sona = SonaLlm(smollm2, tenant="sailor")
    question = smollm2.chat_tokens("What is the capital of Portugal?")
    answer = smollm2.tokenize("Ahoy! The capital of Portugal be Lisbon, matey.", add_bos=False)
    tokens = [*question, *answer]

    def unlikely(tenant: str) -> float:
        return float(np.mean(smollm2.score(tokens, tenant=tenant)[len(question) - 1 :]))

    before, others = unlikely("sailor"), smollm2.logits(question)
    config = TrainingConfig(
        rank=4, alpha=8.0, target_modules=("q_proj", "v_proj"), steps=4, gradient_accumulation=2
    )
    result = sona.deep_optimize(samples, config)
    assert result.applied
    assert unlikely("sailor") < before - 0.3
    assert [one.tenant for one in smollm2.adapters.list() if one.name == result.adapter] == ["sailor"]
    assert np.array_equal(smollm2.logits(question), others)
    sona.rollback()
    assert unlikely("sailor") == before
    smollm2.learning.end("sailor")
