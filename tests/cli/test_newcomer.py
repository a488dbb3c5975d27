"""What a first day with the command line found, each under its number."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ruvllm import hub
from ruvllm.cli import command as commands
from ruvllm.cli.asking import Asked
from ruvllm.cli.streaming import Answer
from ruvllm.errors import ConfigError, IoError
from ruvllm.llm import LLM
from ruvllm.outputs import Timings, Usage
from tests.cli.fake_engine import FakeLLM
from tests.cli.test_without_extras import without

Ruvllm = Callable[..., Any]


def summary(tokens: int) -> str:
    return Answer(
        text="Yes",
        interrupted=False,
        finish_reason="stop",
        usage=Usage(prompt_tokens=5, completion_tokens=tokens),
        timings=Timings(first_token_seconds=0.25, total_seconds=0.75, completion_tokens=tokens),
    ).summary()


def test_fault_7_one_token_has_no_speed() -> None:
    assert summary(0) == "0 tokens, first after 0.25 s"
    assert summary(1) == "1 token, first after 0.25 s"
    assert summary(2) == "2 tokens, 2.0 tokens/s, first after 0.25 s"


def test_fault_9_a_server_without_the_extra_says_what_to_install() -> None:
    for name in ("create_app", "ServedModel"):
        done = without(["fastapi"], f"from ruvllm.serve import {name}")
        last = done.stderr.splitlines()[-1]
        assert last.startswith("ModuleNotFoundError: ")
        assert "pip install 'ruvllm[serve]'" in last
        assert "fastapi" in last
    assert without(["fastapi"], "from ruvllm.serve import ServerSettings").returncode == 0


@pytest.mark.parametrize("command", [("run", "-p", "hi"), ("chat", "--system", "Be short.", "-p", "hi")])
def test_fault_10_a_base_model_in_a_chat_is_warned_of(
    ruvllm: Ruvllm, model: str, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    where = [model]
    assert "chat template" not in ruvllm(*command, *where).stderr
    monkeypatch.setattr(FakeLLM, "brings_chat_template", property(lambda _: False))
    warned = ruvllm(*command, *where)
    assert "brings no chat template" in warned.stderr
    assert "You said: hi" in warned.stdout
    assert ruvllm(*command, *where, "--quiet").stderr == ""


def test_fault_10_who_continues_a_text_is_not(
    ruvllm: Ruvllm, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeLLM, "brings_chat_template", property(lambda _: False))
    assert ruvllm("complete", "hi", "-m", model).stderr == ""


def test_fault_10_what_brings_one(tiny_gguf: LLM) -> None:
    assert tiny_gguf.brings_chat_template is False


@pytest.mark.real_model
def test_fault_10_an_instruct_model_does(smollm2: LLM) -> None:
    assert smollm2.brings_chat_template is True


@pytest.mark.parametrize("quiet", [False, True])
def test_fault_10_the_size_is_said_before_it_is_fetched(
    ruvllm: Ruvllm, model: str, quiet: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched: list[str] = []

    def resolve(name: str, **rest: object) -> Path:
        fetched.append(name)
        raise IoError("no network here")

    monkeypatch.setattr(hub, "resolve", resolve)
    for command in (
        ("complete", "hi", "-m", "gemma-3-270m"),
        ("bench", "gemma-3-270m"),
        ("prepare", "gemma-3-270m"),
    ):
        said = ruvllm(*command, *(["--quiet"] if quiet else [])).stderr
        entry = hub.DEFAULT_REGISTRY.find("gemma-3-270m")
        assert entry is not None
        assert ("gemma-3-270m: 253" in said) is not quiet
        assert (entry.licence_url in said) is not quiet
    assert fetched == ["gemma-3-270m"] * 3


def test_fault_10_what_is_here_is_taken_in_silence(ruvllm: Ruvllm, model: str) -> None:
    assert ruvllm("complete", "hi", "-m", model).stderr == ""


@pytest.mark.parametrize(
    ("command", "kind", "words"),
    [
        (("complete", "-m", "nope", "hi"), "NotFoundError", "nope"),
        (("complete", "-m", "nope", ""), "BadParameter", "the prompt is empty"),
        (("info", "nope"), "NotFoundError", "nope"),
        (("bench", "nope"), "NotFoundError", "nope"),
        (("prepare", "nope"), "NotFoundError", "nope"),
    ],
)
def test_fault_12_errors_are_json_where_json_was_asked_for(
    ruvllm: Ruvllm, command: tuple[str, ...], kind: str, words: str
) -> None:
    told = ruvllm(*command, "--json")
    plain = ruvllm(*command)
    assert plain.stdout == ""
    assert told.exit_code == plain.exit_code != 0
    # People who look on see the same as ever.
    assert told.stderr == plain.stderr != ""
    [line] = told.stdout.splitlines()
    error = json.loads(line)["error"]
    assert error["type"] == kind
    assert words in error["message"]


def test_fault_12_what_nobody_expected(ruvllm: Ruvllm, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*arguments: object, **rest: object) -> None:
        raise RuntimeError("out of cheese")

    monkeypatch.setattr(FakeLLM, "generate", fails)
    told = ruvllm("complete", "hi", "-m", model, "--json")
    assert told.exit_code == 1
    assert json.loads(told.stdout)["error"] == {"type": "RuntimeError", "message": "out of cheese"}


def test_fault_12_before_a_command_begins(
    ruvllm: Ruvllm, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*arguments: object, **rest: object) -> None:
        raise ConfigError("no such log")

    monkeypatch.setattr(commands, "log_to_stderr", fails)
    told = ruvllm("complete", "hi", "-m", model, "--json")
    assert told.exit_code == 2
    assert json.loads(told.stdout)["error"] == {
        "type": "ConfigError",
        "message": "Configuration error: no such log",
    }
    assert "no such log" in told.stderr


def test_fault_12_settings_that_do_not_fit_together(
    ruvllm: Ruvllm, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(group: Any, values: dict[str, Any]) -> Any:
        if group is Asked:
            raise ConfigError("these do not fit together")
        return gathered(group, values)

    gathered = commands._gathered
    monkeypatch.setattr(commands, "_gathered", fails)
    told = ruvllm("complete", "hi", "-m", model, "--json")
    assert told.exit_code == 2
    assert json.loads(told.stdout)["error"]["type"] == "ConfigError"


@pytest.mark.parametrize(
    ("line", "kind", "words"),
    [
        (("complete", "hi", "--json", "--no-such-flag"), "NoSuchOption", "--no-such-flag"),
        (("complete", "hi", "--json", "--threads", "0"), "BadParameter", "--threads"),
        (("complete", "hi", "--json", "--mlock"), "UsageError", "llama.cpp's"),
        (("list", "--json", "--max-tokens"), "NoSuchOption", "--max-tokens"),
        (("lst", "--json"), "UsageError", "Did you mean 'list'?"),
        (("unload", "--json"), "UsageError", "`ruvllm stop`"),
    ],
)
def test_fault_12_a_line_that_cannot_be_read(
    ruvllm: Ruvllm, line: tuple[str, ...], kind: str, words: str
) -> None:
    told = ruvllm(*line)
    assert told.exit_code == 2
    [written] = told.stdout.splitlines()
    error = json.loads(written)["error"]
    assert (error["type"], words in error["message"]) == (kind, True), error
    # People who look on see the same as ever.
    assert told.stderr == ruvllm(*(word for word in line if word != "--json")).stderr != ""


def test_fault_12_a_line_without_json_is_text(ruvllm: Ruvllm) -> None:
    told = ruvllm("complete", "hi", "--no-such-flag", "--", "--json")
    assert (told.exit_code, told.stdout) == (2, "")
    assert "--no-such-flag" in told.stderr
