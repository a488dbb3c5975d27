"""What users of Ollama and llama.cpp type is understood, or answered with what it is called here."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer.main

# The stand-in for `ruvllm.llm` has less than these modules import of it.
import ruvllm.serve.app  # noqa: F401
from ruvllm.cli.app import whole_app
from ruvllm.cli.foreign import COMMANDS, OTHER_FLAGS, SAME_FLAGS
from tests.cli.fake_engine import FakeLLM

Ruvllm = Callable[..., Any]


def said(result: Any) -> str:
    return " ".join(result.stderr.replace("│", " ").split())


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_of_others_is_answered(ruvllm: Ruvllm, name: str) -> None:
    result = ruvllm(name, "llama3.2:1b", "--flag")
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"No such command '{name}': {COMMANDS[name]}" in said(result)


def test_what_they_are_told_to_use_is_there() -> None:
    ours = typer.main.get_command(whole_app()).commands  # type: ignore[attr-defined]
    assert not set(COMMANDS) & set(ours)
    for advice in COMMANDS.values():
        for named in advice.split("`ruvllm ")[1:]:
            name = named.split()[0].strip("`")
            assert name == "--version" or name in ours


def test_a_near_miss_is_answered_with_the_right_name(ruvllm: Ruvllm) -> None:
    assert "Did you mean 'chat'?" in said(ruvllm("chatt"))
    assert "--temperature" in said(ruvllm("run", "--temprature", "0"))


@pytest.mark.parametrize("command", ["run", "chat", "complete"])
def test_llama_cpps_flags_are_taken(ruvllm: Ruvllm, model: str, command: str) -> None:
    line = "-m MODEL -p hello -n 7 -c 512 -t 3 --temp 0.5 --top-k 5 --top-p 0.6 --min-p 0.1"
    line += " --repeat-penalty=1.2 -s 9 -ngl 0"
    result = ruvllm(command, *line.replace("MODEL", model).split())
    assert (result.exit_code, result.stdout) == (0, "You said: hello\n"), result.output
    [llm] = FakeLLM.opened
    assert (llm.model, llm.settings["threads"], llm.settings["max_context"]) == (model, 3, 512)
    [(_, params)] = llm.requests
    assert (params.max_tokens, params.temperature, params.top_k, params.top_p, params.min_p) == (
        *(7, 0.5, 5, 0.6),
        0.1,
    )
    assert (params.repetition_penalty, params.seed) == (1.2, 9)


@pytest.mark.parametrize(("theirs", "ours"), SAME_FLAGS.items())
def test_what_is_the_same_has_a_flag_here(theirs: str, ours: str) -> None:
    command = typer.main.get_command(whole_app()).commands["run"]  # type: ignore[attr-defined]
    names = {name for parameter in command.params for name in parameter.opts}
    assert ours in names
    assert theirs not in names


@pytest.mark.parametrize("name", OTHER_FLAGS)
def test_the_others_end_the_command_with_what_to_do(ruvllm: Ruvllm, model: str, name: str) -> None:
    for value in ("1", None):
        result = ruvllm("complete", model, "x", name, *([value] if value else []))
        assert (result.exit_code, result.stdout) == (2, "")
        assert f"{name} is llama.cpp's: {OTHER_FLAGS[name][1]}" in said(result)
    assert FakeLLM.opened == []


def test_a_flag_that_is_for_another_command_is_said_to_be(ruvllm: Ruvllm, model: str) -> None:
    assert "--temp is --temperature here, which `ruvllm bench` does not have" in said(
        ruvllm("bench", model, "--temp", "1")
    )


def test_a_model_may_be_given_as_to_llama_bench_and_llama_server(
    ruvllm: Ruvllm, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    served: list[Any] = []
    monkeypatch.setattr("ruvllm.serve.create_app", lambda models, settings, **rest: served.extend(models))
    monkeypatch.setattr("ruvllm.serve.running.run_server", lambda app, **rest: served.append(rest))
    monkeypatch.setattr("ruvllm.serve.running.open_closed_streams", lambda: None)
    result = ruvllm("serve", "-m", model, "--host", "127.0.0.1", "--port", "9", "-c", "512")
    assert result.exit_code == 0, result.output
    assert (served[0].name, served[1]["port"]) == (Path(model).stem, 9)
    assert ruvllm("bench", "-m", model, "--prompt", "4", "--generate", "1").exit_code == 0


def test_what_stands_behind_two_dashes_is_a_prompt(ruvllm: Ruvllm, model: str) -> None:
    assert ruvllm("complete", model, "--", "-fa", "--temp").stdout == "You said: -fa --temp\n"


@pytest.mark.parametrize("text", ["--temp=0.5 is what?", "-b", "-ngl", "--repeat-penalty", "--lora"])
@pytest.mark.parametrize("flag", ["-p", "--prompt"])
def test_what_stands_behind_a_flag_is_its_value(ruvllm: Ruvllm, model: str, flag: str, text: str) -> None:
    result = ruvllm("complete", model, flag, text)
    assert result.stdout == f"You said: {text}\n", result.output


def test_the_value_of_another_flag_is_no_flag_either(ruvllm: Ruvllm, model: str) -> None:
    assert ruvllm("run", model, "--stop", "-b", "hi", "--temp", "0").stdout == "You said: hi\n"
    assert ruvllm("run", model, "-sys", "-fa", "hi").stdout == "You said: hi\n"
    # A switch has none behind it.
    assert "-b is llama.cpp's" in said(ruvllm("run", model, "hi", "--quiet", "-b"))


def test_a_server_is_told_of_adapters_by_name(ruvllm: Ruvllm, model: str) -> None:
    result = ruvllm("serve", model, "--lora", "tone.gguf")
    assert result.exit_code == 2
    assert "--lora is llama.cpp's" in said(result)
    assert "--adapter NAME=FILE" in said(result)


@pytest.mark.parametrize(("flag", "value"), [("-n", "-1"), ("-s", "-1"), ("-c", "0")])
def test_special_values_of_theirs_are_refused(ruvllm: Ruvllm, model: str, flag: str, value: str) -> None:
    """As docs/cli.md says."""
    assert ruvllm("complete", model, "x", flag, value).exit_code == 2
