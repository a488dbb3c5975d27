"""Models of Ollama and LM Studio are found where they lie, under the names that they have there."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import ruvllm.hub as hub
from ruvllm.errors import ConfigError, NotFoundError
from ruvllm.hub import ollama
from tests.conftest import FIXTURES

TINY = FIXTURES / "gguf" / "llama-gqa.gguf"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user who has nothing yet."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RUVLLM_HOME", str(tmp_path / "ours"))
    monkeypatch.delenv("OLLAMA_MODELS", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hf-cache"))
    return tmp_path


def blob(folder: Path, data: bytes, media_type: str) -> dict[str, Any]:
    """A file as Ollama keeps it, and the layer that names it."""
    digest = hashlib.sha256(data).hexdigest()
    path = folder / "blobs" / f"sha256-{digest}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    kind = f"application/vnd.ollama.image.{media_type}"
    return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(data)}


def pulled(folder: Path, name: str, data: bytes | None = None, **replaced: Any) -> Path:
    """What `ollama pull` leaves behind; `name` is the path of its manifest."""
    weights = blob(folder, TINY.read_bytes() if data is None else data, "model")
    config = blob(folder, json.dumps({"model_format": "gguf", "file_type": "Q8_0"}).encode(), "config")
    config["mediaType"] = "application/vnd.docker.container.image.v1+json"
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": config,
        "layers": [weights, blob(folder, b"{{ .Prompt }}", "template"), blob(folder, b"MIT", "license")],
    }
    path = folder / "manifests" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(manifest | replaced))
    return folder / "blobs" / weights["digest"].replace(":", "-")


NAMES = {
    "registry.ollama.ai/library/mistral-nemo/12b": ("mistral-nemo:12b", "mistral-nemo:12b"),
    "registry.ollama.ai/library/mistral-nemo/latest": ("mistral-nemo:latest", "mistral-nemo"),
    "registry.ollama.ai/library/llama3.2/1b": ("llama3.2:1b", "llama3.2:1b"),
    "registry.ollama.ai/library/smollm2/latest": ("smollm2:latest", "smollm2:latest"),
    "registry.ollama.ai/library/smollm2/135m": ("smollm2:135m", "smollm2:135m"),
    "registry.ollama.ai/somebody/own/q4": (
        "registry.ollama.ai/somebody/own:q4",
        "registry.ollama.ai/somebody/own:q4",
    ),
    "my.host/team/own/q4": ("my.host/team/own:q4", "my.host/team/own:q4"),
    "hf.co/org/repo-GGUF/Q4_K_M": ("hf.co/org/repo-GGUF:Q4_K_M", "org/repo-GGUF:Q4_K_M"),
}


@pytest.mark.parametrize("manifest", NAMES)
def test_a_model_of_ollamas_is_found_under_its_name(home: Path, manifest: str) -> None:
    listed, typed = NAMES[manifest]
    with pytest.raises((NotFoundError, ConfigError)):
        hub.find(typed)
    path = pulled(home / ".ollama/models", manifest)
    assert hub.find(typed) == hub.resolve(listed) == path
    assert hub.owner_of(path) == ("Ollama", home / ".ollama/models")
    [model] = hub.list()
    assert (model.name, model.path, model.source, model.quantization) == (listed, path, "ollama", "Q8_0")
    assert model.size_bytes == TINY.stat().st_size


def test_another_publishers_model_is_not_taken_for_the_hubs(home: Path) -> None:
    """A user of Ollama's need not be the one who has that name at the Hub."""
    pulled(home / ".ollama/models", "registry.ollama.ai/somebody/own/q4")
    pulled(home / ".ollama/models", "registry.ollama.ai/somebody/own/latest")
    for name in ("somebody/own:q4", "somebody/own"):
        with pytest.raises(NotFoundError, match="not on this machine"):
            hub.find(name)


def test_what_cannot_be_asked_for_is_not_listed(home: Path) -> None:
    pulled(home / ".ollama/models", "localhost:5000/team/own/q4")
    assert hub.list() == []


def test_without_a_home_there_are_no_neighbours(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container whose user has neither HOME nor a line in /etc/passwd."""
    pwd = pytest.importorskip("pwd")

    def unknown(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    with pytest.raises(RuntimeError):
        Path.home()
    assert [model for model in hub.list() if model.source == "lm-studio"] == []
    with pytest.raises(NotFoundError):
        hub.find("llama3.2:1b")
    assert hub.owner_of(TINY) is None


def test_a_file_that_goes_while_it_is_listed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`ollama rm` may come between any two looks at the disk."""
    path = pulled(home / ".ollama/models", "registry.ollama.ai/library/gone/latest")
    pulled(home / ".ollama/models", "registry.ollama.ai/library/stays/latest", TINY.read_bytes() + b"\0")
    other = lm_studio(home / ".lmstudio/models/org/repo", "one-Q8_0.gguf") / "one-Q8_0.gguf"
    seen = Path.is_file

    def deleted_afterwards(file: Path) -> bool:
        there = seen(file)
        if file in (path, other):
            file.unlink(missing_ok=True)
        return there

    monkeypatch.setattr(Path, "is_file", deleted_afterwards)
    assert [model.name for model in hub.list()] == ["stays:latest"]


def test_it_is_called_as_it_is_there(home: Path) -> None:
    """Not by its digest, which is what its file is called."""
    pulled(home / ".ollama/models", "registry.ollama.ai/library/mistral-nemo/12b")
    assert hub.called("mistral-nemo:12b", hub.DEFAULT_REGISTRY) == "mistral-nemo:12b"


def test_another_folder_of_ollamas(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pulled(home / ".ollama/models", "registry.ollama.ai/library/one/latest")
    path = pulled(home / "elsewhere", "registry.ollama.ai/library/two/latest")
    monkeypatch.setenv("OLLAMA_MODELS", str(home / "elsewhere"))
    assert hub.find("two") == path
    assert [model.name for model in hub.list()] == ["two:latest"]


@pytest.mark.parametrize(
    "replaced",
    [
        {"layers": []},
        {"layers": "none"},
        {
            "layers": [
                {"mediaType": "application/vnd.ollama.image.model", "digest": "sha256:../../../etc/passwd"}
            ]
        },
        {"layers": [{"mediaType": "application/vnd.ollama.image.model", "digest": f"sha256:{'0' * 64}"}]},
        {"layers": [{"mediaType": "application/vnd.ollama.image.model", "digest": 7}, 7]},
        {"config": "none"},
    ],
)
def test_what_is_broken_is_passed_over(home: Path, replaced: dict[str, Any]) -> None:
    folder = home / ".ollama/models"
    pulled(folder, "registry.ollama.ai/library/broken/latest", **replaced)
    (folder / "manifests/registry.ollama.ai/library/broken/other").write_text("{" * 100_000)
    whole = "config" in replaced
    assert [model.name for model in hub.list()] == (["broken:latest"] if whole else [])
    assert (ollama.find("broken") is not None) is whole


@pytest.mark.parametrize("name", ["../x", "a/../b:c", "a/b/c/d/e", "", ":", "x:..", "a//b"])
def test_no_name_leads_out_of_the_folder(home: Path, name: str) -> None:
    (home / ".ollama/models/manifests").mkdir(parents=True)
    assert ollama.find(name) is None


def test_it_is_not_ours_to_delete(home: Path) -> None:
    path = pulled(home / ".ollama/models", "registry.ollama.ai/library/mistral-nemo/12b")
    with pytest.raises(ConfigError, match="`ollama rm mistral-nemo:12b`"):
        hub.remove("mistral-nemo:12b")
    with pytest.raises(NotFoundError):
        hub.remove("llama3.2:1b")
    # Under a name that stands for a file of the Hub as well.
    other = pulled(home / ".ollama/models", "registry.ollama.ai/library/llama3.2/1b", b"GGUF")
    with pytest.raises(ConfigError, match=r"'llama3.2:1b' is Ollama's"):
        hub.remove("llama3.2:1b")
    folder = lm_studio(home / ".lmstudio/models/org/repo", "one-Q8_0.gguf")
    with pytest.raises(ConfigError, match=r"'org/repo:Q8_0' is LM Studio's"):
        hub.remove("org/repo:Q8_0")
    assert path.exists()
    assert other.exists()
    assert (folder / "one-Q8_0.gguf").exists()


def lm_studio(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True)
    for name in names:
        shutil.copy(TINY, folder / name)
    return folder


@pytest.mark.parametrize("root", [".lmstudio/models", ".cache/lm-studio/models"])
def test_a_model_of_lm_studios_has_the_hubs_name(home: Path, root: str) -> None:
    names = ("Llama-3.2-1B-Instruct-Q4_K_M.gguf", "Llama-3.2-1B-Instruct-Q8_0.gguf", "mmproj-model-f16.gguf")
    folder = lm_studio(home / root / "bartowski/Llama-3.2-1B-Instruct-GGUF", *names)
    repo = "bartowski/Llama-3.2-1B-Instruct-GGUF"
    assert hub.find("llama3.2:1b") == hub.find(f"{repo}:q4_k_m") == hub.find(repo) == folder / names[0]
    assert hub.find(f"{repo}:Q8_0") == hub.find(f"hf://{repo}/{names[1]}") == folder / names[1]
    for missing in (f"{repo}:Q5_0", f"{repo}@v2:Q8_0"):
        with pytest.raises(NotFoundError):
            hub.find(missing)
    assert sorted((model.name, model.source) for model in hub.list()) == [
        (f"{repo}:Q4_K_M", "lm-studio"),
        (f"{repo}:Q8_0", "lm-studio"),
    ]


def test_a_name_without_a_quantization_means_the_usual_one(home: Path) -> None:
    """Here as in the Hub's cache: not whichever is there."""
    folder = lm_studio(home / ".lmstudio/models/org/repo", "one-Q8_0.gguf")
    with pytest.raises(NotFoundError):
        hub.find("org/repo")
    assert hub.find("org/repo:Q8_0") == folder / "one-Q8_0.gguf"


def ruvllm(*arguments: str, home: Path) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "HOME": str(home), "HF_HOME": str(home / "hf"), "HF_HUB_OFFLINE": "1"}
    return subprocess.run(
        [sys.executable, "-m", "ruvllm", *arguments],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        env=environment,
        stdin=subprocess.DEVNULL,
    )


def test_the_command_line_opens_it_there_and_says_whose_it_is(home: Path) -> None:
    folder = home / ".ollama/models"
    path = pulled(folder, "registry.ollama.ai/library/llama3.2/1b")
    before = sorted(one for one in home.rglob("*") if one.is_file())
    told = ruvllm("info", "llama3.2:1b", "--json", home=home)
    assert json.loads(told.stdout)["path"] == str(path)
    loaded = ruvllm("bench", "llama3.2:1b", "--prompt", "4", "--generate", "1", "--repeat", "1", home=home)
    assert loaded.returncode == 0, loaded.stderr
    assert f"llama3.2:1b: Ollama's file {path}" in loaded.stderr
    listed = ruvllm("list", home=home)
    assert "llama3.2:1b" in listed.stdout
    assert f"Ollama's lie in {folder}" in listed.stderr
    # Nothing was copied.
    assert sorted(one for one in home.rglob("*") if one.is_file()) == before


def test_ollamas_own_is_not_described_as_the_package_indexs(home: Path) -> None:
    pulled(home / ".ollama/models", "registry.ollama.ai/library/smollm2/135m")
    assert "licence" not in json.loads(ruvllm("info", "smollm2:135m", "--json", home=home).stdout)
    done = ruvllm("pull", "smollm2:135m", home=home)
    assert (done.returncode, "licence" in done.stderr) == (0, False)
