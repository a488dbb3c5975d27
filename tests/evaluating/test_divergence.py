"""How far a model is from a reference: against plain sums over the vocabulary."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ruvllm
from ruvllm import LLM, EvaluationParams
from ruvllm.errors import ConfigError, GenerationError
from ruvllm.evaluating.divergence import LOGITS_AT_ONCE, compare_rows
from tests.conftest import FIXTURES

TINY = FIXTURES / "gguf" / "llama-gqa.gguf"
IDS = np.random.default_rng(3).integers(3, 250, 128).tolist()
PARAMS = EvaluationParams(context=32)


def softmax(row: np.ndarray) -> np.ndarray:
    weights = np.exp(row.astype(np.float64) - row.max())
    return weights / weights.sum()


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(2, 50), st.sampled_from([0.1, 3.0, 60.0]))
def test_rows_are_what_the_definitions_say(seed: int, places: int, width: int, scale: float) -> None:
    draw = np.random.default_rng(seed)
    ours, theirs = (draw.normal(scale=scale, size=(places, width)).astype(np.float32) for _ in range(2))
    targets = draw.integers(0, width, places)
    found = compare_rows(ours, theirs, targets)
    for place in range(places):
        q, p = softmax(ours[place]), softmax(theirs[place])
        known = p > 0
        # In the logarithm nothing is rounded to zero that is unlikely to the model.
        logs = ours[place].astype(np.float64) - np.logaddexp.reduce(ours[place].astype(np.float64))
        expected = (p[known] * (np.log(p[known]) - logs[known])).sum()
        assert found.divergences[place] == pytest.approx(expected, abs=1e-9, rel=1e-9)
        assert found.losses[place] == pytest.approx(-logs[targets[place]], abs=1e-9)
        assert np.exp(-found.reference_losses[place]) == pytest.approx(p[targets[place]], abs=1e-12)
        assert found.same_top[place] == (q.argmax() == p.argmax())


def test_many_rows_are_taken_some_at_a_time() -> None:
    width = LOGITS_AT_ONCE // 3
    draw = np.random.default_rng(0)
    ours, theirs = (draw.normal(size=(7, width)).astype(np.float32) for _ in range(2))
    targets = np.arange(7)
    whole = compare_rows(ours, theirs, targets)
    for place in range(7):
        rows = slice(place, place + 1)
        one = compare_rows(ours[rows], theirs[rows], targets[rows])
        assert one.divergences[0] == pytest.approx(whole.divergences[place], rel=1e-12)
        assert one.losses[0] == pytest.approx(whole.losses[place], rel=1e-12)


def test_nothing_is_lost_to_itself(tiny_gguf: LLM) -> None:
    found = ruvllm.evaluate(tiny_gguf, IDS, reference=tiny_gguf, params=PARAMS).divergence
    assert found is not None
    assert found.divergences.max() == 0
    assert (found.agreement.value, found.perplexity_ratio.value) == (1, 1)
    assert found.probability_change.value == 0


def test_fewer_bits_are_farther(tmp_path: Path, tiny_gguf: LLM) -> None:
    divergences = []
    for type_name in ("Q8_0", "Q4_0"):
        made = ruvllm.quantize(TINY, tmp_path / f"{type_name}.gguf", type_name).path
        with LLM(made) as llm:
            found = ruvllm.evaluate(llm, IDS, reference=TINY, params=PARAMS)
            assert found.divergence is not None
            assert found.text is found.divergence.scores
            # The model's own figures are those that it has without a reference.
            alone = ruvllm.evaluate(llm, IDS, params=PARAMS)
        assert alone.text is not None
        np.testing.assert_allclose(found.text.losses, alone.text.losses, atol=1e-5)
        reference = ruvllm.evaluate(tiny_gguf, IDS, params=PARAMS)
        assert reference.text is not None
        assert found.divergence.reference.perplexity.value == pytest.approx(reference.text.perplexity.value)
        change = np.exp(-found.text.losses) - np.exp(-reference.text.losses)
        expected = np.sqrt(np.mean(change**2))
        assert found.divergence.probability_change.value == pytest.approx(expected, rel=1e-3)
        divergences.append(found.divergence.mean)
        # The same as from the other side: pair by pair.
        ratio = reference.compared_with(alone).perplexity_ratio
        assert ratio is not None
        assert ratio.value == pytest.approx(found.divergence.perplexity_ratio.value, rel=1e-5)
        assert ratio.standard_error == pytest.approx(
            found.divergence.perplexity_ratio.standard_error, rel=1e-2
        )
    assert 0 < divergences[0].value < divergences[1].value / 10


def test_another_vocabulary_is_refused(
    tiny_gguf: LLM, tiny_folder: LLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = ruvllm.evaluate(tiny_gguf, IDS, reference=tiny_folder, params=PARAMS)
    # The same weights, once as a folder in F32 and once as a file.
    assert found.divergence is not None
    assert found.divergence.mean.value < 1e-3
    info = dataclasses.replace(tiny_folder.model_info, vocab_size=5)
    monkeypatch.setitem(vars(tiny_folder), "model_info", info)
    with pytest.raises(ConfigError, match="the reference 5; a reference must have the same vocabulary"):
        ruvllm.evaluate(tiny_gguf, IDS, reference=tiny_folder, params=PARAMS)


def test_broken_logits_are_said(tiny_gguf: LLM, tiny_folder: LLM, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(tokens: list[int]) -> np.ndarray:
        logits = np.zeros((len(tokens), tiny_folder.model_info.vocab_size), np.float32)
        logits[20, 3] = np.nan
        return logits

    monkeypatch.setattr(tiny_folder, "logits", broken, raising=False)
    with pytest.raises(GenerationError, match="logits of chunk 1 are not finite"):
        ruvllm.evaluate(tiny_gguf, IDS, reference=tiny_folder, params=PARAMS)
