"""The command line in this process, upon a stand-in for the engine."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.cli.fake_engine import FakeLLM, modules


@pytest.fixture(autouse=True)
def clean(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the user's, an empty cache, and the stand-in instead of the engine.

    Tests of the real model keep all three: they are about the installed command as it is.
    """
    if request.node.get_closest_marker("real_model"):
        return
    for name in [name for name in os.environ if name.startswith("RUVLLM_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("RUVLLM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "110")
    monkeypatch.setenv("NO_COLOR", "1")
    for name, module in modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    FakeLLM.opened.clear()


@pytest.fixture
def model(tmp_path: Path) -> str:
    """A model file that only exists."""
    path = tmp_path / "model.gguf"
    path.touch()
    return str(path)


@pytest.fixture
def ruvllm() -> Callable[..., object]:
    """Run `ruvllm` with arguments and give its result: exit_code, stdout, stderr."""
    from ruvllm.cli import terminal
    from ruvllm.cli.app import whole_app

    def run(*arguments: str, stdin: str | None = None) -> object:
        terminal._console.cache_clear()
        return CliRunner().invoke(whole_app(), list(arguments), input=stdin, prog_name="ruvllm")

    return run
