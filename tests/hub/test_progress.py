"""Bars while models are fetched and loaded: where a person looks, and nowhere else."""

import contextlib
import io
import logging
import sys
import threading
import types
from collections.abc import Iterator
from typing import Any

import pytest

from ruvllm import LLM, AsyncEngine, ConfigError, hub
from ruvllm.evaluating.evaluation import opened
from ruvllm.hub import progress
from ruvllm.runtime.loading_progress import reporting
from tests.conftest import FIXTURES

GGUF = FIXTURES / "gguf" / "llama-gqa.gguf"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Written:
    """What programs put in the place of stderr: no more than what `print` needs."""

    def __init__(self) -> None:
        self.said = ""

    def write(self, text: str) -> int:
        self.said += text
        return len(text)

    def flush(self) -> None:
        pass


class Breaking(Terminal):
    """A terminal that is gone after so many writes."""

    def __init__(self, writes: int) -> None:
        super().__init__()
        self.writes = writes

    def write(self, text: str) -> int:
        self.writes -= 1
        if self.writes < 0:
            raise OSError("the terminal is gone")
        return super().write(text)


def closed_stream() -> io.StringIO:
    stream = Terminal()
    stream.close()
    return stream


@pytest.fixture(autouse=True)
def the_log_says_nothing() -> Iterator[None]:
    """A command that ran before in this process may have set the log up, on the same stream."""
    log = logging.getLogger("ruvllm")
    level = log.level
    log.setLevel(logging.CRITICAL)
    yield
    log.setLevel(level)


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
    streams: tuple[tuple[Any, str | None], ...] = (
        (Terminal(), "terminal"),
        (io.StringIO(), None),
        (None, None),
        (Written(), None),
        (closed_stream(), None),
    )
    for stream, looks in streams:
        with contextlib.redirect_stderr(stream):
            assert progress.audience() == looks


def test_nobody_looks_at_a_stream_that_can_only_be_written_to() -> None:
    for stream in (Written(), closed_stream()):
        with contextlib.redirect_stderr(stream):  # type: ignore[type-var]
            LLM(GGUF, max_context=64).close()
        assert getattr(stream, "said", "") == ""


# The thread in which rich draws may be the first that finds the terminal gone.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("writes", [0, 1, 3])
@pytest.mark.parametrize("where", ["terminal", "notebook"])
def test_what_cannot_be_drawn_ends_the_bar_alone(
    writes: int, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if where == "notebook":
        in_shell(monkeypatch, type("ZMQInteractiveShell", (), {})())
    with contextlib.redirect_stderr(Breaking(writes)), progress.bar("Fetching it", quiet=False) as report:
        for done in range(5):
            report(done, 4)
    said_on(Breaking(writes))


@pytest.mark.parametrize("bar", [progress.bar, progress.loading_bar])
def test_what_is_printed_during_a_bar_goes_where_it_is_printed(bar: Any) -> None:
    printed = io.StringIO()
    with (
        contextlib.redirect_stderr(Terminal()) as said,
        contextlib.redirect_stdout(printed),
        bar("Working", quiet=False) as report,
    ):
        report(1, 2)
        thread = threading.Thread(target=print, args=("an answer",))
        thread.start()
        thread.join()
    assert printed.getvalue() == "an answer\n"
    assert "an answer" not in said.getvalue()
    assert "Working" in said.getvalue()


def test_a_shell_of_ipython_in_a_pipe_is_no_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    for shell in (type("TerminalInteractiveShell", (), {})(), None):
        in_shell(monkeypatch, shell)
        with contextlib.redirect_stderr(io.StringIO()):
            assert progress.audience() is None


def test_loading_shows_a_bar_in_a_terminal() -> None:
    assert "Loading llama-gqa " in said_on(Terminal())


def test_loading_shows_a_line_in_a_notebook(notebook: None) -> None:
    said = said_on(io.StringIO())
    assert said.startswith("\rLoading llama-gqa: ")
    assert said.endswith(" 100 %\n")
    assert "\x1b" not in said


def test_where_nobody_looks_nothing_is_said() -> None:
    assert said_on(io.StringIO()) == ""
    with contextlib.redirect_stderr(io.StringIO()), reporting(True, "it") as report:
        assert report is None, "loading reports to nobody"


@pytest.mark.parametrize(
    "given", [False, None, lambda done, total: None], ids=["False", "None", "a function"]
)
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


def test_what_is_no_progress_is_said_before_anything_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "resolve", lambda *given, **more: pytest.fail("it was fetched"))
    with pytest.raises(ConfigError, match="progress is 3; it must be True, False or a function"):
        LLM("smollm2-135m", progress=3)  # type: ignore[arg-type]
    monkeypatch.undo()
    with LLM(GGUF, max_context=64, progress=False) as llm:
        with pytest.raises(ConfigError, match="progress is 3; it must be"):
            AsyncEngine(llm, progress=3)  # type: ignore[arg-type]
        AsyncEngine(llm, progress=None)


def test_what_is_evaluated_is_fetched_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []

    def resolve(name: object, *, quiet: bool, token: str | None, cache: object) -> Any:
        asked.append(quiet)
        return GGUF

    monkeypatch.setattr(hub, "resolve", resolve)
    with opened("smollm2-135m", {"max_context": 64}):
        pass
    assert asked == [False]


async def test_opening_for_asyncio_does_the_same(notebook: None) -> None:
    for given, words in ((False, ""), (True, "100 %")):
        with contextlib.redirect_stderr(io.StringIO()) as said:
            async with AsyncEngine.open(GGUF, max_context=64, progress=given):
                pass
        assert words in said.getvalue()
        assert bool(said.getvalue()) == given


def test_fetching_is_quiet_where_loading_is(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []

    def resolve(name: object, *, quiet: bool, token: str | None, cache: object) -> Any:
        asked.append(quiet)
        return GGUF

    monkeypatch.setattr(hub, "resolve", resolve)
    for given in (True, False, None, lambda done, total: None):
        LLM("smollm2-135m", max_context=64, progress=given).close()
    assert asked == [False, True, True, False]


def test_fetching_shows_a_line_in_a_notebook(notebook: None) -> None:
    with (
        contextlib.redirect_stderr(io.StringIO()) as said,
        progress.bar("Fetching it", quiet=False) as report,
    ):
        for done in (0, 1, 1, 2):
            report(done, 2)
    assert said.getvalue() == "\rFetching it: 0 %\rFetching it: 50 %\rFetching it: 100 %\n"
