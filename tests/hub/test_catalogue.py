"""The short names: well formed, each for one thing, with what follows from a model's own sizes."""

import re
from pathlib import Path

import pytest

import ruvllm._native as _native
from ruvllm import hub
from ruvllm.errors import NotFoundError
from ruvllm.hub import DEFAULT_REGISTRY, HubEntry, HubModel, LocalModelPath, called, needed_bytes, parse
from ruvllm.hub.selection import select

ENTRIES = list(DEFAULT_REGISTRY)
ON_HUB = [entry for entry in ENTRIES if isinstance(entry, HubEntry)]


def test_every_name_is_for_one_thing() -> None:
    names = [name.lower() for entry in ENTRIES for name in (entry.name, *entry.aliases)]
    assert len(names) == len(set(names))
    assert len({(entry.repo_id, entry.quantization) for entry in ON_HUB}) == len(ON_HUB) >= 25


@pytest.mark.parametrize("entry", ON_HUB, ids=lambda entry: entry.name)
def test_a_name_of_the_hub_is_spelt_as_ollama_spells_it(entry: HubEntry) -> None:
    assert re.fullmatch(r"[a-z0-9.-]+:[0-9.]+[bm]", entry.name)
    # What is in the name is in the repository's: nothing was pasted into the wrong row.
    family, size = entry.name.split(":")
    words = re.split(r"[^a-z0-9.]+", entry.repo_id.lower())
    assert size in words or family.startswith("phi") or size == "7b"
    assert re.match(r"[a-z]+", family)[0] in entry.repo_id.lower()  # type: ignore[index]
    assert entry.licence_url.startswith("https://")


@pytest.mark.parametrize("entry", ON_HUB, ids=lambda entry: entry.name)
def test_it_stands_for_a_quantization_of_a_repository(entry: HubEntry) -> None:
    meant = HubModel(repo_id=entry.repo_id, quantization=entry.quantization)
    for name in (entry.name, entry.name.upper(), f"{entry.name}:latest", *entry.aliases):
        assert parse(name, DEFAULT_REGISTRY) == meant
    assert called(entry.name, DEFAULT_REGISTRY) == entry.name
    assert parse(str(meant), DEFAULT_REGISTRY) == meant


def test_ollamas_latest_is_not_the_package_indexs() -> None:
    """`smollm2:latest` is one of 1.7B there."""
    assert DEFAULT_REGISTRY.find("smollm2") is not None
    assert DEFAULT_REGISTRY.find("smollm2:latest") is None


def test_the_phi_3_of_its_makers_is_found_by_its_quantization() -> None:
    """Its files are called otherwise than all others."""
    files = ["Phi-3-mini-4k-instruct-fp16.gguf", "Phi-3-mini-4k-instruct-q4.gguf"]
    meant = parse("phi3", DEFAULT_REGISTRY)
    assert isinstance(meant, HubModel)
    assert select(files, meant).entry_file == files[1]


def test_what_lies_here_wins_over_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mistral").mkdir()
    assert parse("mistral", DEFAULT_REGISTRY) == LocalModelPath(path=(tmp_path / "mistral").resolve())


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("llama3", "llama3.2:3b"),
        ("qwen2.5:14b", "qwen2.5:7b"),
        ("gema3:1b", "gemma3:1b"),
        ("deepseek-r1", "deepseek-r1:1.5b"),
        ("qwen-2.5", "qwen2.5:7b"),
        ("phi3:14b-medium-128k-instruct-q8_0", "phi3:3.8b"),
    ],
)
def test_a_near_miss_is_answered(name: str, near: str) -> None:
    with pytest.raises(NotFoundError, match="Did you mean") as caught:
        parse(name, DEFAULT_REGISTRY)
    suggested = re.findall(r"'([^']+)'", str(caught.value).partition("Did you mean ")[2].partition("?")[0])
    assert near in suggested
    assert 1 <= len(suggested) <= 3
    assert set(suggested) <= set(DEFAULT_REGISTRY.names())


def test_what_was_fetched_by_a_short_name_is_listed_by_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cache as `huggingface_hub` lays it out, with one quantization that has a name and one without."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    repo = tmp_path / "models--Qwen--Qwen2.5-0.5B-Instruct-GGUF"
    snapshot = repo / "snapshots" / "c0ffee"
    snapshot.mkdir(parents=True)
    (repo / "refs").mkdir()
    (repo / "refs/main").write_text("c0ffee")
    for quantization in ("q4_k_m", "q8_0"):
        (snapshot / f"qwen2.5-0.5b-instruct-{quantization}.gguf").write_bytes(b"GGUF")
    listed = {model.name: model.path for model in hub.list(cache=tmp_path / "none")}
    assert set(listed) == {"qwen2.5:0.5b", "Qwen/Qwen2.5-0.5B-Instruct-GGUF:Q8_0"}
    assert hub.find("qwen2.5:0.5b") == listed["qwen2.5:0.5b"]


@pytest.mark.parametrize("broken", ["x" * 5000, "../../../outside", "..", ".", "", "a/b"])
def test_a_broken_branch_of_the_cache_is_passed_over(
    broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    cache = tmp_path / "hf"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    for name, commit in (("broken", broken), ("whole", "c0ffee")):
        repo = cache / f"models--org--{name}"
        for folder in ("refs", "snapshots/c0ffee", "snapshots/a/b"):
            (repo / folder).mkdir(parents=True)
        (repo / "refs/main").write_text(commit)
        (repo / "snapshots/c0ffee/one-Q4_K_M.gguf").write_bytes(b"GGUF")
        (repo / "snapshots/a/b/one-Q4_K_M.gguf").write_bytes(b"GGUF")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/one-Q4_K_M.gguf").write_bytes(b"GGUF")
    assert [model.name for model in hub.list(cache=tmp_path / "none")] == ["org/whole:Q4_K_M"]
    assert hub.find("org/whole").is_file()
    with pytest.raises(NotFoundError, match="not on this machine"):
        hub.find("org/broken")


@pytest.mark.real_model
@pytest.mark.parametrize("name", ["smollm2-135m", "gemma-3-270m"])
def test_keys_and_values_are_as_large_as_the_engine_has_them(
    name: str, request: pytest.FixtureRequest
) -> None:
    entry = DEFAULT_REGISTRY.find(name)
    assert entry is not None
    header = _native.ModelHeader.read(hub.resolve(name, quiet=True), "auto")
    _, heads, width = header.heads
    assert entry.kv_bytes_per_token == header.num_layers * heads * width * 2 * 2
    assert needed_bytes(entry, 1000) == header.sizes[1] + 1000 * entry.kv_bytes_per_token
