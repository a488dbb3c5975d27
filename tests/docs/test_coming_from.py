"""Each row of docs/coming-from.md does what it says: its last cell runs, and what comes out is looked at."""

import contextlib
import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from ruvllm import LLM
from ruvllm.cli.app import whole_app
from ruvllm.serve import create_app
from tests.docs.coming_from_checks import CHECKS
from tests.docs.coming_from_server import COMMANDS
from tests.docs.tables import PAGE, Row, preparation, rows, value_of
from tests.serve.running import running

ROOT = PAGE.parents[1]
ROWS = list(rows())
IN_PYTHON = [row for row in ROWS if row.columns[1] == "vLLM"]
COMMAND_ROWS = [row for row in ROWS if row.columns[1] == "Ollama"]


@pytest.fixture(scope="module")
def prepared(smollm2_path: Path) -> Iterator[dict[str, Any]]:
    """What stands before each cell, with the server of the page at a port that is free."""
    names: dict[str, Any] = {}
    with contextlib.ExitStack() as ends:
        llm = ends.enter_context(LLM("smollm2-135m"))
        server = ends.enter_context(running(create_app({"smollm2-135m": llm})))
        code = preparation().replace("http://127.0.0.1:8000", server.url)
        exec(compile(code, PAGE.name, "exec"), names)
        for one in ("client", "llm"):
            ends.callback(names[one].close)
        yield names


def test_the_page_has_rows_enough() -> None:
    assert len(IN_PYTHON) >= 60
    assert len(COMMAND_ROWS) >= 20
    assert len(IN_PYTHON) + len(COMMAND_ROWS) == len(ROWS)


def test_each_row_has_a_check_and_each_check_its_row() -> None:
    names = [row.what for row in IN_PYTHON]
    assert sorted(names) == sorted(CHECKS)
    assert sorted(row.what for row in COMMAND_ROWS) == sorted(COMMANDS), "each of one name once"


def test_what_is_not_here_says_what_to_do_instead() -> None:
    for row in ROWS:
        if row.is_refused:
            assert len(row.here.removeprefix("**no**")) > 20, row.what


@pytest.mark.real_model
@pytest.mark.parametrize("row", IN_PYTHON, ids=lambda row: row.what)
def test_row(row: Row, prepared: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = dict(prepared)
    # What a row writes it writes into a folder of its own; what it reads is where it is.
    monkeypatch.chdir(tmp_path)
    value = value_of([one.replace('"tests/', f'"{ROOT.as_posix()}/tests/') for one in row.code], names)
    try:
        CHECKS[row.what](value, names)
    finally:
        close(value, names)


def close(value: object, names: dict[str, Any]) -> None:
    """What a row opened it leaves open, as a program does; here the next row needs the memory."""
    for one in (value, names.get("engine")):
        if one is not names["llm"] and hasattr(one, "close"):
            one.close()
    for adapter in names["llm"].adapters.list():
        names["llm"].adapters.unload(adapter.name)


@pytest.mark.parametrize("row", COMMAND_ROWS, ids=lambda row: row.what)
def test_command(row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line takes it, and understands it so."""
    monkeypatch.chdir(ROOT)
    for variable in [name for name in os.environ if name.startswith("RUVLLM_")]:
        monkeypatch.delenv(variable)
    (command,) = row.code
    _, name, *arguments = shlex.split(command)
    found = typer.main.get_command(whole_app()).commands[name]  # type: ignore[attr-defined]
    said = found.make_context(name, arguments).params
    wanted_name, wanted = COMMANDS[row.what]
    assert name == wanted_name
    assert {key: said.get(key) for key in wanted} == wanted
