"""The shell's completion: names of models at once, in the way of each shell, and the rest by typer."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ruvllm import hub

BASH = "complete_bash"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user who has one model, by Ollama."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.delenv("OLLAMA_MODELS", raising=False)
    models = tmp_path / ".ollama/models"
    (models / "blobs").mkdir(parents=True)
    (models / "blobs" / f"sha256-{'a' * 64}").write_bytes(b"GGUF")
    manifest = models / "manifests/registry.ollama.ai/library/mistral-nemo/12b"
    manifest.parent.mkdir(parents=True)
    layer = {"mediaType": "application/vnd.ollama.image.model", "digest": f"sha256:{'a' * 64}"}
    manifest.write_text(json.dumps({"layers": [layer]}))
    return tmp_path


def completed(shell: str, line: str, *, loaded: str = "") -> "subprocess.CompletedProcess[str]":
    """What a shell is told for a line up to the cursor."""
    environment = {**os.environ, "_RUVLLM_COMPLETE": shell, "_TYPER_COMPLETE_ARGS": line}
    # Bash ends words at colons.
    words = line.replace(":", " : ").split() + ([""] if line.endswith(" ") else [])
    environment |= {"COMP_WORDS": "\n".join(words), "COMP_CWORD": str(len(words) - 1)}
    environment |= {"_TYPER_COMPLETE_FISH_ACTION": "get-args"} if shell == "complete_fish" else {}
    script = (
        f"from ruvllm.cli.main import main\ntry: main()\nfinally:\n    import sys\n    {loaded or 'pass'}"
    )
    return subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        env=environment,
    )


def offered(line: str, shell: str = BASH) -> list[str]:
    return completed(shell, line).stdout.splitlines()


@pytest.mark.parametrize("shell", [BASH, "complete_fish"])
def test_models_are_offered_where_one_stands(shell: str) -> None:
    known = ["mistral-nemo:12b", *hub.DEFAULT_REGISTRY.names()]
    for command in ("run", "chat", "complete", "serve", "pull", "bench"):
        assert offered(f"ruvllm {command} ", shell) == known
    for command in ("info", "show", "rm", "doctor"):
        assert offered(f"ruvllm {command} ", shell) == known[:1]
    for line in ("run -m ", "bench --model ", "run --json ", "serve smollm2-135m "):
        assert offered(f"ruvllm {line}", shell) == known
    assert offered("ruvllm run smol", shell) == [name for name in known if name.startswith("smol")]


def test_bash_has_what_stands_before_a_colon_already() -> None:
    assert offered("ruvllm run qwen2.5:0") == ["0.5b"]
    assert offered("ruvllm run -m qwen2.5-coder:") == ["0.5b", "1.5b", "3b", "7b"]
    assert offered("ruvllm run qwen2.5-coder:", "complete_fish") == [
        f"qwen2.5-coder:{size}" for size in ("0.5b", "1.5b", "3b", "7b")
    ]


def test_zsh_is_told_in_its_own_way() -> None:
    """As typer's script for it evaluates what is printed."""
    assert completed("complete_zsh", "ruvllm run qwen2.5:0").stdout == (
        "_arguments '*: :((\"qwen2.5\\\\:0.5b\"))'"
    )
    assert completed("complete_zsh", "ruvllm run nothing").stdout == "_files"


@pytest.mark.parametrize("shell", [BASH, "complete_zsh", "complete_fish"])
@pytest.mark.parametrize("file_name", ["$(touch harmed).gguf", "`id`.gguf", "a'b.gguf", "with blank.gguf"])
def test_what_a_shell_would_run_or_split_is_not_offered(home: Path, shell: str, file_name: str) -> None:
    """Whoever publishes a repository names its files, and zsh evaluates what it is told."""
    repository = home / ".lmstudio/models/org/repo"
    repository.mkdir(parents=True)
    for name in (file_name, "good.gguf"):
        (repository / name).write_bytes(b"GGUF")
    assert f"hf://org/repo/{file_name}" in [model.name for model in hub.list()]
    told = completed(shell, "ruvllm info ").stdout
    assert "good.gguf" in told
    assert file_name not in told
    assert told.count("org/repo") == 1


def test_where_no_model_stands_none_is_offered() -> None:
    models = set(hub.DEFAULT_REGISTRY.names())
    for line in ("run smollm2-135m ", "run --system ", "run -m smollm2-135m ", "quantize ", "packs ", ""):
        assert not models & set(offered(f"ruvllm {line}")), line


def test_the_rest_is_typers() -> None:
    assert offered("ruvllm sho") == ["show"]
    assert offered("ruvllm run --temp") == ["--temperature"]
    assert offered("ruvllm adapters lo") == ["load"]
    assert offered("ruvllm run --kv-format k") == ["k8v4"]


def test_a_tab_costs_little() -> None:
    """No time of a clock, which other programs have a part in: neither typer nor the engine is imported."""
    loaded = (
        "print([n for n in ('typer', 'pydantic', 'rich', 'numpy', 'ruvllm._native') if n in sys.modules])"
    )
    assert completed(BASH, "ruvllm run smol", loaded=loaded).stdout.endswith("[]\n")


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_itself(home: Path) -> None:
    """With the script that `--show-completion` prints, and the words as bash splits them."""
    shown = subprocess.run(
        [sys.executable, "-m", "ruvllm"],
        capture_output=True,
        text=True,
        timeout=50,
        check=True,
        env={**os.environ, "_RUVLLM_COMPLETE": "source_bash"},
    ).stdout
    assert "complete_bash" in shown
    program = home / "ruvllm"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m ruvllm "$@"\n')
    program.chmod(0o755)
    script = (
        f"PATH={home}:$PATH\n{shown}\nCOMP_WORDS=(ruvllm run qwen2.5 : 0)\nCOMP_CWORD=4\n"
        '_ruvllm_completion ruvllm 0 :\necho "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=50, check=True)
    assert done.stdout == "0.5b\n", done.stderr
