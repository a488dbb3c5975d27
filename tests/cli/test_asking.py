"""`ruvllm run MODEL PROMPT` in Ollama's shape, `-m MODEL -p PROMPT` in llama.cpp's, and what stdin holds."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.cli.fake_engine import FakeLLM
from tests.conftest import FIXTURES
from tests.support.scripted_server import Reply, ScriptedServer, answer_events

Ruvllm = Callable[..., Any]
TINY = str(FIXTURES / "gguf" / "llama-gqa.gguf")


@pytest.mark.parametrize("name", ["run", "chat"])
@pytest.mark.parametrize(
    ("words", "stdin", "asked"),
    [
        (["MODEL", "What is 2+2?"], "", "What is 2+2?"),
        (["MODEL", "What", "is", "2+2?"], "", "What is 2+2?"),
        (["MODEL"], "from a pipe\n", "from a pipe"),
        (["MODEL", "Review this."], "a diff\n", "a diff\n\nReview this."),
        (["-m", "MODEL", "-p", "hello"], "", "hello"),
        (["-m", "MODEL", "hello", "you"], "", "hello you"),
        (["--prompt", "hello", "MODEL"], "a text\n", "a text\n\nhello"),
        (["--model=MODEL", "--", "--hello"], "", "--hello"),
    ],
)
def test_a_model_is_asked_once(
    ruvllm: Ruvllm, model: str, name: str, words: list[str], stdin: str, asked: str
) -> None:
    result = ruvllm(name, *[word.replace("MODEL", model) for word in words], stdin=stdin)
    assert (result.exit_code, result.stdout) == (0, f"You said: {asked}\n"), result.output
    [llm] = FakeLLM.opened
    assert llm.model == model


def test_a_text_is_gone_on_with_as_it_is(ruvllm: Ruvllm, model: str) -> None:
    assert ruvllm("complete", model, "and more", stdin="a text ").stdout == "You said: a text and more\n"
    assert FakeLLM.opened[-1].requests[0][0] == "a text and more"


def test_the_variable_names_a_model_where_nothing_else_does(
    ruvllm: Ruvllm, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other.gguf"
    other.touch()
    monkeypatch.setenv("RUVLLM_MODEL", str(other))
    assert ruvllm("run", "-p", "x").exit_code == 0
    assert ruvllm("run", model, "x").stdout == "You said: x\n"
    assert [llm.model for llm in FakeLLM.opened] == [str(other), model]


def test_whoever_names_no_model_is_told_that_it_is_a_small_one(
    ruvllm: Ruvllm, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault 1: the first contact is with the smallest model that there is."""
    monkeypatch.setattr("ruvllm.cli.opening.fetched", lambda name, **rest: Path(model))
    said = "often wrong: `ruvllm list --fits` names better models"
    result = ruvllm("run", "-p", "x")
    assert (result.stdout, said in result.stderr) == ("You said: x\n", True)
    assert said not in ruvllm("run", "-p", "x", "--quiet").stderr
    assert said not in ruvllm("run", "smollm2-135m", "x").stderr


@pytest.mark.parametrize("name", ["run", "chat", "complete"])
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["What is 2+2?"], "stands where the model does"),
        (["MODEL", "x", "-p", "y"], "given twice"),
        (["MODEL", "-"], "stdin is read where it is no terminal"),
    ],
)
def test_what_is_a_slip_is_said(ruvllm: Ruvllm, model: str, name: str, words: list[str], said: str) -> None:
    result = ruvllm(name, *[word.replace("MODEL", model) for word in words])
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in " ".join(result.stderr.replace("│", " ").split())
    assert FakeLLM.opened == []


@pytest.mark.parametrize("mode", ["0", "1"])
def test_stdin_that_is_no_text_is_said(model: str, mode: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ruvllm", "run", model, "What is it?"],
        input=b"\xff\xd8\xff",
        capture_output=True,
        timeout=50,
        check=False,
        env={**os.environ, "PYTHONUTF8": mode},
    )
    assert done.returncode == 2
    assert b"it is no text" in done.stderr


def test_an_answer_as_an_object(ruvllm: Ruvllm, model: str) -> None:
    result = json.loads(ruvllm("run", model, "x", "--json", "-n", "9").stdout)
    keys = "text token_ids finish_reason usage timings logprobs completion_id reasoning tool_calls"
    assert [*result] == keys.split()
    assert (result["text"], result["finish_reason"]) == ("You said: x", "stop")
    assert result["usage"]["total_tokens"] == 4


def test_a_servers_answer_as_an_object(ruvllm: Ruvllm) -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13}

    def answer(request: Any) -> Reply:
        if request.path == "/v1/models":
            return Reply.json({"data": [{"id": "one", "owned_by": "somebody"}]})
        return Reply.stream(answer_events(["Hm", "."], usage=usage))

    with ScriptedServer(answer) as server:
        result = json.loads(ruvllm("run", "--url", server.url, "one", "x", "--json").stdout)
    assert [*result] == ["text", "finish_reason", "usage", "timings"]
    assert (result["text"], result["finish_reason"]) == ("Hm.", "stop")
    assert result["usage"]["completion_tokens"] == 3


@pytest.mark.skipif(os.name == "nt", reason="closed by a POSIX shell")
@pytest.mark.parametrize("name", ["run", "chat", "complete"])
def test_closed_stdin_is_empty(model: str, name: str) -> None:
    """As some service managers start programs."""
    command = shlex.join([sys.executable, "-m", "ruvllm", name, model])
    done = subprocess.run(
        ["sh", "-c", f"{command} <&-"], capture_output=True, text=True, timeout=50, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "PROMPT" in done.stderr or "prompt is empty" in done.stderr
    assert "AttributeError" not in done.stderr


def test_where_stdin_is_closed_no_conversation_begins(
    ruvllm: Ruvllm, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ruvllm.cli.asking.sys", SimpleNamespace(stdin=None))
    monkeypatch.setattr("ruvllm.cli.chat.sys", SimpleNamespace(stdout=SimpleNamespace(isatty=lambda: True)))
    assert "nothing to answer" in " ".join(ruvllm("chat", model).stderr.replace("│", " ").split())
    assert ruvllm("chat", model, "hello").stdout == "You said: hello\n"


def with_stdin_closed(line: list[str], **settings: Any) -> "subprocess.CompletedProcess[str]":
    command = shlex.join([sys.executable, "-m", "ruvllm", *line])
    return subprocess.run(
        ["sh", "-c", f"{command} <&-"], capture_output=True, text=True, timeout=50, check=False, **settings
    )


@pytest.mark.skipif(os.name == "nt", reason="closed by a POSIX shell")
def test_nobody_is_asked_before_a_model_is_deleted_where_stdin_is_closed(tmp_path: Path) -> None:
    done = with_stdin_closed(["rm", "smollm2-135m"], env={**os.environ, "RUVLLM_HOME": str(tmp_path)})
    assert done.returncode == 1
    assert "smollm2-135m is not on this machine" in done.stderr


@pytest.mark.skipif(os.name == "nt", reason="closed by a POSIX shell")
@pytest.mark.parametrize(
    "line",
    [
        ["bank", "add", "bank", "-", "-m", TINY],
        ["bank", "search", "bank", "-", "-m", TINY],
        ["decide", "questions.json", "-m", TINY],
        ["eval", TINY, "-"],
        ["imatrix", TINY, "-"],
    ],
    ids=lambda line: " ".join(line[:2]) if line[0] == "bank" else line[0],
)
def test_what_reads_stdin_says_that_it_is_closed(tmp_path: Path, line: list[str]) -> None:
    (tmp_path / "questions.json").write_text('[{"type": "predicate", "instructions": "Is it so?"}]')
    done = with_stdin_closed(line, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "stdin is closed" in done.stderr
