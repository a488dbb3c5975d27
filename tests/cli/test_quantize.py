"""`ruvllm quantize`: on a tiny model, for real."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.conftest import FIXTURES

TINY = str(FIXTURES / "gguf" / "llama-gqa.gguf")
Ruvllm = Callable[..., Any]


def test_for_people(ruvllm: Ruvllm, tmp_path: Path) -> None:
    target = tmp_path / "made.gguf"
    done = ruvllm("quantize", TINY, str(target))
    assert (done.exit_code, done.stdout) == (0, "")
    told = done.stderr.replace("\n", "")
    assert str(target) in told
    assert "tensors: " in told
    assert "quantized before" not in told
    again = ruvllm("quantize", str(target), str(tmp_path / "less.gguf"), "--type", "Q4_0")
    assert "quantized before" in again.stderr.replace("\n", " ")
    assert ruvllm("quantize", TINY, str(target), "--force", "--quiet").stderr == ""


def test_for_programs(ruvllm: Ruvllm, tmp_path: Path) -> None:
    target = tmp_path / "made.gguf"
    made = json.loads(ruvllm("quantize", TINY, str(target), "--type", "Q8_0", "--json").stdout)
    assert (made["path"], made["type"], made["was_quantized"]) == (str(target), "Q8_0", False)
    assert made["size_bytes"] == target.stat().st_size
    assert made["seconds"] > 0
    [head] = [one for one in made["tensors"] if one["name"] == "output.weight"]
    assert (head["old_type"], head["new_type"]) == ("F32", "Q8_0")
    assert head["new_bytes"] < head["old_bytes"] / 3


def test_what_is_refused(ruvllm: Ruvllm, tmp_path: Path) -> None:
    target = tmp_path / "made.gguf"
    target.write_bytes(b"mine")
    there = ruvllm("quantize", TINY, str(target))
    assert there.exit_code == 1
    assert "is there already" in there.stderr.replace("\n", " ")
    assert "--force" in there.stderr
    assert target.read_bytes() == b"mine"
    unknown = ruvllm("quantize", TINY, str(tmp_path / "other.gguf"), "--type", "Q9")
    assert unknown.exit_code == 2
    assert "allowed here" in unknown.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["made.gguf"]
