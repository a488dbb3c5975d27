"""A process that is killed in the middle: what is on the disk goes on to the same result."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.conftest import FIXTURES
from tests.training.small import SUMS, same

MODEL = FIXTURES / "gguf" / "llama-gqa.gguf"
FLAGS = ("--steps", "40", "--rank", "2", "--modules", "q_proj,v_proj", "--checkpoint-every", "1", "--json")


def command(data: Path, out: Path, *more: str) -> list[str]:
    flags = ["--model", str(MODEL), "--out", str(out), *FLAGS, *more]
    return [sys.executable, "-W", "error", "-m", "ruvllm", "train", str(data), *flags]


def steps_of(run: Sequence[str], *, kill_at: int | None) -> list[int]:
    """Run it, and kill it when it has told of a step; gives the steps that it told of."""
    told = []
    with subprocess.Popen(run, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8") as process:
        assert process.stdout is not None
        for line in process.stdout:
            found = json.loads(line)
            if "step" in found:
                told.append(found["step"])
            if kill_at is not None and told and told[-1] >= kill_at:
                process.kill()
                break
        _, errors = process.communicate(timeout=50)
    assert kill_at is not None or process.returncode == 0, errors
    return told


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_killed_run_goes_on_to_the_same_result(tmp_path: Path) -> None:
    data = tmp_path / "sums.jsonl"
    data.write_text("".join(json.dumps(one) + "\n" for one in SUMS), encoding="utf-8")
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert steps_of(command(data, whole), kill_at=None) == list(range(1, 41))
    first = steps_of(command(data, parts), kill_at=7)
    assert not parts.exists()
    second = steps_of(command(data, parts, "--resume"), kill_at=19)
    assert not parts.exists()
    last = steps_of(command(data, parts, "--resume"), kill_at=None)
    # Each goes on from what was on the disk, and not from the beginning.
    assert first[0] == 1
    assert 7 <= second[0] <= first[-1] + 2
    assert 19 <= last[0] <= second[-1] + 2
    assert last[-1] == 40
    assert same(whole, parts)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["parts", "sums.jsonl", "whole"]
