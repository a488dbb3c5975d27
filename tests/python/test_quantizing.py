"""`ruvllm.quantize`: what is written is whole, is read, and answers; and beside llama.cpp's files."""

import os
from pathlib import Path

import gguf
import numpy as np
import pytest

import ruvllm
from ruvllm import hub
from ruvllm.errors import ConfigError, InvalidOperationError, IoError
from tests.conftest import FIXTURES

TINY = FIXTURES / "gguf" / "llama-gqa.gguf"


def fields(path: Path) -> dict[str, object]:
    reader = gguf.GGUFReader(path)
    return {name: field.contents() for name, field in reader.fields.items() if not name.startswith("GGUF.")}


def test_what_was_carried_over(tmp_path: Path) -> None:
    heard: list[tuple[int, int]] = []
    made = ruvllm.quantize(TINY, tmp_path / "made.gguf", "Q8_0", progress=lambda *at: heard.append(at))
    assert made.path.stat().st_size == made.size_bytes
    assert heard[-1][0] == heard[-1][1] > 0
    before, after = fields(TINY), fields(made.path)
    assert after.pop("general.file_type") == gguf.LlamaFileType.MOSTLY_Q8_0
    assert after.pop("general.quantization_version") == 2
    assert after == {name: before[name] for name in after}
    assert set(before) - set(after) <= {"general.file_type", "general.quantization_version"}
    types = {tensor.name: tensor.tensor_type.name for tensor in gguf.GGUFReader(made.path).tensors}
    assert types == {one.name: one.new_type for one in made.tensors}
    assert types["blk.0.ffn_up.weight"] == "Q8_0"
    assert types["blk.0.ffn_norm.weight"] == "F32"
    assert not made.was_quantized
    assert ruvllm.quantize(made.path, tmp_path / "again.gguf", "Q4_0").was_quantized


@pytest.mark.parametrize("type_name", ["F16", "Q8_0", "Q4_K_M", "IQ4_NL"])
def test_it_answers_as_the_original(tmp_path: Path, type_name: str) -> None:
    made = ruvllm.quantize(TINY, tmp_path / "made.gguf", type_name)
    ids = list(range(3, 35))
    with ruvllm.LLM(str(TINY)) as one, ruvllm.LLM(str(made.path)) as other:
        [first], [second] = one.embed([ids]), other.embed([ids])
    likeness = np.dot(first, second) / np.linalg.norm(first) / np.linalg.norm(second)
    assert likeness > 0.97


def test_a_file_that_is_there_stays(tmp_path: Path) -> None:
    target = tmp_path / "made.gguf"
    target.write_bytes(b"mine")
    with pytest.raises(InvalidOperationError, match="is there already"):
        ruvllm.quantize(TINY, target)
    with pytest.raises(ConfigError, match="type is 'Q4_K'; allowed here: F32, F16"):
        ruvllm.quantize(TINY, target, "Q4_K", overwrite=True)
    assert target.read_bytes() == b"mine"
    assert ruvllm.quantize(TINY, target, overwrite=True).size_bytes == target.stat().st_size
    with pytest.raises(ConfigError, match="a file of the model itself"):
        ruvllm.quantize(target, target, overwrite=True)
    with pytest.raises(IoError, match="cannot be written"):
        ruvllm.quantize(TINY, tmp_path / "nowhere" / "made.gguf")
    with pytest.raises(TypeError, match="unexpected keyword argument 'thread'"):
        ruvllm.quantize(TINY, tmp_path / "other.gguf", thread=2)  # type: ignore[call-arg]
    assert [path.name for path in tmp_path.iterdir()] == ["made.gguf"]


def test_a_stop_leaves_nothing(tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ruvllm.quantize(TINY, tmp_path / "made.gguf", progress=stop)
    assert not list(tmp_path.iterdir())


@pytest.mark.requantized
@pytest.mark.parametrize("type_name", ["Q4_0", "Q8_0", "Q4_K_M", "Q5_K_M", "Q6_K"])
def test_beside_the_files_of_llama_cpp(tmp_path: Path, type_name: str) -> None:
    """Types and key-values are the same, errors no more than 3 % larger, tensor by tensor."""
    folder = os.environ.get("RUVLLM_REQUANTIZED_DIR")
    if not folder:
        pytest.skip("RUVLLM_REQUANTIZED_DIR does not say where requantize.py put its files")
    # The peer's files were made of this one, too.
    source = hub.resolve("smollm2-135m", quiet=True)
    theirs = Path(folder) / f"smollm2-{type_name}.gguf"
    ours = ruvllm.quantize(source, tmp_path / "made.gguf", type_name).path
    assert fields(ours) == fields(theirs)
    original, first, second = (
        {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors} for path in (source, ours, theirs)
    )
    for name, tensor in second.items():
        assert first[name].tensor_type == tensor.tensor_type, name
        values = gguf.dequantize(original[name].data, original[name].tensor_type).astype(np.float64)
        errors = [
            np.sqrt(np.mean((gguf.dequantize(one.data, one.tensor_type) - values) ** 2))
            for one in (first[name], tensor)
        ]
        assert errors[0] <= 1.03 * errors[1] + 1e-9, (name, tensor.tensor_type.name, errors)
