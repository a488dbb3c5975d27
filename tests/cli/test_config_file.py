"""Settings from a file: above defaults and below variables and flags; what is wrong is refused by name."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from ruvllm.cli.app import commands_by_words
from ruvllm.cli.config_file import FILE_NAME, ConfigFile
from tests.cli.fake_engine import FakeLLM
from tests.serve.conftest import tiny_chat_path
from tests.serve.process import serving

Ruvllm = Callable[..., Any]
__all__ = ["tiny_chat_path"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, which is empty."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def write(folder: Path, text: str, name: str = FILE_NAME) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def opened(ruvllm: Ruvllm, model: str, *arguments: str) -> dict[str, Any]:
    result = ruvllm("complete", "Hello", "--model", model, *arguments)
    assert result.exit_code == 0, result.output
    settings: dict[str, Any] = FakeLLM.opened[-1].settings
    return settings


def test_what_stands_above_what(
    ruvllm: Ruvllm, model: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert opened(ruvllm, model)["max_context"] is None
    write(folder, "max-context = 100")
    assert opened(ruvllm, model)["max_context"] == 100
    write(folder, "max-context = 100\n[complete]\nmax-context = 200\n[chat]\nmax-context = 300")
    assert opened(ruvllm, model)["max_context"] == 200
    monkeypatch.setenv("RUVLLM_MAX_CONTEXT", "400")
    assert opened(ruvllm, model)["max_context"] == 400
    assert opened(ruvllm, model, "--max-context", "500")["max_context"] == 500


def test_which_file(ruvllm: Ruvllm, model: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder, "threads = 1")
    named = write(folder, "threads = 2", "other.toml")
    last = write(folder, "threads = 3", "last.toml")
    assert opened(ruvllm, model)["threads"] == 1
    monkeypatch.setenv("RUVLLM_CONFIG", str(named))
    assert opened(ruvllm, model)["threads"] == 2
    assert opened(ruvllm, model, "--config", str(last))["threads"] == 3
    assert opened(ruvllm, model, f"--config={last}")["threads"] == 3
    missing = ruvllm("list", "--config", "nowhere.toml")
    assert missing.exit_code == 2
    assert "nowhere.toml" in missing.stderr


def test_values_are_those_of_the_command_line(ruvllm: Ruvllm, model: str, folder: Path) -> None:
    write(
        folder,
        """
        kv-format = "int8"
        [complete]
        temperature = 0.25
        stop = ["a", "b"]
        quiet = true
        """,
    )
    assert opened(ruvllm, model)["kv_format"] == "int8"
    _, params = FakeLLM.opened[-1].requests[-1]
    assert (params.temperature, params.stop_sequences) == (0.25, ("a", "b"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("thread = 4", "thread is no setting of any command: did you mean 'threads'"),
        ("max_context = 4", "did you mean 'max-context'"),
        ("[complete]\ntemprature = 1", "[complete] temprature is no setting: did you mean 'temperature'"),
        ("[complete]\nport = 1", "[complete] port is no setting"),
        ("[complete.more]\nthreads = 1", "[complete.more] is no command"),
        ("[complete.more.still]\nthreads = 1", "[complete.more.still] is no command"),
        ("[compleet]\nthreads = 1", "[compleet] is no command: did you mean 'complete'"),
        ("threads = 0", "(in ruvllm.toml)"),
        ("threads = 4.5", "(in ruvllm.toml)"),
        ("kv-format = 'q5'", "kv_format is 'q5'; it must be one of"),
        ("threads = [4]", "threads is a list; it takes one value"),
        ("threads = true", "threads is 'True'; it must be a text or a number"),
        ("quiet = 1", "quiet is 1; it must be true or false"),
        ("[complete]\nstop = [1979-05-27]", "it must be a text or a number"),
        ("threads 4", "ruvllm.toml is no TOML"),
        ("url = 'http://127.0.0.1:1'", "--config ruvllm.toml"),
    ],
)
def test_what_is_wrong_is_said(ruvllm: Ruvllm, model: str, folder: Path, text: str, said: str) -> None:
    write(folder, text)
    command = ("chat", "-p", "hi", model) if "url" in text else ("complete", "Hello", "--model", model)
    result = ruvllm(*command)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.replace("│", " ").split())
    assert FakeLLM.opened == []


def test_a_file_that_is_named_may_say_where_the_server_is(ruvllm: Ruvllm, folder: Path) -> None:
    path = write(folder, "url = 'http://127.0.0.1:1'", "mine.toml")
    result = ruvllm("ps", "--config", str(path))
    assert result.exit_code == 1
    assert "no server answers at http://127.0.0.1:1" in result.stderr


def test_one_that_was_found_is_told_of(ruvllm: Ruvllm, model: str, folder: Path) -> None:
    path = write(folder, "threads = 2")
    command = ("complete", "Hello", "--model", model)
    assert "ruvllm.toml in this folder says threads" in ruvllm(*command).stderr
    assert ruvllm(*command, "--quiet").stderr == ""
    assert ruvllm(*command, "--config", str(path)).stderr == ""
    # Nothing of it counts here.
    assert ruvllm(*command, "--threads", "3").stderr == ""


def test_help_is_shown_all_the_same(ruvllm: Ruvllm, folder: Path) -> None:
    write(folder, "nonsense = 1")
    assert ruvllm("complete", "--help").exit_code == 0
    assert ruvllm("complete", "--help-all").exit_code == 0


def test_errors_are_json_where_json_was_asked_for(ruvllm: Ruvllm, folder: Path) -> None:
    write(folder, "nonsense = 1")
    told = ruvllm("list", "--json")
    assert told.exit_code == 2
    assert "nonsense is no setting" in json.loads(told.stdout)["error"]["message"]


def test_tables_of_groups(ruvllm: Ruvllm, folder: Path) -> None:
    # By its name alone, so that what is said breaks at the same places whatever folder the test has.
    name = write(folder, "[adapters.list]\nurl = 'http://127.0.0.1:1'", "mine.toml").name
    result = ruvllm("adapters", "list", "--config", name)
    assert "http://127.0.0.1:1" in result.stderr
    write(folder, "[adapters.list]\nurll = 'x'", "mine.toml")
    assert "[adapters.list] urll is no setting" in ruvllm("adapters", "list", "--config", name).stderr
    write(folder, "[adapters]\nurl = 'x'", "mine.toml")
    assert "[adapters] url is no setting" in ruvllm("adapters", "list", "--config", name).stderr


def test_every_flag_can_stand_in_a_file() -> None:
    for words, command in commands_by_words().items():
        flags = {one.opts[0] for one in command.params if one.opts[0].startswith("--")}
        flags -= {"--help", "--config", "--help-all"}
        table: dict[str, Any] = {flag.removeprefix("--"): 1 for flag in flags}
        for word in reversed(words):
            table = {word: table}
        file = ConfigFile(path=Path(FILE_NAME), is_named=True, values=table)
        assert list(file.wrong_keys(words, command.params)) == []


def test_doctor_tells_what_holds_and_where_it_comes_from(
    ruvllm: Ruvllm, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUVLLM_LOG_LEVEL", "error")
    path = write(folder, "threads = 1\n[serve]\nport = 9000")
    told = json.loads(ruvllm("doctor", "--json", "--isa", "portable").stdout)
    assert told["settings"] == {
        "file": str(path),
        "threads": "1 (ruvllm.toml)",
        "isa": "portable (flag)",
        "json": "True (flag)",
        "log-level": "error (RUVLLM_LOG_LEVEL)",
    }
    assert told["problems"] == []
    # It looks at what it says of other commands as well.
    write(folder, "threads = 1\n[serve]\nprot = 9000\nport = 'x'\n[adapters.lod]\nurl = 'x'")
    result = ruvllm("doctor", "--json")
    assert result.exit_code == 1
    problems = json.loads(result.stdout)["problems"]
    assert any("[serve] prot is no setting: did you mean 'port'" in one for one in problems)
    assert any("[adapters.lod] is no command: did you mean 'adapters.load'" in one for one in problems)


def test_a_server_tells_what_holds(tiny_chat_path: Path, folder: Path) -> None:
    path = write(
        folder, "max-context = 300\n[serve]\nmax-waiting = 7\nidle-unload = 60\nport = 1", "mine.toml"
    )
    with serving(tiny_chat_path, "--config", path) as process:
        url = process.wait_until_ready().url
        props = httpx.get(f"{url}/props").json()
    held = {one["name"]: (one["value"], one["source"]) for one in props["settings"]}
    assert held["max-context"] == (300, "mine.toml")
    assert held["max-waiting"] == (7, "mine.toml")
    assert held["idle-unload"] == (60.0, "mine.toml")
    assert held["port"] == (0, "flag")
    assert held["shutdown-grace"] == (20, "RUVLLM_SHUTDOWN_GRACE")
    assert held["host"] == ("127.0.0.1", "default")
    assert props["default_generation_settings"] == {"n_ctx": 300}
    assert props["model_path"] == tiny_chat_path.name


def test_models_to_serve_may_stand_there(tiny_chat_path: Path, folder: Path) -> None:
    write(folder, f"[serve]\nmodels = ['one={tiny_chat_path}', 'two={tiny_chat_path}']\nport = 0")
    process = subprocess.Popen(
        [sys.executable, "-m", "ruvllm", "serve"],
        stderr=subprocess.PIPE,
        text=True,
        env={name: value for name, value in os.environ.items() if not name.startswith("RUVLLM_")},
    )
    try:
        assert process.stderr is not None
        line = next(line for line in process.stderr if "serving" in line)
        assert "serving one, two at " in line
    finally:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()
