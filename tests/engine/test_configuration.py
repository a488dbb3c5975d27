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
    ("cache", "asked"),
    [
        (DOCUMENTED, "a tail of 256 tokens in FP16 over a store in Q4"),
        (KvCacheConfig(), "a tail of 256 tokens in FP16 over a store in Q4"),
        (KvCacheConfig(tail_length=128), "a tail of 128 tokens in FP16 over a store in Q4"),
        (two(FP16, Q8), "a tail of 256 tokens in FP16 over a store in Q8"),
        (two(BF16, BF16), "asks for BF16 throughout"),
        (two(FP16, Q4, tail_length=0), "asks for Q4 throughout"),
        (two(BF16, Q4, tail_length=4096), "asks for BF16 throughout"),
        (two(FP16, Q4, tail_length=4095), "a tail of 4095 tokens in FP16 over a store in Q4"),
    ],
)
def test_a_cache_of_two_tiers_is_refused(cache: KvCacheConfig, asked: str) -> None:
    config = ModelConfig(kv_cache_config=cache)
    # Whatever else is said, and before anything is loaded: there is no such file.
    for settings in ({}, {"kv_format": "int16"}):
        with pytest.raises(ConfigError, match="kv_cache_config asks for") as refused:
            LLM("/no/such/model.gguf", config=config, **settings)
        assert asked in str(refused.value)
        assert "both to FP16, both to FP32 or both to Q8" in str(refused.value)


@pytest.mark.parametrize(
    ("cache", "kv_format"),
    [
        (None, "auto"),
        (two(FP16, FP16), "int16"),
        (two(FP32, FP32, tail_length=1), "f32"),
        (two(Q8, Q8), "int8"),
        (two(FP16, Q8, tail_length=0), "int8"),  # all of it is the store
        (two(FP16, Q4, tail_length=4096), "int16"),  # all of it is the tail
        (two(FP32, Q4, tail_length=300, max_tokens=300), "f32"),
    ],
)
def test_what_is_one_tier_in_effect_is_done(cache: KvCacheConfig | None, kv_format: str) -> None:
    config = ModelConfig(kv_cache_config=cache)
    assert settings_from(config, EngineSettings()).kv_format == kv_format
    most = min(4096, cache.max_tokens if cache else 4096)
    assert settings_from(config, EngineSettings()).context_limit == most


def test_a_context_beyond_the_tail_makes_two_tiers_of_it() -> None:
    config = ModelConfig(kv_cache_config=two(FP16, Q4, tail_length=4096))
    assert settings_from(config, EngineSettings(max_context=4096)).kv_format == "int16"
    with pytest.raises(ConfigError, match="one tier"):
        settings_from(config, EngineSettings(max_context=4097))


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
