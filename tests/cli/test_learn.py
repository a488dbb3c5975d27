"""`ruvllm learn`: over a server that runs, in its folder while it runs, and in the folder alone."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.serve.conftest import tiny_chat_path
from tests.serve.process import ServeProcess, run_to_end, serving

Ruvllm = Callable[..., Any]
__all__ = ["tiny_chat_path"]
ACME, OTHER = "sk-acme-00001", "sk-other-0001"


def ask(server: ServeProcess, key: str) -> str:
    import httpx

    body = {"model": "tiny", "messages": [{"role": "user", "content": "the cat"}], "max_tokens": 5}
    headers = {"authorization": f"Bearer {key}"}
    found = httpx.post(f"{server.url}/v1/chat/completions", json=body, headers=headers, timeout=30).json()
    return str(found["id"])


def test_feedback_is_given_shown_undone_and_outlives_the_server(
    ruvllm: Ruvllm, tiny_chat_path: Path, tmp_path: Path
) -> None:
    keys, learned = tmp_path / "keys.txt", str(tmp_path / "learned")
    keys.write_text(f"{ACME}  tenant=acme\n{OTHER}  tenant=other\n")
    flags = ("--learn", "--learn-dir", learned, "--api-key-file", keys)
    with serving(tiny_chat_path, *flags) as server:
        url = server.wait_until_ready().url

        def learn(*arguments: str, key: str = ACME) -> Any:
            return ruvllm("learn", *arguments, "--url", url, "--api-key", key)

        first = ask(server, ACME)
        good = learn("feedback", first, "--good")
        assert good.exit_code == 0, good.stderr
        assert good.stdout.startswith("generation 1: ")
        assert "ruvllm learn rollback" in good.stderr
        assert learn("feedback", first, "--bad", key=OTHER).exit_code == 1
        (tmp_path / "better.txt").write_text("a dog ran")
        better = str(tmp_path / "better.txt")
        done = json.loads(learn("feedback", ask(server, ACME), "--corrected", better, "--json").stdout)
        assert (done["applied"], done["generation"]) == (True, 2)
        (told,) = json.loads(learn("status", "--json").stdout)
        assert (told["tenant"], told["model"], told["updates"], told["can_undo"]) == ("acme", "tiny", 2, 2)
        assert learn("rollback").stdout == "generation 3: as generation 1\n"
        again = learn("rollback", "--steps", "9")
        assert again.exit_code != 0
        assert "1 are kept" in again.stderr
        # In the folder of a server that runs one may look, and not change.
        (kept,) = json.loads(ruvllm("learn", "status", "--learn-dir", learned, "--json").stdout)
        assert (kept["tenant"], kept["generation"], kept["updates"]) == ("acme", 3, 1)
        refused = ruvllm("learn", "rollback", "--learn-dir", learned)
        assert refused.exit_code == 1
        assert "somebody else writes there" in refused.stderr
        server.process.terminate()
        assert server.ended() == 0
        assert "Traceback" not in server.log
    table = ruvllm("learn", "log", "--learn-dir", learned, "--tenant", "acme").stdout.splitlines()
    assert table[0].split()[:5] == ["NUMBER", "TIME", "TENANT", "LOOP", "DONE"]
    assert [line.split()[4] for line in table[1:]] == ["instant", "instant", "rollback"]
    assert first in table[1]
    last = json.loads(ruvllm("learn", "log", "--learn-dir", learned, "--last", "1", "--json").stdout)
    assert [(one["number"], one["loop"], one["generation_after"]) for one in last] == [(3, "rollback", 3)]
    # The next start has it.
    with serving(tiny_chat_path, *flags) as server:
        url = server.wait_until_ready().url
        (told,) = json.loads(ruvllm("learn", "status", "--url", url, "--api-key", ACME, "--json").stdout)
        assert (told["generation"], told["updates"], told["can_undo"]) == (3, 1, 1)
        server.process.kill()
        server.process.wait()
    assert ruvllm("learn", "rollback", "--learn-dir", learned).stdout == "generation 4: as generation 0\n"
    (kept,) = json.loads(ruvllm("learn", "status", "--learn-dir", learned, "--json").stdout)
    assert (kept["generation"], kept["updates"], kept["can_undo"]) == (4, 0, 0)
    nothing_left = ruvllm("learn", "rollback", "--learn-dir", learned)
    assert nothing_left.exit_code == 2
    assert "0 changes of 'acme' can be undone" in nothing_left.stderr


def test_the_loops_behind_are_asked_for(ruvllm: Ruvllm, tiny_chat_path: Path, tmp_path: Path) -> None:
    learned = str(tmp_path / "learned")
    flags = ("--learn", "--learn-dir", learned, "--learn-interval", "0", "--api-key", ACME)
    with serving(tiny_chat_path, *flags) as server:
        url = server.wait_until_ready().url

        def learn(*arguments: str) -> Any:
            return ruvllm("learn", *arguments, "--url", url, "--api-key", ACME)

        too_few = learn("train")
        assert too_few.exit_code == 2
        assert "needs 2" in too_few.stderr
        assert "nothing was learned" in learn("consolidate").stdout
        for _ in range(3):
            assert learn("feedback", ask(server, ACME), "--good").exit_code == 0
        assert "kept: " in learn("consolidate").stdout
        done = learn("train", "--wait")
        assert done.exit_code == 0, done.stderr
        assert "training on 3 answers" in done.stderr
        assert done.stdout.split(":")[0] in ("applied", "unchanged")
        assert "kept out of training" in done.stdout
        (told,) = json.loads(learn("status", "--json").stdout)
        assert told["background_turns"] == 2
        assert told["deep"]["samples"] == 3
        # The log is written once a second, and where the server ends.
        server.process.terminate()
        assert server.ended() == 0
    shown = json.loads(ruvllm("learn", "log", "--learn-dir", learned, "--json").stdout)
    assert [one["loop"] for one in shown] == ["background", *["instant"] * 3, "background", "deep"]


def test_export_gives_the_matrices(ruvllm: Ruvllm, tiny_chat_path: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    learned, out = str(tmp_path / "learned"), tmp_path / "acme.safetensors"
    with serving(tiny_chat_path, "--learn", "--learn-dir", learned, "--api-key", ACME) as server:
        url = server.wait_until_ready().url
        done = ruvllm("learn", "feedback", ask(server, ACME), "--good", "--url", url, "--api-key", ACME)
        assert done.exit_code == 0, done.stderr
    assert ruvllm("learn", "export", str(out), "--learn-dir", learned).exit_code == 0
    tensors = load_file(out)
    assert tensors["a"].shape == tensors["b"].shape
    assert tensors["b"].any()
    again = ruvllm("learn", "export", str(out), "--learn-dir", learned)
    assert again.exit_code == 1
    assert "File exists" in again.stderr


def test_a_line_that_was_altered_is_told(ruvllm: Ruvllm, tmp_path: Path) -> None:
    from ruvllm.cli.model_files import LEARNED, file_of_model
    from ruvllm.learning.folder import LearnedFolder
    from ruvllm.learning.journal import Journal
    from ruvllm.learning.journal_entry import JournalEntry

    path = file_of_model(tmp_path, "tiny", LEARNED)
    assert path is not None
    folder = LearnedFolder(path)
    with Journal(folder.journal) as journal:
        for number in range(3):
            journal.record(JournalEntry(tenant="acme", loop="instant", applied=True, generation_after=number))
    (file,) = folder.journal.glob("*.jsonl")
    file.write_text(file.read_text().replace('"generation_after":1', '"generation_after":7'))
    shown = ruvllm("learn", "log", "--learn-dir", str(tmp_path), "--model", "tiny")
    assert shown.exit_code == 1
    assert f"{file.name}, line 3: the line is not as it was written" in shown.stderr
    assert len(shown.stdout.splitlines()) == 2


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["log"], 2, "--learn-dir is None"),
        (["log", "--learn-dir", "EMPTY"], 1, "nothing was learned in"),
        (["export", "x", "--learn-dir", "EMPTY", "--model", "a/b"], 1, "nothing of 'a/b'"),
        (["feedback", "x"], 2, "give one of --good, --bad, --value and --corrected"),
        (["feedback", "x", "--good", "--bad"], 2, "give one of"),
        (["feedback", "x", "--value", "nan"], 2, ""),
        (["feedback", "x", "--value", "2"], 2, ""),
        (["train", "--tenant", "acme", "--wait"], 2, "--wait is for the tenant of the key"),
        (["rollback", "--tenant", "acme"], 2, "--tenant goes with --learn-dir"),
        (["status", "--url", "http://127.0.0.1:1"], 1, "127.0.0.1:1"),
    ],
)
def test_what_cannot_be_done_is_said(
    ruvllm: Ruvllm, tmp_path: Path, arguments: list[str], code: int, words: str
) -> None:
    done = ruvllm("learn", *[str(tmp_path) if one == "EMPTY" else one for one in arguments])
    assert done.exit_code == code, done.output
    assert words in done.stderr


def test_a_folder_without_learning_ends_the_command(tiny_chat_path: Path, tmp_path: Path) -> None:
    done = run_to_end([f"tiny={tiny_chat_path}", "--port", "0", "--learn-dir", tmp_path])
    assert done.returncode == 2
    assert "without --learn" in done.stderr
