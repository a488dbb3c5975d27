"""`ruvllm decide` and `ruvllm calibrate` on a real model."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ruvllm import LLM
from ruvllm.decisions import Calibration

QUESTIONS = [{"type": "choice", "instructions": "What is it?", "choices": ["animal", "food", "tool"]}]
INPUTS = ["dog", "cheese", "hammer", "horse"]


def ruvllm(*arguments: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "ruvllm", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_answers_go_on_where_they_ended(tmp_path: Path, smollm2: LLM, smollm2_path: Path) -> None:
    questions, inputs, out = (tmp_path / name for name in ("q.json", "in.jsonl", "out.jsonl"))
    questions.write_text(json.dumps(QUESTIONS))
    inputs.write_text("".join(json.dumps({"input": one}) + "\n" for one in INPUTS))
    # As an earlier run left it: a whole line, and one that was torn.
    out.write_text('{"line": 1, "answers": ["kept"]}\n{"line": 2, "ans')
    run = ruvllm("decide", questions, "-i", inputs, "-o", out, "--model", smollm2_path, "-q")
    assert run.returncode == 0, run.stderr
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["line"] for row in rows] == [1, 2, 3, 4]
    assert rows[0]["answers"] == ["kept"]
    for row in rows[1:]:
        assert row["answers"] == smollm2.decide(INPUTS[row["line"] - 1], QUESTIONS).to_json()


def test_a_calibration_is_written_and_read(tmp_path: Path, smollm2_path: Path) -> None:
    labelled, out = tmp_path / "labelled.jsonl", tmp_path / "calibration.json"
    answers = ["animal", "food", "tool", "animal"]
    rows = [
        {"input": one, "questions": QUESTIONS, "answers": [right]}
        for one, right in zip(INPUTS, answers, strict=True)
    ]
    labelled.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = ruvllm("calibrate", labelled, "--out", out, "--model", smollm2_path)
    assert run.returncode == 0, run.stderr
    assert "4 answers, temperature" in run.stderr
    assert "by chance alone" in " ".join(run.stderr.split())
    calibration = Calibration.load(out)
    assert calibration.examples == {"choice": 4}
    assert calibration.temperature("choice") != 1.0


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 1 is no JSON"),
        ("[" * 100_000, "line 1 is no JSON"),
        ("3", "line 1: .*a line is a text, or an object"),
    ],
)
def test_a_line_that_is_none_is_named(tmp_path: Path, smollm2_path: Path, line: str, message: str) -> None:
    questions, inputs = tmp_path / "q.json", tmp_path / "in.jsonl"
    questions.write_text(json.dumps(QUESTIONS))
    inputs.write_text(line + "\n")
    run = ruvllm("decide", questions, "-i", inputs, "--model", smollm2_path, "-q")
    assert run.returncode == 2
    assert re.search(message, " ".join(run.stderr.split()))


def test_answers_before_a_broken_line_are_kept(tmp_path: Path, smollm2_path: Path) -> None:
    questions, inputs, out = (tmp_path / name for name in ("q.json", "in.jsonl", "out.jsonl"))
    questions.write_text(json.dumps(QUESTIONS))
    # The mark that some editors begin a file with is no part of the first line.
    whole = "".join(json.dumps(one) + "\n" for one in INPUTS).encode("utf-8-sig")
    inputs.write_bytes(whole + b'"\xff"\n"behind"\n')
    run = ruvllm("decide", questions, "-i", inputs, "-o", out, "--model", smollm2_path, "-q")
    assert run.returncode == 2
    assert "line 5 is no JSON" in " ".join(run.stderr.split())
    assert [json.loads(line)["line"] for line in out.read_text().splitlines()] == [1, 2, 3, 4]


@pytest.mark.parametrize("content", [b"\xff", b"[" * 100_000, b"{"])
def test_questions_that_are_no_json_are_refused(tmp_path: Path, content: bytes) -> None:
    questions = tmp_path / "q.json"
    questions.write_bytes(content)
    run = ruvllm("decide", questions, "-q")
    assert run.returncode == 2
    assert "q.json is no JSON" in "".join(run.stderr.split("\n"))
