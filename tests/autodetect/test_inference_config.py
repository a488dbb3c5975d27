"""What is said of a model is what loading it does."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import ruvllm.runtime.opening as opening
from ruvllm import LLM, DeviceType, GenerateParams, InferenceConfig, SystemCapabilities
from ruvllm.errors import ConfigError, NotFoundError, OutOfMemoryError
from ruvllm.observability.machine_memory import MachineMemory
from tests.conftest import FIXTURES

GGUF = FIXTURES / "gguf" / "llama-gqa.gguf"
FOLDER = FIXTURES / "models" / "gemma3-dual-rope"
REASONS = {"quantization", "kv_format", "max_context", "kv_cache_bytes", "threads"}
MACHINE = SystemCapabilities(
    device=DeviceType.Cpu,
    isa="avx2",
    isa_reason="the best of this processor",
    threads=6,
    threads_reason="six are there",
    total_bytes=10**10,
    free_bytes=10**9,
)


@pytest.fixture
def plans(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Loads with so many bytes free beside the weights; the context, the budget, the threads of loading."""
    caplog.set_level(logging.INFO, logger="ruvllm")

    def loaded(path: Path, left: int | None, **settings: Any) -> dict[str, Any]:
        monkeypatch.setattr(opening, "available_memory", lambda mapped: left)
        with LLM(path, **settings) as llm:
            record = next(one for one in reversed(caplog.records) if "key-value cache" in one.msg)
            assert isinstance(record.args, tuple)
            return {
                "max_context": llm.model_info.max_context,
                "kv_cache_bytes": record.args[4],
                "threads": llm.model_info.threads,
                "quantization": llm.model_info.quantization,
                "weight_bytes": llm.model_info.weight_bytes,
                "block_bytes": llm.pool_stats().block_bytes,
                "kv_format": {
                    llm._open.native.kv_shape((each, None, None))[1]: each
                    for each in ("f32", "int16", "int8", "k8v4")
                }[llm.pool_stats().block_bytes],
            }

    return loaded


def of_config(config: InferenceConfig) -> dict[str, Any]:
    """The same of what was planned, for loading with nothing set."""
    assert config.unasked is not None
    return {
        "max_context": config.unasked.max_context,
        "kv_cache_bytes": config.unasked.kv_cache_bytes,
        "kv_format": config.unasked.kv_format,
        "threads": config.threads,
        "quantization": config.quantization,
        "weight_bytes": config.weight_bytes,
    }


# Plenty, half of a full context and less, of each of the two; and a system that does not tell.
@pytest.mark.parametrize("path", [GGUF, FOLDER], ids=lambda path: path.name)
@pytest.mark.parametrize("left", [10**11, 10**8, 10**6, 2 * 10**5, None])
@pytest.mark.parametrize("settings", [{}, {"activations": "f32"}, {"max_context": 32, "threads": 1}])
def test_what_is_planned_is_what_loading_does(
    plans: Any, path: Path, left: int | None, settings: dict[str, Any]
) -> None:
    weights = InferenceConfig.auto(path, MACHINE).weight_bytes
    system = replace(SystemCapabilities.detect(), free_bytes=None if left is None else left + weights)
    config = InferenceConfig.auto(path, system, **settings)
    loaded = plans(path, left, **settings)
    del loaded["block_bytes"]
    assert of_config(config) == loaded
    assert config.reasons.keys() == REASONS
    assert all(config.reasons.values())
    assert config.fits is (None if left is None else True)


@pytest.mark.real_model
def test_a_real_model_on_this_machine(smollm2: LLM, smollm2_path: Path) -> None:
    """As `doctor` says and `LLM` does, with the memory that there is."""
    config = InferenceConfig.auto("smollm2-135m")
    info = smollm2.model_info
    assert (config.quantization, config.weight_bytes) == ("Q4_1", info.weight_bytes)
    assert (config.threads, config.unasked.max_context) == (info.threads, info.max_context)  # type: ignore[union-attr]
    assert InferenceConfig.auto(smollm2_path).reasons.keys() == config.reasons.keys()


def test_what_is_recommended_can_be_done(plans: Any) -> None:
    """Where the half of what is free holds 192 of 512 tokens in f32, int8 is named; asking makes it so."""
    whole, left = InferenceConfig.auto(GGUF, MACHINE), 300_000
    system = replace(MACHINE, free_bytes=left + whole.weight_bytes, threads=1)
    config = InferenceConfig.auto(GGUF, system)
    assert (config.kv_format, config.max_context) == ("int8", whole.max_context)
    assert config.unasked is not None
    assert config.unasked.kv_format == "f32"
    assert config.unasked.max_context == 192
    assert "LLM(model) keeps f32 all the same" in config.reasons["kv_format"]
    unasked = plans(GGUF, left)
    assert (unasked["kv_format"], unasked["max_context"]) == ("f32", config.unasked.max_context)
    asked = plans(GGUF, left, **config.keywords())
    del asked["block_bytes"]
    assert asked == {
        "max_context": config.max_context,
        "kv_cache_bytes": config.kv_cache_bytes,
        "kv_format": "int8",
        "threads": 1,
        "quantization": config.quantization,
        "weight_bytes": config.weight_bytes,
    }


def test_free_memory_changes_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """The format that is made unasked does not hang on what is free."""
    params = GenerateParams(max_tokens=24, temperature=0.0, ignore_eos=True)
    answers = []
    for left in (10**10, 3 * 10**5):
        monkeypatch.setattr(opening, "available_memory", lambda mapped, left=left: left)
        with LLM(GGUF) as llm:
            answers.append((llm.generate("one two", params).token_ids, llm.pool_stats().block_bytes))
    assert answers[0] == answers[1]


def test_a_model_that_does_not_fit(tmp_path: Path) -> None:
    config = InferenceConfig.auto(GGUF, replace(MACHINE, free_bytes=1000))
    assert (config.fits, config.max_context, config.kv_cache_bytes, config.unasked) == (False, 0, 0, None)
    assert "too little, for any quantization" in config.reasons["quantization"]
    with pytest.raises(OutOfMemoryError, match=r"does not fit here: .* take a smaller model"):
        config.keywords()
    # Of 32-bit weights a quarter would do.
    config = InferenceConfig.auto(GGUF, replace(MACHINE, free_bytes=520_000), max_context=16)
    assert config.better_quantization == "Q8_0"
    assert "`ruvllm quantize` make it of the original" in config.reasons["quantization"]


def test_settings_stand_and_are_said_to() -> None:
    config = InferenceConfig.auto(
        GGUF, MACHINE, threads=3, kv_format="k8v4", max_context=64, kv_cache_bytes=10**6
    )
    assert (config.threads, config.kv_format, config.max_context) == (3, "k8v4", 64)
    assert config.kv_cache_bytes == 10**6
    asked = {name for name, reason in config.reasons.items() if reason == "as asked"}
    assert asked == REASONS - {"quantization"}
    config = InferenceConfig.auto(GGUF, MACHINE)
    assert (config.threads, config.reasons["threads"]) == (6, "six are there")


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(NotFoundError, match="no file or folder"):
        InferenceConfig.auto("./nothing.gguf")
    with pytest.raises(NotFoundError, match="`ruvllm pull org/repo` fetches it"):
        InferenceConfig.auto("org/repo")
    with pytest.raises(ConfigError, match="made for 512 tokens at most"):
        InferenceConfig.auto(GGUF, max_context=10**6)
    with pytest.raises(TypeError, match="did you mean 'kv_format'"):
        InferenceConfig.auto(GGUF, kv_formt="int8")  # type: ignore[call-arg]


def test_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    system = SystemCapabilities.detect()
    memory = MachineMemory.now()
    assert system.device == DeviceType.Cpu
    assert system.total_bytes == memory.most_bytes
    assert (system.free_bytes is None) is (memory.available_bytes is None)
    assert system.free_bytes is None or system.total_bytes is None or system.free_bytes <= system.total_bytes
    assert SystemCapabilities.detect(isa="scalar", threads=1).isa == "scalar"
    monkeypatch.setenv("RUVLLM_THREADS", "1")
    monkeypatch.setenv("RUVLLM_ISA", "portable")
    system = SystemCapabilities.detect()
    assert (system.isa, system.threads) == ("portable", 1)
    assert InferenceConfig.auto(GGUF).threads == 1
    # Another machine is as it was told.
    assert InferenceConfig.auto(GGUF, MACHINE).threads == 6
    with pytest.raises(ConfigError, match="isa is 'none'"):
        SystemCapabilities.detect(isa="none")  # type: ignore[arg-type]


def test_a_tail_is_planned_with_and_handed_on() -> None:
    tail: Any = {"kv_format": "int8", "kv_tail": 16, "kv_tail_format": "int16"}
    config = InferenceConfig.auto(GGUF, MACHINE, kv_cache_bytes=10**6, **tail)
    keywords = config.keywords()
    assert {name: keywords[name] for name in tail} == tail  # type: ignore[literal-required]
    with LLM(GGUF, **keywords) as llm:
        assert set(llm.pool_stats().windows) == {None, 16 + 64}
        assert llm.model_info.max_context == config.max_context
    with pytest.raises(ConfigError, match="a tail in int16 keeps no more than int16"):
        InferenceConfig.auto(GGUF, MACHINE, kv_format="int16", kv_tail=16, kv_tail_format="int16")
