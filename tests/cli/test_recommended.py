"""What is recommended of a model on the command line: it holds where nobody says otherwise, and is told."""

from collections.abc import Callable
from typing import Any

import pytest

from ruvllm import GenerateParams
from ruvllm.hub import Recommended
from tests.cli.fake_engine import FakeLLM

Ruvllm = Callable[..., Any]
SOME = Recommended(system_prompt="Be right.", temperature=0.2, repetition_penalty=1.0)
TOLD = "temperature 0.2, repetition_penalty 1, system prompt 'Be right.'"


@pytest.fixture(autouse=True)
def of_the_stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeLLM, "recommended", SOME)


def asked() -> tuple[str, float, float]:
    """What the engine was asked last: the prompt, the temperature and the penalty."""
    prompt, params = FakeLLM.opened[-1].requests[-1]
    text = FakeLLM.opened[-1].tokenizer.decode(prompt)  # type: ignore[arg-type]
    return text, params.temperature, params.repetition_penalty


def test_it_holds_where_nothing_is_said(ruvllm: Ruvllm, model: str) -> None:
    assert ruvllm("run", model, "hello").exit_code == 0
    assert asked() == ("<system>Be right.</><user>hello</><assistant>", 0.2, 1.0)


def test_what_is_said_stands_above_it(ruvllm: Ruvllm, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ruvllm("run", model, "hello", "-T", "0.7", "--system", "Be brief.").exit_code == 0
    # 0.7 is the default, and was said all the same.
    assert asked() == ("<system>Be brief.</><user>hello</><assistant>", 0.7, 1.0)
    monkeypatch.setenv("RUVLLM_REPETITION_PENALTY", "1.3")
    assert ruvllm("run", model, "hello").exit_code == 0
    assert asked()[1:] == (0.2, 1.3)


def test_an_empty_system_prompt_is_one(ruvllm: Ruvllm, model: str) -> None:
    told = ruvllm("run", model, "hello", "--system", "", "-v").stderr
    assert asked()[0] == "<system></><user>hello</><assistant>"
    assert "recommended for model: temperature 0.2, repetition_penalty 1\n" in told


def test_a_text_that_is_gone_on_with_is_no_question(ruvllm: Ruvllm, model: str) -> None:
    assert ruvllm("complete", "hello", "-m", model).exit_code == 0
    _, params = FakeLLM.opened[-1].requests[-1]
    assert (params.temperature, params.repetition_penalty) == (0.7, 1.1)


def test_help_says_where_it_holds(ruvllm: Ruvllm) -> None:
    for command in ("run", "complete"):
        told = " ".join(ruvllm(command, "--help").stdout.replace("│", " ").split())
        assert "[default: (0.7; in run and chat, what is recommended of the model)]" in told
        assert "[default: (1.1; in run and chat, what is recommended of the model)]" in told


def test_verbose_tells_what_of_it_holds(ruvllm: Ruvllm, model: str) -> None:
    assert f"recommended for model: {TOLD}\n" in ruvllm("run", model, "hello", "-v").stderr
    told = ruvllm("run", model, "hello", "-v", "--system", "Be brief.", "-T", "0").stderr
    assert "recommended for model: repetition_penalty 1\n" in told
    assert "recommended" not in ruvllm("run", model, "hello").stderr


def test_what_the_makers_recommend_stands_above_it_where_that_is_asked_for(
    ruvllm: Ruvllm, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    makers = GenerateParams(temperature=0.6, top_p=1.0, repetition_penalty=1.05)
    monkeypatch.setattr(FakeLLM, "recommends", {"model.gguf": makers})
    told = ruvllm("run", model, "hello", "--params", "model", "-v").stderr
    # The system prompt is ours alone: makers speak of sampling.
    assert asked() == ("<system>Be right.</><user>hello</><assistant>", 0.6, 1.05)
    assert "recommended for model: system prompt 'Be right.'\n" in told
    assert ruvllm("run", model, "hello", "--params", "model", "-T", "0.7").exit_code == 0
    assert asked()[1:] == (0.7, 1.05)
