"""Files of random weights: every format loads and computes, and none is written where there is no room."""

from pathlib import Path

import gguf
import numpy as np
import pytest
from gguf import GGMLQuantizationType as Kind

from benches import size_files
from benches.blocks import SPREAD, random_matrix
from benches.shapes import FORMATS, SHAPES, UNIFORM, ModelShape, Weights, file_bytes, write_shape
from ruvllm import LLM

TINY = ModelShape(layers=2, hidden=256, feed_forward=512, heads=4, kv_heads=2, vocabulary=320)
OWN_HEAD = ModelShape(2, 256, 512, 4, 2, has_own_head=True, vocabulary=320)


@pytest.mark.parametrize("kind", [Kind.Q4_0, Kind.Q4_K, Kind.Q6_K, Kind.Q8_0, Kind.IQ4_XS, Kind.F16])
def test_random_weights_are_small_and_finite_in_every_format(kind: Kind) -> None:
    blocks = random_matrix(kind, 64, 1024, np.random.default_rng(3))
    weights = gguf.dequantize(blocks, kind)
    assert weights.shape == (64, 1024)
    assert np.isfinite(weights).all()
    assert abs(weights.mean()) < SPREAD / 4
    assert 0.8 < weights.std() / SPREAD < 1.3


@pytest.mark.parametrize("shape", [TINY, OWN_HEAD], ids=["tied", "own head"])
@pytest.mark.parametrize("weights", [*FORMATS.values(), UNIFORM], ids=[*FORMATS, "uniform"])
def test_a_file_of_every_format_loads_and_computes(
    shape: ModelShape, weights: Weights, tmp_path: Path
) -> None:
    path = tmp_path / "tiny.gguf"
    told: list[int] = []
    write_shape(shape, path, weights, told.append)
    size = file_bytes(shape, weights)
    assert told[-1] == size
    assert told == sorted(told)
    assert 0 <= path.stat().st_size - size < 32_768  # the header, with the names of tokens
    with LLM(path, threads=1, max_context=64) as llm:
        assert llm.model_info.vocab_size == shape.vocabulary
        logits = llm.logits(list(range(10, 26)))
    assert np.isfinite(logits).all()
    assert 0.3 < logits.std() < 10.0


def test_shapes_have_as_many_weights_as_their_names_say() -> None:
    billions = {name: file_bytes(shape, Weights(Kind.F16, Kind.F16)) / 2e9 for name, shape in SHAPES.items()}
    assert billions == {
        "1b": pytest.approx(1.04, abs=0.01),
        "3b": pytest.approx(2.92, abs=0.01),
        "8b": pytest.approx(7.24, abs=0.01),
    }


def test_a_file_is_written_once_and_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "models" / "tiny.gguf"
    assert size_files.written(path, TINY, UNIFORM) == path
    assert "100%" in capsys.readouterr().err
    before = path.stat().st_mtime_ns
    assert size_files.written(path, TINY, UNIFORM).stat().st_mtime_ns == before
    assert [one.name for one in path.parent.iterdir()] == ["tiny.gguf"]


def test_no_room_says_how_much_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(size_files, "SPARE_DISK_BYTES", 2**60)
    with pytest.raises(size_files.NoRoom, match=r"a file of 0\.0 GB, and .* GB are free"):
        size_files.written(tmp_path / "tiny.gguf", TINY, UNIFORM)
    assert not list(tmp_path.iterdir())
    shape, weights = SHAPES["8b"], FORMATS["F16"]
    with pytest.raises(size_files.NoRoom, match=r"of memory for both engines, and 16\.0 GB are free"):
        size_files.require_memory(shape, weights, 512, 16 * 10**9)
    size_files.require_memory(shape, weights, 512, 64 * 10**9)
    size_files.require_memory(shape, weights, 512, None)
