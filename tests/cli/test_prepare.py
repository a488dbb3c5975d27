"""`ruvllm prepare`: on a tiny model, for real."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import FIXTURES

TINY = str(FIXTURES / "gguf" / "llama-gqa.gguf")
Ruvllm = Callable[..., Any]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RUVLLM_CACHE_DIR", str(tmp_path))
    return tmp_path


def test_a_model_is_prepared_listed_and_removed(ruvllm: Ruvllm, cache: Path) -> None:
    listed = ruvllm("prepare")
    assert (listed.exit_code, listed.stdout) == (0, "")
    assert "no model is prepared yet" in listed.stderr
    done = ruvllm("prepare", TINY)
    assert done.exit_code == 0, done.stderr
    assert "packed in" in done.stderr
    [image] = (cache / "images").iterdir()
    assert str(image) in done.stderr.replace("\n", "")
    assert "was prepared before" in ruvllm("prepare", TINY).stderr
    assert "llama-gqa" in ruvllm("prepare").stdout
    removed = ruvllm("prepare", TINY, "--remove")
    assert "1 images deleted" in removed.stderr
    assert not image.exists()


def test_for_programs(ruvllm: Ruvllm, cache: Path) -> None:
    assert json.loads(ruvllm("prepare", "--json").stdout) == {"images": []}
    [made] = json.loads(ruvllm("prepare", TINY, "--json").stdout)["images"]
    size = Path(made["path"]).stat().st_size
    assert (made["model"], made["size_bytes"], made["was_there"]) == ("llama-gqa", size, False)
    assert made["seconds"] > 0
    [listed] = json.loads(ruvllm("prepare", "--json").stdout)["images"]
    assert listed == {name: made[name] for name in ("model", "path", "size_bytes")}
    # By the name that is listed, also where the model itself is gone.
    [removed] = json.loads(ruvllm("prepare", "llama-gqa", "--remove", "--json").stdout)["images"]
    assert removed == listed
    again = ruvllm("prepare", "llama-gqa", "--remove", "--json")
    assert (again.exit_code, list(json.loads(again.stdout))) == (1, ["error"])


def test_images_of_a_short_name_of_the_hub(
    ruvllm: Ruvllm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An image is called as the file is, and that is not called as the name."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hf"))
    repo = tmp_path / "hf/models--Qwen--Qwen2.5-0.5B-Instruct-GGUF"
    for folder in ("refs", "snapshots/c0ffee"):
        (repo / folder).mkdir(parents=True)
    (repo / "refs/main").write_text("c0ffee")
    shutil.copy(TINY, repo / "snapshots/c0ffee/qwen2.5-0.5b-instruct-q4_k_m.gguf")
    [made] = json.loads(ruvllm("prepare", "qwen2.5:0.5b", "--json").stdout)["images"]
    # Nothing is deleted where one of the names has none.
    failed = ruvllm("prepare", "qwen2.5:0.5b", "qwen2.5:7b", "--remove")
    assert failed.exit_code == 1
    assert "no image of qwen2.5:7b is here" in " ".join(failed.stderr.split())
    assert Path(made["path"]).exists()
    assert "1 images deleted" in ruvllm("prepare", "qwen2.5:0.5b", "--remove").stderr
    assert not Path(made["path"]).exists()


def test_a_model_that_is_not_there(ruvllm: Ruvllm) -> None:
    failed = ruvllm("prepare", "/no/such/model.gguf")
    assert failed.exit_code != 0
    assert "model.gguf" in failed.stderr
