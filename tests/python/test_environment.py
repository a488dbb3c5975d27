"""Variables that stand in for arguments which a program leaves open."""

import pytest

from ruvllm import LLM, ConfigError, _native
from tests.conftest import FIXTURES

MODEL = FIXTURES / "gguf" / "llama-gqa.gguf"


def test_the_instruction_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for isa in _native.System.detect().available_isas:
        monkeypatch.setenv("RUVLLM_ISA", isa)
        with LLM(MODEL) as llm:
            assert llm.model_info.isa == isa


def test_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUVLLM_THREADS", "3")
    with LLM(MODEL) as llm:
        assert llm.model_info.threads == 3
    with LLM(MODEL, threads=1) as llm:
        assert llm.model_info.threads == 1


@pytest.mark.parametrize(
    ("name", "value"), [("RUVLLM_ISA", "mmx"), ("RUVLLM_THREADS", "0"), ("RUVLLM_THREADS", "two")]
)
def test_nonsense_is_refused_by_name(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=value):
        LLM(MODEL)
