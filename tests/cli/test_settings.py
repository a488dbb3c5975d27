"""The flags that are the library's settings: each with its default and its help, and each does set it."""

from collections.abc import Callable
from typing import Any

import pytest
import typer.main

# The server's application is loaded with the real engine, before a stand-in is in its place.
import ruvllm.serve.app  # noqa: F401
from ruvllm._settings import Setting, settings_of
from ruvllm.cli.app import whole_app
from ruvllm.engine_settings import EngineSettings
from ruvllm.serve.settings import ServerSettings
from tests.cli.fake_engine import FakeLLM

Ruvllm = Callable[..., Any]
OF_ENGINE = [one for one in settings_of(EngineSettings) if one.has_flag]
OF_SERVER = [one for one in settings_of(ServerSettings) if one.has_flag]
LOADING = ["chat", "run", "complete", "bench", "serve", "doctor"]
# A value of each that is not its default, as it is written. A setting without one here fails below.
VALUES: dict[str, tuple[str, object]] = {
    "threads": ("3", 3),
    "isa": ("avx2", "avx2"),
    "max_context": ("512", 512),
    "activations": ("f32", "f32"),
    "kv_format": ("int8", "int8"),
    "kv_tail": ("64", 64),
    "kv_tail_format": ("int16", "int16"),
    "kv_cache_bytes": ("1000000", 1_000_000),
    "adapter_bytes": ("500000", 500_000),
    "kernel_pack": ("reference", "reference"),
    "weight_image": ("off", "off"),
    "speculation": ("off", "off"),
    "draft": ("small.gguf", "small.gguf"),
    "chat_template": ("chatml", "chatml"),
    "backend": ("mistralrs", "mistralrs"),
    "max_body_bytes": ("2048", 2048),
    "stream_interval": ("0.5", 0.5),
    "ping_seconds": ("2", 2.0),
    "write_seconds": ("3", 3.0),
    "metrics_prefix": ("vllm", "vllm"),
    # A switch: its flag stands alone.
    "learn": ("", True),
    "learn_tenants": ("3", 3),
    "learn_interval": ("5", 5.0),
    "learn_samples": ("4", 4),
    "idle_unload": ("7", 7.0),
}


def name_of(one: Any) -> str:
    return one.name if isinstance(one, Setting) else str(one)


def flag(command: str, one: Setting) -> Any:
    [found] = [
        each
        for each in typer.main.get_command(whole_app()).commands[command].params  # type: ignore[attr-defined]
        if each.name == one.name
    ]
    return found


@pytest.mark.parametrize(
    ("command", "one"),
    [(command, one) for one in OF_ENGINE for command in LOADING] + [("serve", one) for one in OF_SERVER],
    ids=name_of,
)
def test_a_command_has_its_flag(command: str, one: Setting) -> None:
    found = flag(command, one)
    assert (found.opts, found.envvar, found.default, found.help) == (
        list(one.flags),
        one.variable,
        one.default,
        one.help,
    )
    assert found.metavar == ("|".join(one.choices) or None)


def test_no_setting_of_one_is_a_setting_of_the_other() -> None:
    assert not {one.name for one in OF_ENGINE} & {one.name for one in OF_SERVER}


@pytest.fixture(autouse=True)
def any_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    """A backend that may not be installed, with settings that are not its own: they are only passed on."""
    monkeypatch.setattr("ruvllm.runtime.backend.chosen_backend", lambda settings: None)


@pytest.mark.parametrize("one", OF_ENGINE, ids=name_of)
def test_it_reaches_the_engine_by_flag_and_by_variable(
    ruvllm: Ruvllm, model: str, one: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, value = VALUES[one.name]
    for arguments in ([], [one.flags[0], text], [one.flags[-1], text]):
        assert ruvllm("complete", "Hello", "--model", model, *arguments).exit_code == 0
        assert FakeLLM.opened[-1].settings[one.name] == (value if arguments else one.default)
    monkeypatch.setenv(one.variable, text)
    assert ruvllm("complete", "Hello", "--model", model).exit_code == 0
    assert FakeLLM.opened[-1].settings[one.name] == value


def test_all_of_them_reach_what_is_served(
    ruvllm: Ruvllm, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[Any, ServerSettings]] = []
    monkeypatch.setattr(
        "ruvllm.serve.create_app", lambda served, settings, **rest: made.append((served, settings))
    )
    monkeypatch.setattr("ruvllm.serve.running.run_server", lambda app, **rest: None)
    monkeypatch.setattr("ruvllm.serve.running.open_closed_streams", lambda: None)
    every = [*OF_ENGINE, *OF_SERVER]
    flags = [part for one in every for part in (one.flags[0], VALUES[one.name][0]) if part]
    result = ruvllm("serve", model, "--max-waiting", "7", *flags)
    assert result.exit_code == 0, result.output
    [([served], settings)] = made
    assert {one.name: getattr(settings, one.name) for one in OF_SERVER} == {
        one.name: VALUES[one.name][1] for one in OF_SERVER
    }
    served._open_llm()
    opened = FakeLLM.opened[-1].settings
    assert {one.name: opened[one.name] for one in OF_ENGINE} == {
        one.name: VALUES[one.name][1] for one in OF_ENGINE
    }
    assert opened["limits"].max_waiting == 7


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["complete", "x", "--kv-format", "q5"],
            "kv_format is 'q5'; it must be one of auto, int16, f32, int8, k8v4, q4, q3",
        ),
        (["complete", "x", "--activations", "int4"], "activations is 'int4'"),
        (["serve", "--stream-interval", "2"], "stream_interval is 2.0; it must be between 0 and 1"),
        (["serve", "--ping-seconds", "0"], "ping_seconds is 0.0; it must be above 0 and at most 3600"),
    ],
)
def test_what_a_program_may_not_set_a_flag_may_not(ruvllm: Ruvllm, arguments: list[str], said: str) -> None:
    result = ruvllm(*arguments)
    assert result.exit_code == 2
    assert FakeLLM.opened == []
    shown = " ".join(result.stderr.replace("│", " ").split())
    assert f"Invalid value for '{arguments[-2]}'" in shown
    assert said in shown
