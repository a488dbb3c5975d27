"""What the head of a model's files says, beside what the loaded model says of itself."""

import json
import shutil
from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file

import ruvllm._native as _native
from ruvllm.autodetect.weight_sizes import StoredTensor, packed_bytes
from ruvllm.errors import IoError, ModelError
from tests.conftest import FIXTURES, REFERENCE_GGUF, REFERENCE_MODELS


def check(path: Path) -> None:
    for activations in ("auto", "f32"):
        header = _native.ModelHeader.read(path, activations)
        loaded = _native.Model.load(str(path), threads=1, activations=activations)
        for name in ("architecture", "name", "quantization", "sizes", "num_layers", "heads", "max_context"):
            assert getattr(header, name) == getattr(loaded, name)
        for kv_format in ("auto", "f32", "int16", "int8", "k8v4", "q4", "q3"):
            formats = (kv_format, None, None)
            assert header.kv_shape(formats) == loaded.kv_shape(formats)
        tensors = [StoredTensor(*one) for one in header.tensors()]
        assert sum(one.num_weights for one in tensors) == header.sizes[0]
        assert packed_bytes(tensors) == pytest.approx(loaded.weight_bytes[0], rel=0.001)


@pytest.mark.parametrize("name", REFERENCE_GGUF)
def test_gguf_files(name: str) -> None:
    check(FIXTURES / "gguf" / f"{name}.gguf")


@pytest.mark.parametrize("name", REFERENCE_MODELS)
def test_folders(name: str) -> None:
    check(FIXTURES / "models" / name)


def test_a_folder_of_shards(tmp_path: Path) -> None:
    source = FIXTURES / "models" / "llama-gqa"
    tensors = load_file(source / "model.safetensors")
    shutil.copy(source / "config.json", tmp_path)
    names = {name: f"model-{index % 2}.safetensors" for index, name in enumerate(sorted(tensors))}
    for file in set(names.values()):
        save_file({name: tensors[name] for name in names if names[name] == file}, tmp_path / file)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    check(tmp_path)


@pytest.mark.real_model
def test_real_models(smollm2_path: Path, gemma3_path: Path) -> None:
    check(smollm2_path)
    check(gemma3_path)
    # Three of its layers see all; those that see 512 tokens are five groups of three, and hold 64 more.
    _, _, windows = _native.ModelHeader.read(gemma3_path, "auto").kv_shape(("auto", None, None))
    assert windows == [None, *[576] * 5]


def test_what_is_no_model_is_refused_as_by_loading(tmp_path: Path) -> None:
    (tmp_path / "text.gguf").write_text("not a model")
    with pytest.raises(ModelError, match="a GGUF file begins with 'GGUF'"):
        _native.ModelHeader.read(tmp_path / "text.gguf", "auto")
    with pytest.raises(IoError):
        _native.ModelHeader.read(tmp_path / "nothing.gguf", "auto")
