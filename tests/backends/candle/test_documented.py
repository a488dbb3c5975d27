"""`CandleBackend` as it is documented."""

import asyncio
from pathlib import Path

import pytest

from ruvllm import ConfigError, DeviceType, GenerateParams, LlmBackend, ModelConfig
from ruvllm.errors import NotFoundError
from tests.backends.candle.running import FILES, natively

CandleBackend = pytest.importorskip(
    "ruvllm_candle", reason="ruvllm-candle is not installed: make test-candle builds it"
).CandleBackend

TINY = FILES / "llama-gqa.gguf"
GREEDY = GenerateParams(temperature=0.0, repetition_penalty=1.0, max_tokens=8, ignore_eos=True)


def test_it_answers_on_its_device() -> None:
    backend = CandleBackend.new()
    assert isinstance(backend, LlmBackend)
    assert backend.device() == DeviceType.Cpu
    backend.load_model(str(TINY), ModelConfig(max_context=128))
    info = backend.model_info()
    assert info is not None
    assert (info.device, info.max_context, info.isa) == (DeviceType.Cpu, 128, "candle")
    with natively(TINY) as llm:
        assert backend.generate("The terms", GREEDY) == llm.generate("The terms", GREEDY).text
    assert backend.memory_stats().resident_bytes > 0
    backend.close()


def test_a_device_that_it_does_not_have_is_refused() -> None:
    assert CandleBackend.with_device(DeviceType.Cpu).device() == DeviceType.Cpu
    with pytest.raises(ConfigError, match=r"Cuda\(7\); candle has DeviceType.Cpu here"):
        CandleBackend.with_device(DeviceType.Cuda(7))


def test_download_model_gives_what_is_here(tmp_path: Path) -> None:
    assert asyncio.run(CandleBackend.download_model(str(TINY))) == TINY
    with pytest.raises(NotFoundError):
        asyncio.run(CandleBackend.download_model(str(tmp_path / "missing.gguf"), cache_dir=tmp_path))
