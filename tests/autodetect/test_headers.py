"""What the head of a model's files says, beside what the loaded model says of itself."""

import json
import re
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file, save_file

import ruvllm._native as _native
from ruvllm.autodetect.folder_header import FAMILIES, read_header
from ruvllm.autodetect.model_header import ARCHITECTURES
from ruvllm.autodetect.weight_sizes import packed_bytes
from ruvllm.errors import IoError, ModelError
from tests.conftest import FIXTURES, REFERENCE_GGUF, REFERENCE_MODELS
from tests.hostile.gguf_file import GgufFile, text

FORMATS = ("f32", "int16", "int8", "k8v4")
STRING = 8


def check(path: Path) -> None:
    header, loaded = read_header(path), _native.Model.load(str(path), threads=1)
    num_parameters, _, weight_bytes, _ = loaded.sizes
    assert (header.num_layers, header.max_context) == (loaded.num_layers, loaded.max_context)
    assert header.quantization == loaded.quantization
    assert header.num_parameters == num_parameters
    for kv_format in FORMATS:
        assert header.kv_block_bytes(kv_format) == loaded.kv_block_bytes(kv_format)
    for activations in ("auto", "f32"):
        loaded = _native.Model.load(str(path), threads=1, activations=activations)
        default = header.default_kv_format(activations)  # type: ignore[arg-type]
        assert header.kv_block_bytes(default) == loaded.kv_block_bytes("auto")
    assert packed_bytes(header.tensors) == pytest.approx(weight_bytes, rel=0.001)


@pytest.mark.parametrize("name", REFERENCE_GGUF)
def test_gguf_files(name: str) -> None:
    check(FIXTURES / "gguf" / f"{name}.gguf")


@pytest.mark.parametrize("name", REFERENCE_MODELS)
def test_folders(name: str) -> None:
    check(FIXTURES / "models" / name)


def test_a_file_of_a_folder(tmp_path: Path) -> None:
    check(FIXTURES / "models" / "llama-gqa" / "model.safetensors")
    shutil.copy(FIXTURES / "gguf" / "llama-gqa.gguf", tmp_path)
    check(tmp_path)


def test_a_folder_of_shards(tmp_path: Path) -> None:
    source = FIXTURES / "models" / "llama-gqa"
    tensors = load_file(source / "model.safetensors")
    shutil.copy(source / "config.json", tmp_path)
    names = {name: f"model-{index % 2}.safetensors" for index, name in enumerate(sorted(tensors))}
    for file in set(names.values()):
        save_file({name: tensors[name] for name in names if names[name] == file}, tmp_path / file)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    # It is not of the model, and is not read.
    shutil.copy(source / "model.safetensors", tmp_path / "other.safetensors")
    check(tmp_path)


@pytest.mark.real_model
def test_real_models(smollm2_path: Path, gemma3_path: Path) -> None:
    check(smollm2_path)
    check(gemma3_path)


@pytest.fixture
def changed(tmp_path: Path) -> Callable[..., Path]:
    """A folder with other values in its config.json; `None` takes one out."""

    def change(name: str = "llama-gqa", **values: Any) -> Path:
        folder = tmp_path / "changed"
        shutil.copytree(FIXTURES / "models" / name, folder, dirs_exist_ok=True)
        path = folder / "config.json"
        config = json.loads(path.read_text()) | values
        path.write_text(json.dumps({key: value for key, value in config.items() if value != "absent"}))
        return folder

    return change


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("llama-gqa", {"max_position_embeddings": "absent"}),
        ("llama-gqa", {"max_position_embeddings": None}),
        ("llama-gqa", {"max_position_embeddings": 4096.0}),
        ("llama-gqa", {"head_dim": None}),
        ("llama-gqa", {"model_type": "absent"}),
        ("llama-gqa", {"rope_scaling": {"rope_type": "dynamic", "factor": 3.3}, "rope_parameters": "absent"}),
        ("llama-gqa", {"rope_parameters": {"rope_type": "yarn", "factor": 2.5, "rope_theta": 1e4}}),
        (
            "llama-gqa",
            {
                "rope_parameters": {
                    "rope_type": "yarn",
                    "factor": 2.5,
                    "original_max_position_embeddings": 4096,
                    "rope_theta": 1e4,
                }
            },
        ),
        ("mistral-window", {"max_position_embeddings": "absent"}),
        ("qwen2-bias-tied", {"max_position_embeddings": "absent"}),
        ("gemma2-softcap", {"max_position_embeddings": "absent"}),
        ("gemma3-dual-rope", {"max_position_embeddings": "absent"}),
        ("phi3-longrope", {}),
    ],
)
def test_what_a_configuration_leaves_out_or_stretches(
    changed: Callable[..., Path], name: str, values: dict[str, Any]
) -> None:
    check(changed(name, **values))


def test_what_phi_calls_yarn_reaches_no_further(changed: Callable[..., Path]) -> None:
    rope = json.loads((FIXTURES / "models" / "phi3-longrope" / "config.json").read_text())["rope_parameters"]
    del rope["type"]
    path = changed("phi3-longrope", rope_parameters=rope | {"rope_type": "yarn", "factor": 100.0})
    check(path)
    assert read_header(path).max_context == 256


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"model_type": "mamba"}, "unknown kind of model; known are llama, mistral"),
        ({"num_hidden_layers": 0}, "num_hidden_layers is 0; it must be an integer from 1 to 1024"),
        ({"num_attention_heads": "many"}, "num_attention_heads is 'many'; it must be"),
        ({"hidden_size": "absent"}, "hidden_size is None; it must be"),
        ({"num_key_value_heads": 10**9}, "num_key_value_heads is 1000000000; it must be"),
    ],
)
def test_a_configuration_that_cannot_be(
    changed: Callable[..., Path], values: dict[str, Any], words: str
) -> None:
    with pytest.raises(ModelError, match=re.escape(words)):
        read_header(changed(**values))


def gguf_with(tmp_path: Path, change: Callable[[GgufFile], None]) -> Path:
    file = GgufFile.read(FIXTURES / "gguf" / "llama-gqa.gguf")
    change(file)
    path = tmp_path / "changed.gguf"
    path.write_bytes(file.to_bytes())
    return path


def test_a_stretched_gguf_file(tmp_path: Path) -> None:
    def stretch(file: GgufFile) -> None:
        file.values["llama.rope.scaling.type"] = (STRING, text("yarn"))
        file.values["llama.rope.scaling.factor"] = (6, struct.pack("<f", 3.3))
        file.set_number("llama.rope.scaling.original_context_length", 400)

    path = gguf_with(tmp_path, stretch)
    check(path)
    assert read_header(path).max_context == 1319


@pytest.mark.parametrize("key", ["attention.head_count", "context_length", "embedding_length", "block_count"])
def test_a_gguf_file_without_a_number(tmp_path: Path, key: str) -> None:
    path = gguf_with(tmp_path, lambda file: file.values.pop(f"llama.{key}"))  # type: ignore[arg-type,return-value]
    with pytest.raises(ModelError, match=f"llama.{key} is None; it must be an integer"):
        read_header(path)


def test_what_the_engine_knows_is_known(tmp_path: Path, changed: Callable[..., Path]) -> None:
    """Two lists of the families: the engine's says itself what is on it."""

    def known(error: "pytest.ExceptionInfo[ModelError]") -> list[str]:
        return str(error.value).partition("known are ")[2].split(", ")

    path = gguf_with(tmp_path, lambda file: file.values.update({"general.architecture": (STRING, text("x"))}))
    with pytest.raises(ModelError) as gguf_error:
        _native.Model.load(str(path))
    with pytest.raises(ModelError) as folder_error:
        _native.Model.load(str(changed(model_type="x")))
    assert (known(gguf_error), known(folder_error)) == (list(ARCHITECTURES), list(FAMILIES))
    with pytest.raises(ModelError, match="'x'; known are llama, qwen2"):
        read_header(path)


def test_what_is_no_model_is_refused_as_by_loading(tmp_path: Path) -> None:
    (tmp_path / "text.gguf").write_text("not a model")
    with pytest.raises(ModelError, match="a GGUF file begins with 'GGUF'"):
        read_header(tmp_path / "text.gguf")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"neither a \.gguf file nor config\.json"):
        read_header(tmp_path / "empty")
    with pytest.raises(IoError):
        read_header(tmp_path / "nothing.gguf")
