"""`ruvllm eval`: on a tiny model, for real."""

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# Loaded with the real engine, before a stand-in is in its place.
from ruvllm.evaluating import EvaluationParams, evaluate
from tests.conftest import FIXTURES

TINY = str(FIXTURES / "gguf" / "llama-gqa.gguf")
Ruvllm = Callable[..., Any]
TEXT = "You may copy and distribute verbatim copies of this license document. " * 30


@pytest.fixture
def text(tmp_path: Path) -> str:
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    return str(path)


@pytest.fixture
def questions(tmp_path: Path) -> str:
    path = tmp_path / "questions.jsonl"
    rows = [{"question": "What?", "choices": ["This", "That"], "answer": place} for place in (0, 1)]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return str(path)


def test_for_people(ruvllm: Ruvllm, text: str, questions: str) -> None:
    done = ruvllm("eval", TINY, text, "--context", "64", "--choices", questions)
    assert (done.exit_code, done.stderr) == (0, "")
    rows = {line.split("  ")[0]: line for line in done.stdout.splitlines()}
    assert "±" in rows["perplexity"]
    assert "chunks of 64" in rows["scored tokens"]
    assert "0.50 ± 0.50" in rows["right answers"]


def test_for_programs(ruvllm: Ruvllm, text: str) -> None:
    made = json.loads(ruvllm("eval", TINY, text, "--context", "64", "--chunks", "2", "--json").stdout)
    expected = evaluate(TINY, TEXT, params=EvaluationParams(context=64, max_chunks=2))
    seconds = made.pop("seconds")
    assert seconds > 0
    assert made == json.loads(json.dumps(expected.to_json()))
    assert made["text"]["scored_tokens"] == 2 * 31
    assert "divergence" not in made


def test_side_by_side(ruvllm: Ruvllm, text: str, tmp_path: Path) -> None:
    smaller, plot = str(tmp_path / "small.gguf"), tmp_path / "both.svg"
    assert ruvllm("quantize", TINY, smaller, "--type", "Q4_0").exit_code == 0
    arguments = ["eval", TINY, text, "--context", "64", "--compare", smaller, "--reference", TINY]
    done = ruvllm(*arguments, "--plot", str(plot))
    assert done.exit_code == 0, done.output
    [perplexity] = [line for line in done.stdout.splitlines() if line.startswith("perplexity  ")]
    assert perplexity.count("±") == 3
    assert "x " in perplexity
    drawn = ElementTree.fromstring(plot.read_bytes())
    assert "divergence" in "".join(drawn.itertext())
    made = json.loads(ruvllm(*arguments, "--json").stdout)
    assert made["divergence"]["mean"]["value"] == 0
    assert made["compared"]["divergence"]["mean"]["value"] > 0
    difference = made["comparison"]["divergence_difference"]["value"]
    assert difference == pytest.approx(made["compared"]["divergence"]["mean"]["value"])


def test_what_is_refused(ruvllm: Ruvllm, text: str, tmp_path: Path) -> None:
    nothing = ruvllm("eval", TINY)
    assert nothing.exit_code == 2
    assert "WikiText-2" in nothing.stderr
    assert ruvllm("eval", TINY, str(tmp_path / "none.txt")).exit_code == 1
    assert ruvllm("eval", TINY, text, "--context", "4").exit_code == 2
    plot = ruvllm("eval", TINY, "--plot", str(tmp_path / "x.svg"))
    assert plot.exit_code == 2
    assert "--plot draws along a text" in plot.stderr
    itself = ruvllm("eval", TINY, text, "--compare", TINY)
    assert itself.exit_code == 2
    assert "the model itself" in itself.stderr
    broken = tmp_path / "broken.txt"
    broken.write_bytes(b"abc\xff")
    assert "no text in UTF-8: invalid start byte at byte 3" in ruvllm("eval", TINY, str(broken)).stderr


def test_text_from_stdin(ruvllm: Ruvllm) -> None:
    made = ruvllm("eval", TINY, "-", "--context", "64", "--chunks", "1", "--json", stdin=TEXT)
    assert json.loads(made.stdout)["text"]["chunks"] == 1
