"""Values and settings: defaults as documented, and refusals that name field, value and range."""

import dataclasses
import doctest
import importlib
import json
import logging
import math
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ruvllm
from ruvllm import (
    ConfigError,
    DeviceType,
    Dry,
    DynamicTemperature,
    GenerateParams,
    KvCacheConfig,
    Mirostat,
    ModelConfig,
    ModelSize,
    Precision,
    Timings,
    Usage,
    Xtc,
)
from ruvllm.observability import log_to_stderr
from tests.architecture import sources


def test_precision() -> None:
    sizes = {"FP32": 4, "FP16": 2, "BF16": 2, "Q8": 34 / 32, "Q4": 18 / 32, "Q4K": 144 / 256}
    assert {one.name: one.bytes_per_element for one in Precision} == sizes
    assert all(isinstance(one.bytes_per_element, float) for one in Precision)
    assert {one.name: one.bytes_per_element() for one in Precision} == sizes
    assert str(Precision.Q8.bytes_per_element * 32) == "34.0"
    assert ruvllm.Quantization is Precision


def test_documented_names_that_only_differ() -> None:
    assert ruvllm.CacheStats is ruvllm.PrefixCacheStats
    documented = "total_lookups cache_hits partial_hits cache_misses evictions memory_usage_bytes"
    assert {*documented.split()} <= {one.name for one in dataclasses.fields(ruvllm.CacheStats)}


@pytest.mark.parametrize(
    ("billions", "size"),
    [
        (0, "Tiny"),
        (0.999, "Tiny"),
        (1, "Small"),
        (2.9, "Small"),
        (3, "Medium"),
        (13, "Medium"),
        (13.1, "Large"),
    ],
)
def test_model_size(billions: float, size: str) -> None:
    assert ModelSize.from_parameters(round(billions * 1e9)).name == size


def test_devices() -> None:
    assert DeviceType.auto() == DeviceType.Cpu
    assert DeviceType.Cpu.is_present
    assert repr(DeviceType.Cuda(1)) == "DeviceType.Cuda(1)"
    assert DeviceType.Cuda(0) != DeviceType.Cuda(1)
    assert pickle.loads(pickle.dumps(DeviceType.Metal)) == DeviceType.Metal
    with pytest.raises(ConfigError, match="index"):
        DeviceType.Cuda(-1)
    with pytest.raises(ConfigError, match="'cpu', 'metal' or 'cuda'"):
        DeviceType("tpu")  # type: ignore[arg-type]


@pytest.mark.parametrize("device", [DeviceType.Metal, DeviceType.Cuda(0)])
def test_a_device_that_is_not_present(device: DeviceType) -> None:
    with pytest.raises(ConfigError, match=r"not present here; present: DeviceType\.Cpu"):
        ModelConfig(device=device)


def test_documented_defaults() -> None:
    params = {
        field.name: getattr(GenerateParams(), field.name) for field in dataclasses.fields(GenerateParams)
    }
    assert params == {
        "max_tokens": 256,
        "temperature": 0.7,
        "top_p": 0.9,
        "top_k": 0,
        "min_p": 0.0,
        "typical_p": 1.0,
        "top_n_sigma": 0.0,
        "repetition_penalty": 1.1,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "dry": None,
        "xtc": None,
        "dynamic_temperature": None,
        "mirostat": None,
        "logit_bias": {},
        "stop_sequences": (),
        "stop_token_ids": (),
        "min_tokens": 0,
        "bad_words": (),
        "seed": None,
        "logprobs": None,
        "ignore_eos": False,
        "cache_prefix": True,
        "min_cache_tokens": 16,
        "grammar": None,
        "thinking_tokens": None,
        "keep_special": (),
        "speculate": True,
        "prediction": None,
        "n": 1,
        "prompt_logprobs": None,
        "logits_processors": (),
    }
    assert dataclasses.asdict(Dry()) == {
        "multiplier": 0.8,
        "base": 1.75,
        "allowed_length": 2,
        "last_tokens": None,
        "sequence_breakers": ("\n", ":", '"', "*"),
    }
    assert (Xtc().probability, Xtc().threshold) == (0.5, 0.1)
    assert DynamicTemperature(range=1).exponent == 1
    assert (Mirostat().tau, Mirostat().eta) == (5, 0.1)
    config = ModelConfig()
    assert (config.max_context, config.use_flash_attention) == (4096, True)
    # Nothing said; what is said is done or refused.
    assert (config.quantization, config.kv_cache_config) == (None, None)
    assert (config.device, config.hf_token) == (DeviceType.Cpu, None)
    cache = KvCacheConfig()
    assert (cache.tail_length, cache.tail_precision, cache.store_precision) == (
        256,
        Precision.FP16,
        Precision.Q4,
    )
    assert (cache.max_tokens, cache.num_kv_heads, cache.head_dim, cache.migration_batch) == (4096, 8, 128, 64)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("max_tokens", 0, "max_tokens is 0; it must be an integer, 1 or more"),
        ("max_tokens", 1.5, "max_tokens is 1.5"),
        ("max_tokens", True, "max_tokens is True"),
        ("temperature", -0.1, "temperature is -0.1; it must be between 0 and 100"),
        ("temperature", math.nan, "temperature is nan"),
        ("temperature", "hot", "temperature is 'hot'; it must be a number between 0 and 100"),
        ("top_p", 0.0, "top_p is 0.0; it must be above 0 and at most 1"),
        ("top_p", 1.1, "top_p is 1.1"),
        ("top_k", -1, "top_k is -1"),
        ("min_p", 1.0, "min_p is 1.0; it must be at least 0 and below 1"),
        ("typical_p", 0.0, "typical_p is 0.0; it must be above 0 and at most 1"),
        ("typical_p", 1.5, "typical_p is 1.5"),
        ("top_n_sigma", -1, "top_n_sigma is -1; it must be between 0 and 100"),
        ("dry", 0.8, "dry is 0.8; it must be a Dry"),
        ("xtc", True, "xtc is True; it must be a Xtc"),
        ("dynamic_temperature", 1, "dynamic_temperature is 1; it must be a DynamicTemperature"),
        ("mirostat", 2, "mirostat is 2; it must be a Mirostat"),
        ("repetition_penalty", 0, "repetition_penalty is 0; it must be above 0 and finite"),
        ("repetition_penalty", math.inf, "repetition_penalty is inf"),
        ("presence_penalty", 2.5, "presence_penalty is 2.5; it must be between -2 and 2"),
        ("frequency_penalty", -3, "frequency_penalty is -3"),
        ("logit_bias", {5: 101}, "logit_bias of token 5 is 101; it must be between -100 and 100"),
        ("logit_bias", {-1: 1.0}, "a token id of logit_bias is -1"),
        ("logit_bias", [1], "it must be a mapping"),
        ("stop_sequences", "stop", "it must be a list or tuple of texts"),
        ("stop_sequences", ["a", ""], r"stop_sequences\[1\] is ''"),
        ("stop_sequences", ["a"] * 65, "has 65 texts; at most 64"),
        ("seed", -1, "seed is -1"),
        ("seed", 2**64, "seed is 18446744073709551616"),
        ("logprobs", 21, "logprobs is 21; it must be an integer from 0 to 20"),
        ("ignore_eos", 1, "ignore_eos is 1; it must be a bool"),
    ],
)
def test_params_that_are_refused(field: str, value: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        GenerateParams(**{field: value})


@pytest.mark.parametrize(
    ("kind", "field", "value", "words"),
    [
        (ModelConfig, "max_context", 0, "max_context is 0"),
        (ModelConfig, "use_flash_attention", None, "use_flash_attention is None; it must be a bool"),
        (ModelConfig, "quantization", "q4", "quantization is 'q4'; it must be a Precision"),
        (ModelConfig, "kv_cache_config", "q8", "kv_cache_config is 'q8'; it must be a KvCacheConfig"),
        (ModelConfig, "device", "cpu", "device is 'cpu'; it must be a DeviceType"),
        (ModelConfig, "hf_token", 5, "hf_token must be a text"),
        (Dry, "multiplier", 0, "dry.multiplier is 0; it must be above 0 and at most 100"),
        (Dry, "base", 0.9, "dry.base is 0.9; it must be between 1 and 100"),
        (Dry, "allowed_length", 0, "dry.allowed_length is 0"),
        (Dry, "last_tokens", 0, "dry.last_tokens is 0"),
        (Dry, "sequence_breakers", "\n", "dry.sequence_breakers is '.n'; it must be a list or tuple"),
        (Dry, "sequence_breakers", ["\n", ""], r"dry.sequence_breakers\[1\] is ''"),
        (Xtc, "probability", 0.0, "xtc.probability is 0.0; it must be above 0 and at most 1"),
        (Xtc, "threshold", 1.1, "xtc.threshold is 1.1; it must be between 0 and 1"),
        (DynamicTemperature, "range", 0, "dynamic_temperature.range is 0"),
        (Mirostat, "tau", -1, "mirostat.tau is -1; it must be between 0 and 100"),
        (Mirostat, "eta", 1.5, "mirostat.eta is 1.5; it must be between 0 and 1"),
        (KvCacheConfig, "tail_length", -1, "tail_length is -1"),
        (KvCacheConfig, "max_tokens", 10, "max_tokens is 10; it must be at least tail_length, 256"),
        (KvCacheConfig, "head_dim", 0, "head_dim is 0"),
        (KvCacheConfig, "tail_precision", Precision.Q4, "tail_precision is Q4; it must be FP32"),
    ],
)
def test_settings_that_are_refused(kind: Any, field: str, value: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        kind(**{field: value})


def test_values_do_not_change() -> None:
    for value in (
        GenerateParams(dry=Dry(sequence_breakers=["a"]), xtc=Xtc(), mirostat=Mirostat()),  # type: ignore[arg-type]
        Dry(),
        DynamicTemperature(range=0.5),
        ModelConfig(),
        KvCacheConfig(),
        Usage(prompt_tokens=1, completion_tokens=2),
    ):
        name = dataclasses.fields(value)[0].name
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, name, 1)
        assert not hasattr(value, "__dict__")
        assert pickle.loads(pickle.dumps(value)) == value
        assert dataclasses.replace(value) == value


def test_params_are_hashable_and_copied() -> None:
    bias = {1: 2.0}
    params = GenerateParams(logit_bias=bias, stop_sequences=["a"])
    bias[1] = 3.0
    assert params.logit_bias == {1: 2.0}
    assert params.stop_sequences == ("a",)
    assert hash(params) == hash(GenerateParams(logit_bias={1: 2.0}, stop_sequences=("a",)))


def test_numpy_numbers_are_numbers() -> None:
    assert GenerateParams(max_tokens=np.int64(5), temperature=np.float32(0.5)).max_tokens == 5  # type: ignore[arg-type]


def test_the_token_is_not_shown() -> None:
    assert "secret" not in repr(ModelConfig(hf_token="secret"))


def test_rates() -> None:
    timings = Timings(
        first_token_seconds=0.5, total_seconds=1.5, computed_prompt_tokens=100, completion_tokens=11
    )
    assert timings.prefill_tokens_per_second == 200
    assert timings.decode_tokens_per_second == 10
    nothing = Timings(first_token_seconds=0.0, total_seconds=0.0)
    assert (nothing.prefill_tokens_per_second, nothing.decode_tokens_per_second) == (0, 0)


MODULES_WITH_EXAMPLES = [
    sources.module_name(path) for path in sources.python_files() if ">>> " in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("module", MODULES_WITH_EXAMPLES)
def test_examples_in_the_docstrings(module: str) -> None:
    """Every line that begins with `>>>` is run: where doctest does not see an object, this does."""
    imported = importlib.import_module(module)
    found = doctest.DocTestFinder(exclude_empty=True).find(imported, module)
    runner = doctest.DocTestRunner(optionflags=doctest.IGNORE_EXCEPTION_DETAIL)
    for each in found:
        runner.run(each)
    assert runner.summarize(verbose=False).failed == 0
    written = re.findall(r"^\s*>>> ", Path(str(imported.__file__)).read_text(encoding="utf-8"), re.M)
    assert sum(len(each.examples) for each in found) == len(written)


def test_names() -> None:
    assert set(dir(ruvllm)) == set(ruvllm.__all__)
    with pytest.raises(AttributeError, match="nothing_like_it"):
        ruvllm.nothing_like_it  # noqa: B018


def test_logs(capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("ruvllm")
    try:
        log_to_stderr("warning")
        handler = log_to_stderr("info", form="json")
        assert [one for one in logger.handlers if isinstance(one, logging.StreamHandler)] == [handler]
        try:
            raise ValueError("inner")
        except ValueError:
            logging.getLogger("ruvllm.test").info("a %s message", "small", exc_info=True)
        logging.getLogger("ruvllm.test").debug("not shown")
        entry = json.loads(capsys.readouterr().err)
        assert (entry["level"], entry["logger"], entry["message"]) == (
            "info",
            "ruvllm.test",
            "a small message",
        )
        assert "inner" in entry["exception"]
        with pytest.raises(ConfigError, match="must be one of debug, info"):
            log_to_stderr("loud")
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)
