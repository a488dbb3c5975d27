"""The stand-in for the engine, held against what it stands for."""

import inspect
from collections.abc import Callable
from typing import Any

import pytest

from ruvllm.llm import LLM
from tests.cli.fake_engine import FakeLLM

Ruvllm = Callable[..., Any]
# What the stand-in has of its own: what it was asked, for tests to look at, and what its models recommend.
OWN = {"opened", "recommends"}
PUBLIC = [name for name in vars(FakeLLM) if not name.startswith("_") and name not in OWN]
METHODS = [name for name in PUBLIC if inspect.isfunction(vars(FakeLLM)[name])]


def parameters(kind: type, name: str) -> list[inspect.Parameter]:
    return list(inspect.signature(getattr(kind, name)).parameters.values())


@pytest.mark.parametrize("name", ["__init__", *METHODS])
def test_a_method_takes_what_the_engine_s_takes(name: str) -> None:
    """The same names in the same places; what it leaves out has a default there, or goes into its `**`."""
    real = [one for one in parameters(LLM, name) if one.kind is not inspect.Parameter.VAR_KEYWORD]
    named = [one for one in parameters(FakeLLM, name) if one.kind is not inspect.Parameter.VAR_KEYWORD]
    assert [(one.name, one.kind) for one in named] == [(one.name, one.kind) for one in real[: len(named)]]
    for one in real[len(named) :]:
        assert one.default is not inspect.Parameter.empty, f"{one.name} must be given to the engine"


@pytest.mark.parametrize("name", sorted(set(PUBLIC) - set(METHODS)))
def test_a_property_is_one_of_the_engine_s(name: str) -> None:
    assert isinstance(vars(FakeLLM)[name], property)
    assert not inspect.isfunction(inspect.getattr_static(LLM, name))


def test_what_the_command_line_sets_is_a_setting_of_the_engine(ruvllm: Ruvllm, model: str) -> None:
    assert ruvllm("complete", "x", "--model", model).exit_code == 0
    given = set(FakeLLM.opened[-1].settings)
    assert len(given) > 5
    assert given <= {one.name for one in parameters(LLM, "__init__")}
