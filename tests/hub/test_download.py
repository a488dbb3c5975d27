"""Models of the Hub: the real `huggingface_hub` against a Hub on this machine."""

import json
from pathlib import Path

import pytest
from huggingface_hub import constants

from ruvllm import LLM, hub
from ruvllm.config import ModelConfig
from ruvllm.errors import ConfigError, IoError, ModelError, NotFoundError
from ruvllm.runtime.configuration import resolve_model
from ruvllm.types import Precision
from tests.conftest import FIXTURES
from tests.hub.local_hub import LocalHub, commit_of

Q4 = b"GGUF four bits" * 20
Q8 = b"GGUF eight bits" * 20
PART_1, PART_2 = b"GGUF one" * 20, b"GGUF two" * 20
INDEX = json.dumps({"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}).encode()


@pytest.fixture(autouse=True)
def repos(local_hub: LocalHub) -> None:
    local_hub.repos = {
        "org/gguf": {
            "README.md": b"x",
            "m-Q4_K_M.gguf": Q4,
            "m-Q8_0.gguf": Q8,
            "m-Q2_K-00001-of-00002.gguf": PART_1,
            "m-Q2_K-00002-of-00002.gguf": PART_2,
        },
        "org/folder": {
            "README.md": b"x",
            "config.json": b"{}",
            "tokenizer.json": b"{ }",
            "model.safetensors.index.json": INDEX,
            "model-1.safetensors": b"1" * 200,
            "model-2.safetensors": b"2" * 200,
            "onnx/model.safetensors": b"3" * 200,
            "pytorch_model.bin": b"4" * 200,
        },
        "org/other": {"o-Q8_0.gguf": Q8},
    }


def test_a_quantization(local_hub: LocalHub) -> None:
    path = hub.resolve("org/gguf:q8_0")
    assert path.name == "m-Q8_0.gguf"
    assert path.read_bytes() == Q8
    assert not any("Q4" in request or "README" in request for request in local_hub.requests)


@pytest.mark.parametrize(
    ("quantization", "file_name"),
    [(None, "m-Q4_K_M.gguf"), (Precision.Q4K, "m-Q4_K_M.gguf"), (Precision.Q8, "m-Q8_0.gguf")],
)
def test_a_configured_quantization(quantization: Precision | None, file_name: str) -> None:
    config = ModelConfig(quantization=quantization)
    assert resolve_model("org/gguf", config).name == file_name
    # What the name says stands above it; the file is then refused where it is another.
    assert resolve_model("org/gguf:Q8_0", config).name == "m-Q8_0.gguf"
    assert resolve_model("hf://org/gguf/m-Q4_K_M.gguf", config).name == "m-Q4_K_M.gguf"


@pytest.mark.parametrize(
    ("name", "quantization", "words"),
    [
        ("org/gguf", Precision.Q4, "no quantization 'Q4_0'; it has: Q2_K, Q4_K_M, Q8_0"),
        ("org/other", Precision.Q4K, "no quantization 'Q4_K_M'; it has: Q8_0"),
        ("org/folder", Precision.Q4K, "no .gguf files, so 'Q4_K_M' cannot be chosen"),
    ],
)
def test_a_configured_quantization_that_is_not_there(name: str, quantization: Precision, words: str) -> None:
    with pytest.raises(NotFoundError, match=words):
        resolve_model(name, ModelConfig(quantization=quantization))


def test_the_default_and_then_no_network(local_hub: LocalHub) -> None:
    path = hub.resolve("org/gguf")
    assert path.read_bytes() == Q4
    assert path.parent.name == commit_of("org/gguf")
    local_hub.requests.clear()
    assert hub.resolve("org/gguf") == path
    assert hub.resolve("hf://org/gguf/m-Q4_K_M.gguf") == path
    assert local_hub.requests == []
    assert hub.pull("org/gguf") == path
    assert local_hub.requests != []


def test_finding_asks_no_network(local_hub: LocalHub) -> None:
    with pytest.raises(NotFoundError, match=r"not on this machine; `ruvllm pull org/gguf` fetches it"):
        hub.find("org/gguf")
    assert local_hub.requests == []
    path = hub.resolve("org/gguf")
    local_hub.requests.clear()
    assert hub.find("org/gguf") == path
    assert local_hub.requests == []


def test_a_name_does_not_change_its_meaning_with_what_is_cached(local_hub: LocalHub) -> None:
    hub.resolve("org/gguf:Q8_0")
    assert hub.resolve("org/gguf").read_bytes() == Q4


def test_a_split_model_is_fetched_whole() -> None:
    path = hub.resolve("org/gguf:Q2_K")
    assert path.name == "m-Q2_K-00001-of-00002.gguf"
    assert path.with_name("m-Q2_K-00002-of-00002.gguf").read_bytes() == PART_2


def test_a_folder(local_hub: LocalHub) -> None:
    path = hub.resolve("org/folder")
    assert sorted(file.name for file in path.iterdir()) == [
        "config.json",
        "model-1.safetensors",
        "model-2.safetensors",
        "model.safetensors.index.json",
        "tokenizer.json",
    ]
    local_hub.requests.clear()
    assert hub.resolve("org/folder") == path
    assert local_hub.requests == []
    (path / "model-2.safetensors").unlink()
    assert (hub.resolve("org/folder") / "model-2.safetensors").exists()


def test_a_revision(local_hub: LocalHub) -> None:
    assert hub.resolve(f"org/gguf@{commit_of('org/gguf')}:Q8_0").read_bytes() == Q8
    with pytest.raises(NotFoundError, match="no revision 'v9'"):
        hub.resolve("org/gguf@v9")


def test_a_damaged_file_is_deleted(local_hub: LocalHub) -> None:
    local_hub.damaged = {"m-Q8_0.gguf"}
    with pytest.raises(ModelError, match=r"m-Q8_0.gguf is damaged: its SHA-256"):
        hub.resolve("org/gguf:Q8_0")
    local_hub.damaged = set()
    assert hub.resolve("org/gguf:Q8_0").read_bytes() == Q8


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("org/none", NotFoundError, "no repository 'org/none'"),
        ("org/private", NotFoundError, "HF_TOKEN"),
        ("org/gguf:Q3_K_S", NotFoundError, "it has: Q2_K, Q4_K_M, Q8_0"),
        ("hf://org/gguf/none.gguf", NotFoundError, "its .gguf files: m-Q2_K-00001"),
        ("org/..", ConfigError, "'..'"),
    ],
)
def test_errors(name: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        hub.resolve(name)


def test_a_gated_repository(local_hub: LocalHub) -> None:
    local_hub.gated = {"org/gguf"}
    with pytest.raises(NotFoundError, match="accept its licence"):
        hub.resolve("org/gguf")


def test_without_network(local_hub: LocalHub) -> None:
    hub.resolve("org/other")
    local_hub.stop()
    assert hub.resolve("org/other").read_bytes() == Q8  # what is there, where no quantization was asked for
    with pytest.raises(IoError, match=r"cannot fetch org/gguf.*smollm2-135m"):
        hub.resolve("org/gguf")


def test_offline_mode(local_hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(IoError, match="org/gguf is not in the cache and HF_HUB_OFFLINE"):
        hub.resolve("org/gguf")
    assert local_hub.requests == []


def test_list_and_remove(tmp_path: Path) -> None:
    for name in ("org/gguf", "org/gguf:Q2_K", "org/gguf:Q8_0", "org/other", "org/folder"):
        hub.resolve(name)
    models = {model.name: model for model in hub.list(cache=tmp_path)}
    assert sorted(models) == [
        "org/folder",
        "org/gguf:Q2_K",
        "org/gguf:Q4_K_M",
        "org/gguf:Q8_0",
        "org/other:Q8_0",
    ]
    assert models["org/gguf:Q2_K"].size_bytes == len(PART_1) + len(PART_2)
    assert all(hub.resolve(name) == model.path for name, model in models.items())

    blobs = [path.resolve() for path in models["org/gguf:Q2_K"].path.parent.glob("m-Q2_K*")]
    assert [model.name for model in hub.remove("org/gguf:q2_k")] == ["org/gguf:Q2_K"]
    assert not any(blob.exists() for blob in blobs)
    assert len(hub.list(cache=tmp_path)) == 4
    assert [model.name for model in hub.remove("hf://org/gguf/m-Q8_0.gguf")] == ["org/gguf:Q8_0"]
    assert hub.resolve("org/other").read_bytes() == Q8  # the same bytes, in another repository
    assert [model.name for model in hub.remove("org/gguf")] == ["org/gguf:Q4_K_M"]
    assert sorted(model.name for model in hub.list(cache=tmp_path)) == ["org/folder", "org/other:Q8_0"]
    for name in ("org/gguf", "org/other:Q2_K"):
        with pytest.raises(NotFoundError, match="not in the Hub's cache"):
            hub.remove(name)


def test_a_users_own_file_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "mine.gguf"
    path.touch()
    with pytest.raises(ConfigError, match="delete it yourself"):
        hub.remove(str(path))
    assert path.exists()


def test_an_index_that_is_none(local_hub: LocalHub) -> None:
    local_hub.repos["org/folder"]["model.safetensors.index.json"] = b"[1]"
    path = hub.pull("org/folder")
    with pytest.raises(ModelError, match="no safetensors index"):
        hub.resolve("org/folder")
    assert path.is_dir()


def test_an_adapter(local_hub: LocalHub) -> None:
    folder = FIXTURES / "adapters" / "lora-all-r4" / "adapter"
    files = {
        name: (folder / name).read_bytes() for name in ("adapter_config.json", "adapter_model.safetensors")
    }
    local_hub.repos["org/tone"] = {**files, "README.md": b"x", "training_args.bin": b"pickled"}
    with LLM(FIXTURES / "models" / "llama-gqa", threads=1) as llm:
        fetched = llm.adapters.load("fetched", "hf://org/tone")
        assert fetched.generation == llm.adapters.load("here", folder).generation
        assert fetched.source is not None
        assert {path.name for path in fetched.source.iterdir()} == set(files)
        local_hub.stop()
        llm.adapters.load("again", "hf://org/tone")
        with pytest.raises(IoError, match="cannot fetch"):
            llm.adapters.load("other", "hf://org/missing")
        with pytest.raises(ConfigError, match="no adapter of the Hub"):
            hub.resolve_adapter("smollm2-135m")


def test_what_is_no_adapter(local_hub: LocalHub) -> None:
    with pytest.raises(NotFoundError, match=r"no adapter_config.json and no adapter_model.safetensors"):
        hub.resolve_adapter("hf://org/folder")
    assert hub.resolve_adapter("hf://org/gguf/m-Q8_0.gguf").read_bytes() == Q8
