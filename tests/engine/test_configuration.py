"""`ModelConfig`: what it says is done, or refused by name; nothing is taken and then ignored."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from ruvllm import LLM, ConfigError, KvCacheConfig, ModelConfig, Precision
from ruvllm.engine_settings import EngineSettings
from ruvllm.runtime.configuration import settings_from
from tests.conftest import FIXTURES

GGUF = FIXTURES / "gguf" / "llama-gqa.gguf"
FOLDER = FIXTURES / "models" / "llama-gqa"
FP32, FP16, BF16, Q8, Q4 = Precision.FP32, Precision.FP16, Precision.BF16, Precision.Q8, Precision.Q4
# The documents' own example, word for word; its values are also the defaults.
DOCUMENTED = KvCacheConfig(tail_length=256, tail_precision=FP16, store_precision=Q4, max_tokens=4096)


def two(tail: Precision, store: Precision, **fields: Any) -> KvCacheConfig:
    return KvCacheConfig(tail_precision=tail, store_precision=store, **fields)


@pytest.mark.parametrize(
    ("cache", "problem"),
    [
        (two(BF16, BF16), "a store in BF16 cannot be kept; it may be FP16, FP32, Q8, Q4"),
        (two(BF16, Q8), "a tail in BF16 cannot be kept; it may be FP16, FP32, Q8"),
        (two(FP16, Precision.Q4K), "a store in Q4K cannot be kept"),
        (two(BF16, Q4, tail_length=4096), "a store in BF16 cannot be kept"),
        (two(Q8, FP16), "a tail in Q8 keeps no more than a store in FP16; give another tail_precision"),
    ],
)
def test_a_precision_without_a_format_is_refused(cache: KvCacheConfig, problem: str) -> None:
    config = ModelConfig(kv_cache_config=cache)
    # Whatever else is said, and before anything is loaded: there is no such file.
    for settings in ({}, {"kv_format": "int16"}):
        with pytest.raises(ConfigError, match=problem):
            LLM("/no/such/model.gguf", config=config, **settings)


@pytest.mark.parametrize(
    ("cache", "kv_format", "tail", "tail_format"),
    [
        (None, "auto", None, None),
        (two(FP16, FP16), "int16", 0, None),
        (two(FP32, FP32, tail_length=1), "f32", 0, None),
        (two(Q8, Q8), "int8", 0, None),
        (two(FP16, Q8, tail_length=0), "int8", 0, None),  # all of it is the store
        (two(FP16, Q4, tail_length=4096), "int16", 0, None),  # all of it is the tail
        (two(FP32, Q4, tail_length=300, max_tokens=300), "f32", 0, None),
        (DOCUMENTED, "q4", 256, "int16"),
        (KvCacheConfig(), "q4", 256, "int16"),
        (two(FP16, Q8), "int8", 256, "int16"),
        (two(Q8, Q4, tail_length=64), "q4", 64, "int8"),
        (two(FP32, FP16, tail_length=4095), "int16", 4095, "f32"),
        (two(FP16, Q4, tail_length=0), "q4", 0, None),
    ],
)
def test_what_is_configured_is_done(
    cache: KvCacheConfig | None, kv_format: str, tail: int | None, tail_format: str | None
) -> None:
    settings = settings_from(ModelConfig(kv_cache_config=cache), EngineSettings())
    assert (settings.kv_format, settings.kv_tail, settings.kv_tail_format) == (kv_format, tail, tail_format)
    assert settings.context_limit == min(4096, cache.max_tokens if cache else 4096)
    # A format that is named stands above all of it.
    given = settings_from(ModelConfig(kv_cache_config=cache), EngineSettings(kv_format="int8"))
    assert (given.kv_format, given.kv_tail, given.kv_tail_format) == ("int8", None, None)
    for named in (0, 7):
        other = settings_from(ModelConfig(kv_cache_config=cache), EngineSettings(kv_tail=named))
        assert (other.kv_format, other.kv_tail) == (kv_format, named)
        assert other.kv_tail_format == (tail_format if named else None)


def test_the_documents_own_cache_runs() -> None:
    with LLM(FOLDER, config=ModelConfig(kv_cache_config=DOCUMENTED)) as llm:
        assert llm.generate([3, 4, 5]).usage.completion_tokens > 0
        # What sees all, and its tail: the last 256 tokens, and 64 that one may go back to.
        assert set(llm.pool_stats().windows) == {None, 256 + 64}
    with LLM(FOLDER, config=ModelConfig(kv_cache_config=DOCUMENTED), kv_tail=0) as llm:
        assert set(llm.pool_stats().windows) == {None}


def test_a_context_beyond_the_tail_makes_two_tiers_of_it() -> None:
    config = ModelConfig(kv_cache_config=two(FP16, Q4, tail_length=4096))
    assert settings_from(config, EngineSettings(max_context=4096)).kv_format == "int16"
    beyond = settings_from(config, EngineSettings(max_context=4097))
    assert (beyond.kv_format, beyond.kv_tail) == ("q4", 4096)


@pytest.mark.parametrize("wanted", [Precision.Q4K, Q4, Q8, FP16, BF16])
@pytest.mark.parametrize("path", [GGUF, FOLDER])
def test_a_file_of_another_quantization_is_refused(path: Path, wanted: Precision) -> None:
    with pytest.raises(ConfigError) as refused:
        LLM(path, config=ModelConfig(quantization=wanted))
    expected = (
        f"quantization is {wanted.name}, which is {wanted.tensor_type}; the weights of {path.name} are F32"
    )
    assert expected in str(refused.value)


@pytest.mark.parametrize("path", [GGUF, FOLDER])
@pytest.mark.parametrize("wanted", [FP32, None])
def test_a_file_that_is_what_was_said(path: Path, wanted: Precision | None) -> None:
    with LLM(path, config=ModelConfig(quantization=wanted)) as llm:
        assert llm.model_info.quantization == "F32"


def test_a_mixture_is_known_by_its_name(tmp_path: Path) -> None:
    """Small models of Q4_K_M have few weights of Q4_K: rows too short for its blocks are of other types."""
    path = tmp_path / "small-Q4_K_M.gguf"
    shutil.copyfile(GGUF, path)
    with LLM(path, config=ModelConfig(quantization=Precision.Q4K)) as llm:
        assert llm.model_info.quantization == "F32"
    with pytest.raises(ConfigError, match=re.escape("quantization is Q8, which is Q8_0")):
        LLM(path, config=ModelConfig(quantization=Q8))


@pytest.mark.real_model
def test_a_real_file(smollm2_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"quantization is Q4K, which is Q4_K; the weights .* are Q4_1"):
        LLM(smollm2_path, config=ModelConfig(quantization=Precision.Q4K))
