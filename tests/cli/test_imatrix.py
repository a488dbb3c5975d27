"""`ruvllm imatrix`, and `ruvllm quantize` with what it wrote, on a tiny model, for real."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Loaded with the real engine, before a stand-in is in its place.
import ruvllm.evaluating  # noqa: F401
from ruvllm.importance import ImportanceMatrix
from tests.conftest import FIXTURES

TINY = str(FIXTURES / "gguf" / "llama-gqa.gguf")
FOLDER = str(FIXTURES / "models" / "llama-gqa")
Ruvllm = Callable[..., Any]
TEXT = "You may copy and distribute verbatim copies of this license document. " * 30


def test_measured_and_used(ruvllm: Ruvllm, tmp_path: Path) -> None:
    text, matrix = tmp_path / "text.txt", tmp_path / "imatrix.gguf"
    text.write_text(TEXT)
    done = ruvllm("imatrix", TINY, str(text), "-o", str(matrix), "--context", "64", "--chunks", "2")
    assert (done.exit_code, done.stdout) == (0, ""), done.output
    assert "21 matrices over 2 chunks of 64 tokens" in done.stderr.replace("\n", " ")
    found = ImportanceMatrix.load(matrix)
    assert (found.chunk_count, found.chunk_size, len(found.sums)) == (2, 64, 21)
    made = json.loads(
        ruvllm("imatrix", TINY, str(text), "-o", str(matrix), "--context", "64", "--json").stdout
    )
    assert made["matrices"] == 21
    assert made["chunks"] > 2
    plain, weighed = tmp_path / "plain.gguf", tmp_path / "weighed.gguf"
    assert ruvllm("quantize", TINY, str(plain), "--type", "Q4_0", "--quiet").exit_code == 0
    arguments = ["quantize", TINY, str(weighed), "--type", "Q4_0", "--imatrix", str(matrix), "--quiet"]
    assert ruvllm(*arguments).exit_code == 0
    assert plain.read_bytes() != weighed.read_bytes()


def test_a_folder_is_quantized(ruvllm: Ruvllm, tmp_path: Path) -> None:
    made = json.loads(ruvllm("quantize", FOLDER, str(tmp_path / "made.gguf"), "--json").stdout)
    assert not made["was_quantized"]
    assert {one["name"] for one in made["tensors"]} >= {"token_embd.weight", "blk.2.ffn_down.weight"}


def test_what_is_refused(ruvllm: Ruvllm, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("short")
    short = ruvllm("imatrix", TINY, str(text), "-o", str(tmp_path / "imatrix.gguf"))
    assert short.exit_code == 2
    assert "which is no chunk of 512" in short.stderr.replace("\n", " ")
    nowhere = ruvllm("imatrix", TINY, str(text), "-o", str(tmp_path / "none" / "imatrix.gguf"))
    assert nowhere.exit_code == 2
    assert "is no folder" in nowhere.stderr
    model = tmp_path / "model.bin"
    shutil.copyfile(TINY, model)
    replacing = ruvllm("imatrix", str(model), str(text), "-o", str(model))
    assert replacing.exit_code == 2
    assert "no importance matrix" in replacing.stderr.replace("\n", " ")
    assert model.read_bytes() == Path(TINY).read_bytes()
    other = ruvllm("quantize", TINY, str(tmp_path / "made.gguf"), "--imatrix", str(text))
    assert other.exit_code == 2
    assert "is no importance matrix" in other.stderr.replace("\n", " ")
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".gguf"] == []
