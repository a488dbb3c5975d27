"""Adapters on the command line: on a model that is loaded here, in a server, and as folders."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ruvllm.adapters import merge, read_peft, write_peft
from tests.adapters.gguf_files import from_folder
from tests.adapters.gguf_files import write as write_gguf
from tests.serve.adapters import ADMIN, FIRST, SECOND, USER, folder
from tests.serve.conftest import tiny_chat_path
from tests.serve.process import run_to_end, serving

Ruvllm = Callable[..., Any]
__all__ = ["tiny_chat_path"]
PROMPT = "the cat sat on"
GREEDY = ("-T", "0", "-n", "12", "--repetition-penalty", "1")


@pytest.fixture
def engine(tiny_chat_path: Path) -> Callable[..., dict[str, Any]]:
    """Runs `ruvllm complete` on the real engine and gives its answer."""

    def run(*arguments: object) -> dict[str, Any]:
        command = [
            sys.executable,
            "-m",
            "ruvllm",
            "complete",
            PROMPT,
            "-m",
            tiny_chat_path,
            "--json",
            *GREEDY,
        ]
        done = subprocess.run(
            [str(one) for one in (*command, *arguments)],
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    return run


def test_complete_adds_adapters_up_each_with_its_scale(
    engine: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    """Beside merges of them: what adds up at run time is what they are merged to before."""
    none, one = engine(), engine("--adapter", folder(FIRST))
    both = engine("--adapter", folder(FIRST), "--adapter", f"{folder(SECOND)}:-0.5")
    merged = merge([(read_peft(folder(FIRST)), 1.0), (read_peft(folder(SECOND)), -0.5)], "task_arithmetic")
    write_peft(merged, tmp_path / "merged")
    assert both["token_ids"] == engine("--adapter", tmp_path / "merged")["token_ids"]
    assert both["token_ids"] != engine("--adapter", folder(FIRST), "--adapter", folder(SECOND))["token_ids"]
    assert len({tuple(found["token_ids"]) for found in (none, one, both)}) == 3


@pytest.mark.parametrize(
    "given", [["--adapter", "nowhere"], ["--adapter", "nowhere:0.5"], ["--adapter", "nowhere:much"]]
)
def test_what_is_no_adapter_is_told(given: list[str], tiny_chat_path: Path, tmp_path: Path) -> None:
    for first in (["complete", "x", "-m"], ["chat", "--prompt", "x"]):
        command = [sys.executable, "-m", "ruvllm", *first, str(tiny_chat_path), *given]
        done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False, cwd=tmp_path)
        assert done.returncode == 1, done.stderr
        assert "nowhere" in done.stderr
        assert "is no folder" in done.stderr


def test_with_a_server_an_adapter_is_its_model(ruvllm: Ruvllm) -> None:
    done = ruvllm("chat", "--url", "http://127.0.0.1:1", "--prompt", "x", "--adapter", "adapters/tone")
    assert done.exit_code == 2
    assert "give the name as MODEL" in " ".join(done.stderr.replace("│", " ").split())


# -- a server


def test_a_server_is_started_with_adapters_and_given_more(
    ruvllm: Ruvllm, tiny_chat_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = tmp_path / "keys.txt"
    keys.write_text(f"{ADMIN}  admin\n{USER}  tenant=acme\n")
    allowed = folder(FIRST).parents[1]
    monkeypatch.chdir(allowed)
    flags = ("--adapter", f"tone={folder(FIRST)}", "--adapter-dir", allowed, "--api-key-file", keys)
    with serving(tiny_chat_path, *flags) as server:
        url = server.wait_until_ready().url

        def ask(*arguments: str, key: str = ADMIN) -> Any:
            return ruvllm(*arguments, "--url", url, "--api-key", key)

        def listed() -> list[tuple[str, str, int]]:
            found = json.loads(ask("adapters", "list", "--json", key=USER).stdout)
            return [(one["name"], one["base"], one["rank"]) for one in found]

        assert listed() == [("tone", "tiny", 4)]
        # Relative to where the command is.
        done = ask("adapters", "load", "law", f"{SECOND}/adapter")
        assert (done.exit_code, done.stdout) == (0, ""), done.stderr
        assert "law is loaded" in done.stderr
        assert listed() == [("law", "tiny", 8), ("tone", "tiny", 4)]
        table = ask("adapters", "list", key=USER).stdout.splitlines()
        assert table[0].split() == ["NAME", "MODEL", "RANK", "SIZE", "GENERATION"]
        assert [line.split()[0] for line in table[1:]] == ["law", "tone"]
        said = {}
        for name in ("tiny", "law", "tone", "tiny:tone"):
            done = ask("chat", name, "--prompt", PROMPT, *GREEDY, key=USER)
            assert done.exit_code == 0, done.stderr
            said[name] = done.stdout
        assert len(set(said.values())) == 3
        assert said["tone"] == said["tiny:tone"]
        again = ask("adapters", "load", "law", f"{FIRST}/adapter")
        assert again.exit_code == 2
        assert "loaded already" in again.stderr
        assert ask("adapters", "load", "law", f"{FIRST}/adapter", "--replace").exit_code == 0
        assert listed() == [("law", "tiny", 4), ("tone", "tiny", 4)]
        refused = ask("adapters", "unload", "law", key=USER)
        assert refused.exit_code == 1
        assert "admin key" in refused.stderr
        assert ask("adapters", "unload", "law", "--model", "tiny").exit_code == 0
        assert listed() == [("tone", "tiny", 4)]
        assert ask("adapters", "unload", "law").exit_code == 1


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("tone", "NAME=FOLDER"),
        ("=FOLDER", "NAME=FOLDER"),
        ("tiny=FOLDER", "no model's"),
        ("other:tone=FOLDER", "one of the models tiny"),
        ("tone=nowhere", "nowhere is no folder"),
    ],
)
def test_an_adapter_that_cannot_be_served_ends_the_command(
    tiny_chat_path: Path, given: str, words: str
) -> None:
    given = given.replace("FOLDER", str(folder(FIRST)))
    done = run_to_end([f"tiny={tiny_chat_path}", "--port", "0", "--adapter", given])
    assert done.returncode == 2
    assert words in done.stderr


def test_an_adapter_that_does_not_fit_ends_the_command(tiny_chat_path: Path, tmp_path: Path) -> None:
    done = run_to_end([f"tiny={tiny_chat_path}", "--port", "0", "--adapter", f"tone={tmp_path}"])
    assert done.returncode == 1
    assert "adapter_config.json" in done.stderr


def test_where_no_server_is_it_is_told(ruvllm: Ruvllm) -> None:
    for arguments in (["list"], ["load", "tone", "adapters/tone"], ["unload", "tone"]):
        done = ruvllm("adapters", *arguments, "--url", "http://127.0.0.1:1")
        assert done.exit_code == 1
        assert "no server answers" in done.stderr


# -- folders


def test_info_tells_what_it_is(ruvllm: Ruvllm) -> None:
    facts = json.loads(ruvllm("adapters", "info", str(folder(FIRST)), "--json").stdout)
    assert facts["rank"] == 4
    assert facts["layers"] == [0, 1, 2]
    assert "q_proj" in facts["modules"]
    weights = read_peft(folder(FIRST))
    assert facts["parameters"] == sum(part.a.size + part.b.size for part in weights.parts)
    text = ruvllm("adapters", "info", str(folder(FIRST))).stdout
    assert "3 (0 to 2)" in text
    assert "q_proj" in text


def test_info_reads_gguf_files(ruvllm: Ruvllm, tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "tone.gguf", from_folder(folder(FIRST)))
    by_file, by_folder = (
        json.loads(ruvllm("adapters", "info", str(path), "--json").stdout) for path in (file, folder(FIRST))
    )
    for same in ("rank", "layers", "modules", "parameters"):
        assert by_file[same] == by_folder[same]
    # Its rows of Q and K stand in another order than a folder's.
    assert "PEFT has another order" in ruvllm("adapters", "export", str(file), str(tmp_path / "out")).stderr


def deltas(path: Path) -> dict[tuple[int, str], Any]:
    """What an adapter adds, map by map, in f64."""
    return {
        (part.layer, part.module): part.scale * part.b.astype(np.float64) @ part.a.astype(np.float64)
        for part in read_peft(path).parts
    }


def test_merge_writes_the_weighted_sum(ruvllm: Ruvllm, tmp_path: Path) -> None:
    given = [f"{folder(FIRST)}=0.7", f"{folder(SECOND)}=-0.3"]
    done = ruvllm("adapters", "merge", str(tmp_path / "both"), *given, "--method", "task_arithmetic")
    assert (done.exit_code, done.stdout) == (0, f"{tmp_path / 'both'}\n"), done.output
    first, second, both = (deltas(path) for path in (folder(FIRST), folder(SECOND), tmp_path / "both"))
    assert set(both) == set(first) | set(second)
    for place, found in both.items():
        expected = 0.7 * first.get(place, 0.0) - 0.3 * second.get(place, 0.0)
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_merge_has_all_that_the_library_has(ruvllm: Ruvllm, tmp_path: Path) -> None:
    flags = ["--method", "dare_ties", "--density", "0.3", "--rank", "3", "--seed", "5"]
    given = [str(folder(FIRST)), f"{folder(SECOND)}=0.5"]
    assert ruvllm("adapters", "merge", str(tmp_path / "both"), *given, *flags).exit_code == 0
    pair = [(read_peft(folder(FIRST)), 1.0), (read_peft(folder(SECOND)), 0.5)]
    expected = merge(pair, "dare_ties", density=0.3, rank=3, seed=5)
    found = read_peft(tmp_path / "both")
    assert found.max_rank == 3
    for one, other in zip(found.parts, expected.parts, strict=True):
        np.testing.assert_allclose(one.b @ one.a, other.b @ other.a, atol=1e-5)


def test_export_writes_the_same_in_plain(ruvllm: Ruvllm, tmp_path: Path) -> None:
    done = ruvllm("adapters", "export", str(folder(SECOND)), str(tmp_path / "plain"))
    assert (done.exit_code, done.stdout) == (0, f"{tmp_path / 'plain'}\n")
    config = json.loads((tmp_path / "plain" / "adapter_config.json").read_text())
    assert config["use_rslora"] is False
    before, after = deltas(folder(SECOND)), deltas(tmp_path / "plain")
    assert set(before) == set(after)
    for place, expected in before.items():
        np.testing.assert_allclose(after[place], expected, atol=1e-6)
    again = ruvllm("adapters", "export", str(folder(SECOND)), str(tmp_path / "plain"))
    assert again.exit_code == 1
    assert "exists" in again.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["merge", "OUT", "FIRST=much"], "'much' is no weight"),
        (["merge", "OUT", "FIRST", "--method", "magic"], "it must be one of linear"),
        (["merge", "OUT", "FIRST=1", "SECOND=-1"], "the sum 0"),
    ],
)
def test_wrong_usage(ruvllm: Ruvllm, tmp_path: Path, arguments: list[str], words: str) -> None:
    places = {"OUT": tmp_path / "out", "FIRST": folder(FIRST), "SECOND": folder(SECOND)}
    for name, place in places.items():
        arguments = [one.replace(name, str(place)) for one in arguments]
    done = ruvllm("adapters", *arguments)
    assert done.exit_code == 2, done.output
    assert words in done.stderr
    assert not (tmp_path / "out").exists()
