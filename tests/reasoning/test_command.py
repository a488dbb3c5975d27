"""`ruvllm bank` upon a real, tiny engine: what one call adds the next one finds."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.conftest import FIXTURES

MODEL = str(FIXTURES / "gguf" / "llama-gqa.gguf")
LINES = [
    {"request": "paint the house", "steps": [["buy paint", "blue"], ["begin"]], "response": "It is blue.",
     "verdict": "success", "quality": 0.9},
    {"request": "bake some bread", "response": "It burned.", "verdict": "failure", "quality": 0.1},
    {"request": "sing a song"},
]  # fmt: skip
Run = Callable[..., Any]


@pytest.fixture
def bank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `ruvllm bank COMMAND` on a folder."""
    from ruvllm.cli import terminal
    from ruvllm.cli.app import whole_app

    monkeypatch.setenv("COLUMNS", "200")

    def run(name: str, *arguments: str, stdin: str | None = None, code: int = 0) -> Any:
        terminal._console.cache_clear()
        line = ["bank", name, str(tmp_path / "bank"), *arguments, "-m", MODEL, "--quiet"]
        done = CliRunner().invoke(whole_app(), line, input=stdin, prog_name="ruvllm")
        assert done.exit_code == code, done.stderr
        return done

    return run


def written(path: Path, lines: list[Any]) -> str:
    path.write_text("\n".join(map(json.dumps, lines)) + "\n\n", encoding="utf-8")
    return str(path)


def test_a_line_ends_where_json_lines_do(bank: Run, tmp_path: Path) -> None:
    """A text may hold what other programs take for the end of a line."""
    line = json.dumps({"request": "one\u2028two\x85three"}, ensure_ascii=False)
    path = tmp_path / "tried.jsonl"
    path.write_text(f"{line}\r\n\n{line}", encoding="utf-8", newline="")
    assert bank("add", str(path)).stdout == "1\n2\n"
    assert bank("add", "-", stdin=f"{line}\n").stdout == "3\n"


def test_what_is_added_is_found(bank: Run, tmp_path: Path) -> None:
    assert bank("add", written(tmp_path / "tried.jsonl", LINES)).stdout == "1\n2\n3\n"
    found = json.loads(bank("search", "paint the house", "-k", "1", "--json").stdout)
    assert [one.pop("similarity") for one in found] == [pytest.approx(1.0, abs=1e-5)]
    assert found == [{"id": 1, **LINES[0], "steps": [["buy paint", "blue"], ["begin", ""]]}]
    assert json.loads(bank("search", "paint", "--tenant", "other", "--json").stdout) == []
    failed = bank("search", "-", "--verdict", "failure", "--verdict", "unknown", stdin="paint the house")
    assert "bake some bread" in failed.stdout
    assert "sing a song" in failed.stdout
    assert "paint the house" not in failed.stdout
    assert "It is blue." not in bank("search", "paint the house", "--min-quality", "0.95").stdout
    figures = json.loads(bank("stats", "--json").stdout)
    assert figures["verdicts"] == {"success": 1, "failure": 1, "partial": 0, "unknown": 1}
    assert figures["trajectories"] == 3
    assert "trajectories" in bank("stats").stdout


def test_what_is_distilled_is_put_before_a_request(bank: Run) -> None:
    lines = "\n".join(map(json.dumps, LINES))
    bank("add", "-", stdin=lines)
    patterns = json.loads(bank("distill", "--patterns", "1", "--json").stdout)
    assert [(one["count"], one["best"][0]["request"]) for one in patterns] == [(3, "paint the house")]
    assert "paint the house" in bank("distill", "--patterns", "1").stdout
    text = bank("context", "paint the house").stdout
    assert text.startswith("What was done for similar requests")
    assert "Request: paint the house\nStep 1: buy paint -> blue\n" in text
    assert bank("context", "paint the house", "--context-tokens", "3").stdout == ""


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "line 2 is no trajectory"),
        ("[]", "line 2 is no trajectory"),
        ('{"response": "a"}', "line 2 is no trajectory"),
        ('{"request": "a", "quality": 2}', "quality is 2"),
        ('{"request": "a", "verdict": "good"}', "'good'"),
        ('{"request": "a", "steps": [["b", "c", "d"]]}', "line 2"),
        ('{"request": "a", "mood": "b"}', "'mood' is none of request"),
    ],
)
def test_a_wrong_line_is_named_and_nothing_is_added(bank: Run, line: str, says: str) -> None:
    done = bank("add", "-", stdin=f'{{"request": "good"}}\n{line}\n', code=2)
    assert says in done.stderr
    assert json.loads(bank("stats", "--json").stdout)["trajectories"] == 0


def test_what_is_no_verdict_and_no_file_is_refused(bank: Run) -> None:
    assert "success, failure, partial" in bank("search", "a", "--verdict", "good", code=2).stderr
    assert "cannot be read" in bank("add", "missing.jsonl", code=2).stderr
