"""What a name means, and which names are refused."""

from pathlib import Path

import pytest

from ruvllm.errors import ConfigError, NotFoundError
from ruvllm.hub import DEFAULT_REGISTRY, HubModel, LocalModelPath, RegistryModel, called, parse


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("smollm2-135m", RegistryModel(name="smollm2-135m")),
        ("smollm2", RegistryModel(name="smollm2-135m")),
        ("SmolLM2-135M-Instruct", RegistryModel(name="smollm2-135m")),
        ("smollm2-135m-INSTRUCT", RegistryModel(name="smollm2-135m")),
        ("gemma-3-270m", RegistryModel(name="gemma-3-270m")),
        ("org/repo", HubModel(repo_id="org/repo")),
        ("Qwen/Qwen2.5-0.5B_x", HubModel(repo_id="Qwen/Qwen2.5-0.5B_x")),
        ("org/repo:Q4_K_M", HubModel(repo_id="org/repo", quantization="Q4_K_M")),
        ("org/repo:q8_0", HubModel(repo_id="org/repo", quantization="q8_0")),
        ("org/repo@v1.0:Q8_0", HubModel(repo_id="org/repo", revision="v1.0", quantization="Q8_0")),
        ("hf://org/repo", HubModel(repo_id="org/repo")),
        ("HF://org/repo:Q4_0", HubModel(repo_id="org/repo", quantization="Q4_0")),
        ("hf://org/repo/a-Q8_0.gguf", HubModel(repo_id="org/repo", file_name="a-Q8_0.gguf")),
        ("hf://org/repo@main/x/a.gguf", HubModel(repo_id="org/repo", file_name="x/a.gguf")),
        ("hf.co/org/repo:Q4_0", HubModel(repo_id="org/repo", quantization="Q4_0")),
        ("https://huggingface.co/org/repo", HubModel(repo_id="org/repo")),
        ("https://HF.co/org/repo/", HubModel(repo_id="org/repo")),
        (
            "https://huggingface.co/org/repo/resolve/main/a.gguf?download=true",
            HubModel(repo_id="org/repo", file_name="a.gguf"),
        ),
        (
            "https://huggingface.co/org/repo/blob/abc123/b/a.gguf",
            HubModel(repo_id="org/repo", revision="abc123", file_name="b/a.gguf"),
        ),
        ("https://huggingface.co/org/repo/tree/v2", HubModel(repo_id="org/repo", revision="v2")),
    ],
)
def test_names(name: str, expected: object) -> None:
    assert parse(name, DEFAULT_REGISTRY) == expected


@pytest.mark.parametrize(
    "model",
    [
        HubModel(repo_id="org/repo", quantization="Q4_0", revision="v1"),
        HubModel(repo_id="org/repo", file_name="x/a.gguf", revision="v1"),
        HubModel(repo_id="org/repo"),
    ],
)
def test_a_hub_model_is_written_as_it_is_read(model: HubModel) -> None:
    assert parse(str(model), DEFAULT_REGISTRY) == model


@pytest.mark.parametrize(
    "name",
    [
        "",
        "   ",
        "org/repo\0",
        "org/re\npo",
        "x" * 5000,
        "org/../secret",
        "org/..",
        "org/re..po",
        "../../etc:Q4/passwd/x/y:Q4",
        "org/repo:Q4;rm",
        "org/repo:",
        "org/repo:../x",
        "org/repo name",
        "org/repo;ls",
        "org/$(ls)",
        "org/repo/extra",
        "-org/repo",
        "org/repo.git",
        "org/re--po",
        "org/repo@",
        "org/repo@../x",
        "hf://repo",
        "hf://",
        "hf:///repo",
        "hf://org/repo/../../a.gguf",
        "hf://org/repo//a.gguf",
        "hf://org/repo/a.bin",
        "hf://org/repo/a.gguf:Q4_0",
        "http://huggingface.co/org/repo",
        "https://example.org/org/repo",
        "https://huggingface.co.example.org/org/repo",
        "https://huggingface.co:8443/org/repo",
        "https://huggingface.co:x/org/repo",
        "https://huggingface.co/org/repo?x=1",
        "https://huggingface.co/org/repo#x",
        "https://huggingface.co/org/%2e%2e/x",
        "https://[huggingface.co/org/repo",
        "file:///etc/passwd",
        "ftp://huggingface.co/org/repo",
        "git+ssh://huggingface.co/org/repo",
    ],
)
def test_refused(name: str) -> None:
    with pytest.raises((ConfigError, NotFoundError)) as caught:
        parse(name, DEFAULT_REGISTRY)
    assert len(str(caught.value)) > 20


def test_a_password_in_a_url_is_not_repeated() -> None:
    with pytest.raises(ConfigError, match="HF_TOKEN") as caught:
        parse("https://user:secret@huggingface.co/org/repo", DEFAULT_REGISTRY)
    assert "secret" not in str(caught.value)


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(NotFoundError, match=r"Did you mean 'smollm2-135m'.*\?.*org/repo:Q4_K_M"):
        parse("smolm2-135", DEFAULT_REGISTRY)
    with pytest.raises(NotFoundError) as caught:
        parse("xyzzy", DEFAULT_REGISTRY)
    assert "Did you mean" not in str(caught.value)


def test_local_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "org/repo").mkdir(parents=True)
    (tmp_path / "smollm2").mkdir()
    (tmp_path / "model.gguf").touch()
    for name, path in {
        "model.gguf": "model.gguf",
        "./model.gguf": "model.gguf",
        "~/model.gguf": "model.gguf",
        str(tmp_path / "model.gguf"): "model.gguf",
        "org/repo": "org/repo",  # what exists wins over the Hub
        "org/repo/": "org/repo",
        "./smollm2": "smollm2",
        "org": "org",
    }.items():
        assert parse(name, DEFAULT_REGISTRY) == LocalModelPath(path=tmp_path.resolve() / path), name
    assert parse("smollm2", DEFAULT_REGISTRY) == RegistryModel(name="smollm2-135m")
    assert parse(Path("smollm2"), DEFAULT_REGISTRY) == LocalModelPath(path=tmp_path.resolve() / "smollm2")


@pytest.mark.parametrize(
    "name", ["missing.gguf", "./missing", "/missing/model.gguf", "a/b/c.gguf", "~/missing"]
)
def test_missing_paths(name: str) -> None:
    with pytest.raises(NotFoundError, match="no file or folder"):
        parse(name, DEFAULT_REGISTRY)


def test_what_a_model_is_called(tmp_path: Path) -> None:
    """Its name as it was given, or what a path ends in; only a file's name has an ending."""
    folder = tmp_path / "Qwen2.5-0.5B"
    folder.mkdir()
    (folder / "a.b.gguf").touch()
    for given, name in (
        ("smollm2-135m", "smollm2-135m"),
        ("SmolLM2", "SmolLM2"),
        ("org/repo:Q4_K_M", "org/repo:Q4_K_M"),
        (folder, "Qwen2.5-0.5B"),
        (str(folder), "Qwen2.5-0.5B"),
        (folder / "a.b.gguf", "a.b"),
    ):
        assert called(given, DEFAULT_REGISTRY) == name
