"""`--params model`: the sampling that a model recommends, below the flags that are given."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ruvllm import ConfigError, GenerateParams, Mirostat, Xtc
from ruvllm.cli.chat_terminal import ChatTerminal
from ruvllm.cli.local_partner import LocalPartner
from ruvllm.cli.options import AdapterOptions, ChosenSampling, EngineOptions, LocalOptions, SamplingOptions
from ruvllm.engine_settings import EngineSettings
from tests.cli.fake_engine import FakeLLM

Ruvllm = Callable[..., Any]
OFF: dict[str, Any] = {"temperature": 1.0, "top_p": 1.0, "repetition_penalty": 1.0}


@pytest.fixture(autouse=True)
def recommends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models of these names recommend something."""
    makers = {
        "model.gguf": GenerateParams(**{**OFF, "temperature": 0.6, "top_k": 20, "xtc": Xtc(probability=0.5)}),
        "penalties.gguf": GenerateParams(presence_penalty=0.5),
        "other.gguf": GenerateParams(**{**OFF, "top_p": 0.8, "mirostat": Mirostat(tau=4)}),
    }
    monkeypatch.setattr(FakeLLM, "recommends", makers)


def asked_with(ruvllm: Ruvllm, *arguments: str) -> GenerateParams:
    result = ruvllm(*arguments)
    assert result.exit_code == 0, result.output
    [(_, params)] = FakeLLM.opened[-1].requests
    return params


@pytest.mark.parametrize(("command", "longest"), [("complete", 256), ("run", 1024), ("chat", 1024)])
def test_it_is_the_models_choice(ruvllm: Ruvllm, model: str, command: str, longest: int) -> None:
    params = asked_with(ruvllm, command, model, "hello", "--params", "model")
    expected = {**OFF, "temperature": 0.6, "top_k": 20, "xtc": Xtc(probability=0.5), "max_tokens": longest}
    assert params == GenerateParams(**expected)
    plain = asked_with(ruvllm, command, model, "hello")
    assert (plain.temperature, plain.top_k, plain.repetition_penalty) == (0.7, 0, 1.1)


@pytest.mark.parametrize("command", ["complete", "run"])
def test_flags_stand_above_it(
    ruvllm: Ruvllm, model: str, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Also one that says what would be the default.
    flags = ["-T", "0.7", "--seed", "5", "--repetition-penalty", "1.1", "-n", "9"]
    params = asked_with(ruvllm, command, model, "hello", "--params", "model", *flags)
    assert (params.temperature, params.repetition_penalty, params.seed, params.max_tokens) == (0.7, 1.1, 5, 9)
    assert (params.top_k, params.top_p, params.xtc) == (20, 1.0, Xtc(probability=0.5))
    monkeypatch.setenv("RUVLLM_TOP_K", "3")
    assert asked_with(ruvllm, command, model, "hello", "--params", "model").top_k == 3


@pytest.mark.parametrize("command", ["complete", "run"])
def test_a_model_that_recommends_nothing_ends_it(ruvllm: Ruvllm, tmp_path: Path, command: str) -> None:
    (tmp_path / "plain.gguf").touch()
    result = ruvllm(command, str(tmp_path / "plain.gguf"), "hello", "--params", "model")
    assert result.exit_code == 2
    assert "plain.gguf recommends no sampling" in result.stderr
    assert FakeLLM.opened[-1].closed


def test_what_has_no_flag_is_not_left_out_in_silence(ruvllm: Ruvllm, model: str) -> None:
    other = Path(model).with_name("penalties.gguf")
    other.touch()
    result = ruvllm("run", str(other), "hello", "--params", "model")
    assert result.exit_code == 2
    assert "recommends presence_penalty = 0.5, for which there is no flag" in result.stderr


def test_another_word_is_refused(ruvllm: Ruvllm, model: str) -> None:
    result = ruvllm("run", model, "hello", "--params", "modle")
    assert result.exit_code == 2
    assert "'modle' is not 'model'" in result.output
    assert not FakeLLM.opened


def test_in_a_chat_each_model_has_its_own(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    other = Path(model).with_name("other.gguf")
    other.touch()
    options = EngineOptions(settings=EngineSettings())
    local = LocalOptions(engine=options, adapters=AdapterOptions(), params="model")
    with LocalPartner(model, local, None, ChosenSampling(options=SamplingOptions()), quiet=True) as partner:
        chat = ChatTerminal(partner)
        assert chat._handle("hello")
        assert chat._handle("/set temperature 0.1")
        assert chat._handle("/set temperature")
        assert partner.conversation.params.temperature == 0.6
        assert chat._handle("/set top_k 5")
        assert chat._handle(f"/model {other}")
        assert chat._handle("hello again")
        assert partner.conversation.params == GenerateParams(
            **{**OFF, "top_p": 0.8, "top_k": 5, "mirostat": Mirostat(tau=4), "max_tokens": 1024}
        )
        # Where the next one recommends nothing, this one stays.
        plain = Path(model).with_name("plain.gguf")
        plain.touch()
        with pytest.raises(ConfigError, match=r"plain\.gguf recommends no sampling"):
            partner.change_model(str(plain), lambda question: True)
        assert partner.model == str(other)
        assert partner.conversation.params.mirostat == Mirostat(tau=4)
    [first, *_] = FakeLLM.opened
    [(_, params)] = first.requests
    assert (params.temperature, params.top_k, params.xtc) == (0.6, 20, Xtc(probability=0.5))
