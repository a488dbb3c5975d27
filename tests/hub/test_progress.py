"""Bars while models are fetched and loaded: where a person looks, and nowhere else."""

import contextlib
import io
import sys
import types
from typing import Any

import pytest

from ruvllm import LLM, AsyncEngine, ConfigError, hub
from ruvllm.hub import progress
from ruvllm.runtime.loading_progress import reporting
from tests.conftest import FIXTURES

GGUF = FIXTURES / "gguf" / "llama-gqa.gguf"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def every_bar_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_DISABLE_PROGRESS_BARS", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    # Models that are loaded here are small.
    monkeypatch.setattr(progress, "SHOWN_AFTER_SECONDS", 0.0)


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs is a notebook's cell."""
    in_shell(monkeypatch, type("ZMQInteractiveShell", (), {})())


def in_shell(monkeypatch: pytest.MonkeyPatch, shell: object) -> None:
    ipython: Any = types.SimpleNamespace(get_ipython=lambda: shell)
    monkeypatch.setitem(sys.modules, "IPython", ipython)


def said_on(stream: io.StringIO, **given: Any) -> str:
    """What loading says there."""
    with contextlib.redirect_stderr(stream):
        LLM(GGUF, max_context=64, **given).close()
    return stream.getvalue()


def test_who_looks() -> None:
    for stream, looks in ((Terminal(), "terminal"), (io.StringIO(), None), (None, None)):
        with contextlib.redirect_stderr(stream):
            assert progress.audience() == looks


def test_a_shell_of_ipython_in_a_pipe_is_no_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    for shell in (type("TerminalInteractiveShell", (), {})(), None):
        in_shell(monkeypatch, shell)
        with contextlib.redirect_stderr(io.StringIO()):
            assert progress.audience() is None


def test_loading_shows_a_bar_in_a_terminal() -> None:
    assert f"Loading {GGUF.name}" in said_on(Terminal())


def test_loading_shows_a_line_in_a_notebook(notebook: None) -> None:
    said = said_on(io.StringIO())
    assert said.startswith(f"\rLoading {GGUF.name}: ")
    assert said.endswith(" 100 %\n")
    assert "\x1b" not in said


def test_where_nobody_looks_nothing_is_said() -> None:
    assert said_on(io.StringIO()) == ""
    with contextlib.redirect_stderr(io.StringIO()), reporting(True, "it") as report:
        assert report is None, "loading reports to nobody"


@pytest.mark.parametrize("given", [False, lambda done, total: None], ids=["False", "a function"])
def test_a_program_may_do_without(given: Any) -> None:
    assert said_on(Terminal(), progress=given) == ""


def test_a_variable_turns_it_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    assert said_on(Terminal()) == ""


def test_what_is_short_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "SHOWN_AFTER_SECONDS", 60.0)
    assert said_on(Terminal()) == ""


def test_a_function_is_called() -> None:
    calls: list[tuple[int, int]] = []
    said_on(io.StringIO(), progress=lambda done, total: calls.append((done, total)))
    assert calls[-1][0] == calls[-1][1] >= GGUF.stat().st_size // 2
    with pytest.raises(ConfigError, match="progress is 3; it must be True, False or a function"):
        said_on(io.StringIO(), progress=3)


async def test_opening_for_asyncio_does_the_same(notebook: None) -> None:
    for given, words in ((False, ""), (True, "100 %")):
        with contextlib.redirect_stderr(io.StringIO()) as said:
            async with AsyncEngine.open(GGUF, max_context=64, progress=given):
                pass
        assert words in said.getvalue()
        assert bool(said.getvalue()) == given


def test_fetching_is_quiet_where_loading_is(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []

    def resolve(name: object, *, quiet: bool, token: str | None) -> Any:
        asked.append(quiet)
        return GGUF

    monkeypatch.setattr(hub, "resolve", resolve)
    for given in (True, False, lambda done, total: None):
        LLM("smollm2-135m", max_context=64, progress=given).close()
    assert asked == [False, True, False]


def test_fetching_shows_a_line_in_a_notebook(notebook: None) -> None:
    with (
        contextlib.redirect_stderr(io.StringIO()) as said,
        progress.bar("Fetching it", quiet=False) as report,
    ):
        for done in (0, 1, 1, 2):
            report(done, 2)
    assert said.getvalue() == "\rFetching it: 0 %\rFetching it: 50 %\rFetching it: 100 %\n"
