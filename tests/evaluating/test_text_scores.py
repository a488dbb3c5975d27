"""Perplexity of a text: against the logits themselves, and against llama.cpp's figures of a real model."""

import math
from pathlib import Path

import numpy as np
import pytest

import ruvllm
from ruvllm import LLM, EvaluationParams
from ruvllm.errors import ConfigError
from ruvllm.evaluating import Estimate
from ruvllm.evaluating.estimate import exponential
from ruvllm.evaluating.text_scores import Chunks
from tests.conftest import FIXTURES

TINY = FIXTURES / "gguf" / "llama-gqa.gguf"
TEXT = "Permission is hereby granted, free of charge, to any person obtaining a copy. " * 40


def plain_losses(llm: LLM, tokens: list[int]) -> np.ndarray:
    """Of the second half's tokens, from the whole logits, in 64 bits."""
    logits = llm.logits(tokens).astype(np.float64)
    logprobs = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    places = np.arange(len(tokens) // 2, len(tokens) - 1)
    return -logprobs[places, np.array(tokens)[places + 1]]


def test_it_is_what_the_logits_say(tiny_gguf: LLM) -> None:
    heard: list[tuple[int, int]] = []
    found = ruvllm.evaluate(
        tiny_gguf, TEXT, params=EvaluationParams(context=32), progress=lambda *at: heard.append(at)
    )
    tokens = tiny_gguf.tokenize(TEXT, parse_special=False)
    count = len(tokens) // 32
    chunks = [tokens[32 * index : 32 * (index + 1)] for index in range(count)]
    if tiny_gguf.tokenizer and tiny_gguf.tokenizer.adds_bos:
        for chunk in chunks:
            chunk[0] = tiny_gguf.tokenizer.bos_token  # type: ignore[call-overload]
    expected = np.stack([plain_losses(tiny_gguf, chunk) for chunk in chunks])
    assert found.text is not None
    assert found.text.losses.shape == (count, 15)
    np.testing.assert_allclose(found.text.losses, expected, atol=1e-5)
    # llama.cpp's formula, spelt as it is there.
    each, total = expected.ravel(), expected.size
    mean, square = each.sum() / total, (each**2).sum() / total
    error = math.sqrt((square - mean * mean) / (total - 1)) * math.exp(mean)
    assert found.text.perplexity.value == pytest.approx(math.exp(mean), rel=1e-5)
    assert found.text.perplexity.standard_error == pytest.approx(error, rel=1e-4)
    assert heard[-1] == (count * 32, count * 32)


def test_tokens_are_taken_as_they_are(tiny_folder: LLM) -> None:
    ids = np.random.default_rng(5).integers(0, tiny_folder.model_info.vocab_size, 100).tolist()
    found = ruvllm.evaluate(tiny_folder, ids, params=EvaluationParams(context=24, max_chunks=3))
    assert found.text is not None
    expected = np.stack([plain_losses(tiny_folder, ids[at : at + 24]) for at in (0, 24, 48)])
    np.testing.assert_allclose(found.text.losses, expected, atol=1e-5)
    np.testing.assert_array_equal(found.text.token_ids[1], ids[37:48])


def test_each_chunk_begins_as_texts_do(tiny_gguf: LLM, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = tiny_gguf.tokenizer
    assert tokenizer is not None
    monkeypatch.setattr(type(tokenizer), "adds_bos", property(lambda self: True))
    monkeypatch.setattr(type(tokenizer), "bos_token", property(lambda self: 7))
    chunks = Chunks.of(tiny_gguf, TEXT, EvaluationParams(context=16))
    assert (chunks.token_ids[:, 0] == 7).all()
    plain = tiny_gguf.tokenize(TEXT, parse_special=False)
    assert chunks.token_ids[2, 1:].tolist() == plain[33:48]


def test_what_is_refused(tiny_gguf: LLM) -> None:
    with pytest.raises(ConfigError, match="nothing to evaluate on: give a text"):
        ruvllm.evaluate(tiny_gguf)
    with pytest.raises(ConfigError, match="a reference is compared over a text"):
        ruvllm.evaluate(tiny_gguf, choices=[], reference=tiny_gguf)
    with pytest.raises(ConfigError, match=r"the text has \d+ tokens, which is no chunk of 512"):
        ruvllm.evaluate(tiny_gguf, "short")
    with pytest.raises(ConfigError, match="context is 1024; the model holds 512"):
        ruvllm.evaluate(tiny_gguf, TEXT, params=EvaluationParams(context=1024))
    # What belongs to `params`, or to an engine that is running already, would be ignored.
    with pytest.raises(ConfigError, match="context, threads: settings of an engine, but the model is loaded"):
        ruvllm.evaluate(tiny_gguf, TEXT, context=64, threads=2)  # type: ignore[call-arg]
    with pytest.raises(ConfigError, match="kv_format: settings of an engine, but the model is loaded"):
        ruvllm.measure_importance(tiny_gguf, TEXT, kv_format="int8")
    with pytest.raises(ConfigError, match="context is 7"):
        EvaluationParams(context=7)
    with pytest.raises(ConfigError, match="max_chunks is 0"):
        EvaluationParams(max_chunks=0)


def test_endings_are_what_scores_say(tiny_gguf: LLM) -> None:
    ids = list(range(3, 60))
    whole = tiny_gguf.score(ids)
    [alone] = tiny_gguf.score_endings(ids[:20], [ids[20:]])
    np.testing.assert_allclose(alone, whole[19:], atol=1e-5)
    both = tiny_gguf.score_endings(ids[:40], [ids[40:], [9, 8, 7]])
    np.testing.assert_allclose(both[0], whole[39:], atol=1e-5)
    np.testing.assert_allclose(both[1], tiny_gguf.score([*ids[:40], 9, 8, 7])[39:], atol=1e-5)
    with pytest.raises(ConfigError, match="endings is empty"):
        tiny_gguf.score_endings(ids, [])
    with pytest.raises(ConfigError, match="at least one token"):
        tiny_gguf.score_endings(ids, [[]])


@pytest.mark.real_model
def test_beside_llama_cpp(smollm2_path: Path) -> None:
    """The fixture has llama.cpp's own losses of a text of 1600 tokens; how close, see fixtures/README.md."""
    fixture = np.load(FIXTURES / "real" / "SmolLM2-135M-Instruct.Q4_1.npz")
    ids, losses = fixture["input_ids"].tolist(), fixture["nll"].astype(np.float64)
    found = ruvllm.evaluate(smollm2_path, ids, params=EvaluationParams(context=len(ids)))
    assert found.text is not None
    difference = found.text.losses[0] - losses[-found.text.losses.size :]
    assert found.text.losses.size == len(ids) - len(ids) // 2 - 1
    assert abs(np.expm1(difference.mean())) < 0.005


def test_estimates_are_written_by_their_error() -> None:
    assert str(Estimate(17.2531, 0.3149)) == "17.25 ± 0.31"
    assert str(Estimate(1712.3, 31.2)) == "1712 ± 31"
    assert str(Estimate(0.0123456, 0.000123)) == "0.01235 ± 0.00012"
    assert str(Estimate(1.0, 0.0)) == "1.0000 ± 0.0000"
    assert str(Estimate(0.5, math.nan)) == "0.5"
    assert Estimate(0.5, math.nan).to_json() == {"value": 0.5, "standard_error": None}
    hopeless = exponential(Estimate(1e4, 1.0))
    assert (hopeless.value, hopeless.to_json()) == (math.inf, {"value": None, "standard_error": None})
