"""`ruvllm train` as it is installed: flags, lines for programs, what it refuses and how it ends."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ruvllm import LLM, TrainingConfig
from ruvllm.cli.train_options import AdapterShape, Course, Goal, Place, config_of
from ruvllm.training import LearningRateSchedule, TrainingObjective
from tests.conftest import FIXTURES
from tests.training.small import SUMS

MODEL = FIXTURES / "gguf" / "llama-gqa.gguf"
FAST = ("--rank", "2", "--modules", "q_proj,v_proj")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "sums.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in SUMS), encoding="utf-8")
    return path


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-W", "error", "-m", "ruvllm", "train", *map(str, arguments), "-m", str(MODEL)]


def run(*arguments: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command(*arguments), capture_output=True, encoding="utf-8", timeout=50, check=False)


def test_the_defaults_are_those_of_the_settings() -> None:
    assert config_of(Place(), AdapterShape(), Goal(), Course()) == TrainingConfig()


def test_every_flag_sets_what_it_says() -> None:
    found = config_of(
        Place(checkpoint_every=7),
        AdapterShape(rank=4, alpha=3.0, modules="q_proj,o_proj", layers="2-4"),
        Goal(objective="distill", teacher="larger", teacher_top=3, teacher_share=0.5, beta=0.3),
        Course(
            epochs=9,
            steps=8,
            learning_rate=0.05,
            schedule="one_cycle",
            warmup_steps=6,
            batch_size=2,
            gradient_accumulation=3,
            held_out=0.2,
            patience=5,
            max_length=99,
            seed=11,
        ),
    )
    assert found == TrainingConfig(
        checkpoint_every=7,
        rank=4,
        alpha=3.0,
        target_modules=("q_proj", "o_proj"),
        layers=(2, 3, 4),
        objective=TrainingObjective.Distill,
        teacher="larger",
        teacher_top=3,
        teacher_share=0.5,
        beta=0.3,
        epochs=9,
        steps=8,
        learning_rate=0.05,
        max_learning_rate=0.05,
        schedule=LearningRateSchedule.OneCycle,
        warmup_steps=6,
        batch_size=2,
        gradient_accumulation=3,
        held_out=0.2,
        patience=5,
        max_tokens=99,
        seed=11,
    )


def test_it_writes_an_adapter_and_reports(data: Path, tmp_path: Path) -> None:
    done = run(data, "--out", tmp_path / "sums", "--steps", 10, "--max-length", 30, *FAST)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^loss +\d+\.\d{4} to \d+\.\d{4} \(-\d+ %\) *$", done.stdout, re.M)
    assert re.search(r"^held out +\d+\.\d{4} to ", done.stdout, re.M)
    assert re.search(r"^steps +10; written is what step \d+ left *$", done.stdout, re.M)
    assert re.search(r"^examples +22 trained on, 2 held out *$", done.stdout, re.M)
    assert re.search(r"^memory +\S+ [kM]?B for gradients, the process ", done.stdout, re.M)
    assert done.stderr.count("held out") == 10
    with LLM(MODEL) as llm:
        assert llm.adapters.load("sums", tmp_path / "sums").rank == 2


def test_quiet_says_nothing_aside(data: Path, tmp_path: Path) -> None:
    assert run(data, "--out", tmp_path / "sums", "--steps", 2, "--quiet", *FAST).stderr == ""


def test_lines_for_programs(data: Path, tmp_path: Path) -> None:
    done = run(data, "--out", tmp_path / "sums", "--steps", 3, "--json", *FAST)
    *steps, last = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["step"] for one in steps] == [1, 2, 3]
    assert set(steps[0]) == {
        "step", "steps", "loss", "held_out_loss", "learning_rate", "gradient_norm", "tokens", "seconds",
        "tokens_per_second",
    }  # fmt: skip
    assert last["result"]["adapter"] == str(tmp_path / "sums")
    assert last["result"]["steps"] == 3


@pytest.mark.parametrize(
    ("arguments", "reason", "status"),
    [
        ((), "--out is missing", 2),
        (("--out", "x", "--objective", "rl"), "--objective is 'rl'; it must be one of supervised, ", 2),
        (("--out", "x", "--schedule", "step"), "must be one of constant, linear, cosine, one_cycle", 2),
        (("--out", "x", "--layers", "3-1"), "--layers is '3-1'; it must be a layer", 2),
        (("--out", "x", "--modules", "head"), "'head' is no map of this model", 2),
        (("--out", "x", "--objective", "dpo"), r"sums\.jsonl:1: no pair of answers", 1),
        (("--out", "x", "--resume"), "so there is no run to resume", 1),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_a_line(
    data: Path, tmp_path: Path, arguments: tuple[str, ...], reason: str, status: int
) -> None:
    given = [str(tmp_path / one) if one == "x" else one for one in arguments]
    done = run(data, *given)
    assert done.returncode == status, done.stderr
    assert re.search(reason, " ".join(done.stderr.split()))
    assert not (tmp_path / "x").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such signal")
def test_an_interrupt_ends_it_at_a_checkpoint(data: Path, tmp_path: Path) -> None:
    flags = ("--out", tmp_path / "sums", "--steps", 5000, "--json", *FAST)
    with subprocess.Popen(
        command(data, *flags), stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8"
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        os.kill(process.pid, signal.SIGINT)
        output, errors = process.communicate(timeout=50)
    assert process.returncode == 130
    assert "the same command with --resume goes on" in errors
    last = json.loads(output.splitlines()[-1])["step"] if output else 1
    with subprocess.Popen(
        command(data, *flags, "--resume"), stdout=subprocess.PIPE, encoding="utf-8"
    ) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["step"] == last + 1
        process.kill()
