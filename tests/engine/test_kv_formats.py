"""The key-value cache in 8 bits and fewer: how little it changes, and that a request stays its own."""

import json
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

import ruvllm._native as _native
from ruvllm import LLM, Completion, ConfigError, GenerateParams, KvCacheConfig, ModelConfig, Precision
from ruvllm.engine_settings import EngineSettings, KvFormat
from ruvllm.kernels import PagedKvCache
from ruvllm.runtime.configuration import settings_from
from ruvllm.runtime.kv_shape import KvShape
from tests.conftest import FIXTURES

GGUF = FIXTURES / "gguf" / "llama-gqa.gguf"
# What perplexity may change. llama.cpp moves by 0.4 % when it computes attention in another order; see
# fixtures/README.md.
PERPLEXITY_CHANGE = {"int8": 0.002, "k8v4": 0.015, "q4": 0.015, "q3": 0.03}
# The same of how much the logarithm of a token's probability changes, and it must: it is another format.
SCORE_CHANGE = {"int8": (1e-4, 0.03), "k8v4": (0.01, 0.1), "q4": (0.01, 0.1), "q3": (0.02, 0.2)}
GREEDY = GenerateParams(max_tokens=24, temperature=0.0, repetition_penalty=1.0, ignore_eos=True)


def scores(path: Path, kv_format: str) -> np.ndarray:
    """Of the 1600 tokens of the fixture's text, with nothing else rounded."""
    ids = np.load(FIXTURES / "real" / "SmolLM2-135M-Instruct.Q4_1.npz")["input_ids"].tolist()
    with LLM(path, activations="f32", kv_format=kv_format) as llm:
        return llm.score(ids).astype(np.float64)


@pytest.fixture(scope="module")
def exact_scores(smollm2_path: Path) -> np.ndarray:
    return scores(smollm2_path, "int16")


# 1600 tokens with nothing rounded, of the first format twice: a minute on a slow machine that others use.
@pytest.mark.timeout(240)
@pytest.mark.parametrize("kv_format", PERPLEXITY_CHANGE)
@pytest.mark.real_model
def test_perplexity_stays(smollm2_path: Path, exact_scores: np.ndarray, kv_format: str) -> None:
    difference = scores(smollm2_path, kv_format) - exact_scores
    assert abs(np.expm1(difference.mean())) < PERPLEXITY_CHANGE[kv_format]
    low, high = SCORE_CHANGE[kv_format]
    assert low < np.abs(difference).mean() < high


@pytest.mark.parametrize("kv_format", ["int8", "k8v4", "q4", "q3"])
@pytest.mark.real_model
def test_requests_together_say_what_each_says_alone(smollm2_path: Path, kv_format: str) -> None:
    prompts = [
        "The capital of France is",
        "Once upon a time there was a queen who",
        "def fibonacci(n):\n",
        "Water boils at a temperature of " * 9,
    ]
    with LLM(smollm2_path, kv_format=kv_format) as llm:
        together = llm.generate(prompts, GREEDY)
        assert isinstance(together, list)
        for prompt, one in zip(prompts, together, strict=True):
            alone = llm.generate(prompt, GREEDY)
            assert isinstance(alone, Completion)
            assert alone.token_ids == one.token_ids, prompt


def test_logits_of_a_reference_model_stay_near() -> None:
    ids = list(range(3, 200))
    logits = {}
    for kv_format in ("f32", "int8", "k8v4", "q4", "q3"):
        with LLM(GGUF, kv_format=kv_format) as llm:
            logits[kv_format] = llm.logits(ids)
    bounds = {"int8": (1e-5, 0.02), "k8v4": (1e-3, 0.2), "q4": (1e-3, 0.3), "q3": (1e-2, 0.5)}
    for kv_format, (low, high) in bounds.items():
        difference = np.abs(logits[kv_format] - logits["f32"]).max() / np.abs(logits["f32"]).max()
        assert low < difference < high, kv_format


def test_the_memory_is_planned_for_the_format() -> None:
    # Blocks of 2 x 16 x 16 numbers, for 2 heads and 3 layers; beside integers 32 scales a head.
    for kv_format, block_bytes in {"f32": 12288, "int16": 6912, "int8": 3840, "k8v4": 3072}.items():
        with LLM(GGUF, kv_format=kv_format, kv_cache_bytes=1 << 20) as llm:
            # The figures are those of the last plan, and the first one is on its way.
            deadline = time.monotonic() + 10
            while not (total := llm.memory_stats().kv_total_bytes) and time.monotonic() < deadline:
                time.sleep(0.01)
            assert total // block_bytes * block_bytes == total > (1 << 20) - block_bytes
            # The model's limit is 512 tokens, for which each format has room.
            assert llm.model_info.max_context == 512
        with LLM(GGUF, kv_format=kv_format, kv_cache_bytes=5 * block_bytes) as llm:
            assert llm.model_info.max_context == 5 * 16


@pytest.mark.parametrize(("kv_format", "times"), [("q4", 3), ("q3", 4.5)])
@pytest.mark.real_model
def test_few_bits_with_their_tail_take_a_part_of_f16(
    smollm2_path: Path, kv_format: KvFormat, times: float
) -> None:
    header = _native.ModelHeader.read(smollm2_path, "auto")
    _, block_bytes, windows = header.kv_shape((kv_format, None, None))
    held = KvShape(PagedKvCache.block_tokens, tuple(windows)).blocks_at(4096, 4096) * block_bytes
    # Keys and values of 3 heads of 64 numbers in 30 layers.
    assert times * held < 4096 * 30 * 2 * 3 * 64 * 2


@pytest.mark.parametrize("kv_format", ["q4", "q3"])
def test_few_bits_are_refused_where_a_bias_of_keys_cannot_be_kept_apart(
    tmp_path: Path, kv_format: KvFormat
) -> None:
    shutil.copytree(FIXTURES / "models" / "qwen2-bias-tied", tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / "config.json").read_text())
    config["rope_parameters"] |= {"rope_type": "dynamic", "factor": 2.0}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match=r"keys of this model have a bias.*take kv_format k8v4"):
        LLM(tmp_path, kv_format=kv_format)
    with LLM(tmp_path, kv_format="k8v4") as llm:
        assert llm.generate([3, 4, 5], GREEDY).usage.completion_tokens == 24


def test_a_tail_that_keeps_no_more_is_refused() -> None:
    with pytest.raises(ConfigError, match="kv_tail is 16, and a tail in int8 keeps no more than int8"):
        LLM(GGUF, kv_format="int8", kv_tail=16)
    with pytest.raises(ConfigError, match="kv_tail_format is 'int16', and there is no tail"):
        LLM(GGUF, kv_format="int8", kv_tail_format="int16")
    with LLM(GGUF, kv_format="int8", kv_tail=16, kv_tail_format="int16") as llm:
        assert set(llm.pool_stats().windows) == {None, 16 + 64}


def test_the_documented_configuration_chooses_it() -> None:
    cache = KvCacheConfig(tail_precision=Precision.Q8, store_precision=Precision.Q8)
    assert settings_from(ModelConfig(kv_cache_config=cache), EngineSettings()).kv_format == "int8"
    given = EngineSettings(kv_format="int16")
    assert settings_from(ModelConfig(kv_cache_config=cache), given).kv_format == "int16"
