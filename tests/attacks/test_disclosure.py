"""Errors of every kind that a client can bring about: no answer says where on this machine anything is."""

import errno
import logging
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from ruvllm import LLM
from ruvllm.errors import IoError, ModelError, OutOfMemoryError, StorageError
from ruvllm.serve import ServedModel, create_app
from ruvllm.serve.disclosure import public_message, without_folders
from ruvllm.serve.errors import api_error
from tests.conftest import FIXTURES
from tests.serve.conftest import TINY
from tests.serve.process import wait_until
from tests.serve.running import RunningServer, running

# Folders as people have them; none of these words may be in an answer.
SECRETS = ("Geheim", "O'Neill", "Kunde 7")
FOLDER = "Geheim (2), neu/O'Neill & Co/Kunde 7"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("/srv/models/a.gguf: not a regular file", "a.gguf: not a regular file"),
        ("read /srv/my models/a b.gguf: No such file", "read a b.gguf: No such file"),
        ("cannot read '/srv/x/y.json' and \"/srv/x/z.json\"", "cannot read 'y.json' and \"z.json\""),
        ("/a.gguf: x", "a.gguf: x"),
        ("nothing in /srv/models (looked in /srv)", "nothing in a folder (looked in a folder)"),
        ("~/models/a.gguf, ./b.gguf and ../c/d.gguf", "a.gguf, b.gguf and d.gguf"),
        (r"C:\Users\me\a.gguf: x and \\server\share\b.gguf", "a.gguf: x and b.gguf"),
        ("file:///srv/a.gguf: x", "a.gguf: x"),
        ("//srv//models//a.gguf: x", "a.gguf: x"),
        ("path:/srv/models/a.gguf", "path:a.gguf"),
        ("/srv/llama.3.2/model-00001-of-2.safetensors: x", "model-00001-of-2.safetensors: x"),
        # What only looks like one.
        ("12 tokens/s, n/a, 3 / 4", "12 tokens/s, n/a, 3 / 4"),
        ("the token '</s>' or [/INST] after <|x|>", "the token '</s>' or [/INST] after <|x|>"),
        ("see https://example.org/a/b.html", "see https://example.org/a/b.html"),
        ("no model org/repo:Q4_K_M", "no model org/repo:Q4_K_M"),
        (r"stop is '\n' or 'a\nb'", r"stop is '\n' or 'a\nb'"),
    ],
)
def test_what_is_left_of_a_text(text: str, told: str) -> None:
    assert without_folders(text) == told


@pytest.mark.parametrize(
    "unit", ["/a", " /a", ".json", " /a.json", "/.json:", "\\", "a/", "~/", "//", "/ a. "]
)
def test_a_long_text_takes_no_long_time(unit: str) -> None:
    """Messages may quote what a client sent, which may be megabytes of whatever takes the longest."""

    def seconds(length: int) -> float:
        text = "/srv/a" + unit * (length // len(unit))
        began = time.perf_counter()
        without_folders(text)
        return time.perf_counter() - began

    assert seconds(4_000_000) < 1.0


def test_no_folder_is_left_whatever_its_name() -> None:
    for odd in (*"(),;:'\"[]{}<>|&$#@!?*+=~^`%\n\t", " ", ", ", ": ", " (", "') ", "\n/ "):
        folder = f"/srv/gehe{odd}im/x{odd}y"
        for end in ("m.gguf: torn", "'m.gguf'", "m.gguf", "some file: torn", "a.b"):
            told = without_folders(f"{folder}/{end}")
            assert "gehe" not in told, (folder, told)
            assert "im" not in told, (folder, told)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/srv/x/y"), "No space left on device"),
        (OSError(errno.EXDEV, "Cross-device link", "/srv/a", None, "/srv/b"), "Cross-device link"),
        (OSError("what: /srv/x/y.part"), "what: y.part"),
        (IoError("open /srv/x/y.gguf: denied"), "IO error: open y.gguf: denied"),
        (StorageError("/srv/x/y.prefixes: torn"), "Storage error: y.prefixes: torn"),
        (MemoryError(), "the memory does not suffice"),
        (ZeroDivisionError("/srv/x"), "a folder"),
        (AssertionError(), "AssertionError"),
    ],
)
def test_what_a_client_is_told_of_an_error(
    error: Exception, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    """And the log has what the answer has not."""
    assert public_message(error) == told
    with caplog.at_level(logging.WARNING):
        message = api_error(error).message
    assert "/srv" not in message
    assert "a folder" not in message, "what nobody foresaw has no words in an answer"
    if isinstance(error, IoError | StorageError) or (isinstance(error, OSError) and "/srv" in str(error)):
        assert "/srv" in caplog.text


# -- over the wire


class Folder:
    """A folder with a telling name, and in it models that cannot be used."""

    def __init__(self, path: Path, whole: Path) -> None:
        self.path = path / FOLDER
        self.path.mkdir(parents=True)
        content = whole.read_bytes()
        self.good = self.write("good.gguf", content)
        files = {"cut": content[:3000], "empty": b"", "lies": content[:24] + b"\xff" * 500, "text": b"hi"}
        self.broken = {name: self.write(f"{name}.gguf", data) for name, data in files.items()}
        self.broken["missing"] = self.path / "missing.gguf"
        self.broken["folder.gguf"] = self.path / "folder.gguf"
        self.broken["folder.gguf"].mkdir()
        self.broken["bare"] = self.path / "bare"
        self.broken["bare"].mkdir()
        self.broken["loop"] = self.path / "loop.gguf"
        self.broken["loop"].symlink_to(self.broken["loop"])
        self.textless = self.path / "textless"
        shutil.copytree(FIXTURES / "models" / "llama-gqa", self.textless)

    def write(self, name: str, content: bytes) -> Path:
        path = self.path / name
        path.write_bytes(content)
        return path


def failing(error: Exception) -> LLM:
    raise error


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_chat_path: Path) -> Folder:
    return Folder(tmp_path_factory.mktemp("disclosure"), tiny_chat_path)


@pytest.fixture(scope="module")
def server(folder: Folder) -> Iterator[RunningServer]:
    """Models of that folder, good, broken, and such that fail as a system does."""
    where = folder.path / "x.gguf"
    errors: list[Exception] = [
        OSError(errno.EMFILE, "Too many open files", str(where)),
        PermissionError(errno.EACCES, "Permission denied", str(where)),
        FileNotFoundError(str(where)),
        OutOfMemoryError(f"{where} needs more"),
        ModelError(f"{where}: no tensor 'a' (looked in {where.parent})"),
        RuntimeError(f"{where} is odd"),
        KeyError(str(where)),
    ]
    models = [ServedModel(TINY, lambda: LLM(folder.good), prefix_file=folder.path / "nowhere" / "p.prefixes")]
    models += [ServedModel(name, lambda path=path: LLM(path)) for name, path in folder.broken.items()]
    models += [ServedModel("textless", lambda: LLM(folder.textless, activations="f32"))]
    models += [
        ServedModel(f"error-{number}", lambda error=error: failing(error))
        for number, error in enumerate(errors)
    ]
    with running(create_app(models)) as server:
        wait_until(lambda: httpx.get(f"{server.url}/health").status_code == 200)
        yield server


def tells_nothing(answer: httpx.Response, folder: Folder) -> None:
    told = answer.text + str(answer.headers)
    for secret in (*SECRETS, str(folder.path), os.getcwd(), "site-packages", str(Path.home())):
        assert secret not in told, (answer.request.url, told)
    assert "/tmp" not in told


BODIES: dict[str, dict[str, Any]] = {
    "/v1/completions": {"prompt": "hi", "max_tokens": 1},
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 1},
    "/v1/messages": {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 1},
    "/v1/messages/count_tokens": {"messages": [{"role": "user", "content": "hi"}]},
    "/v1/responses": {"input": "hi", "max_output_tokens": 16},
    "/v1/embeddings": {"input": "hi"},
    "/tokenize": {"prompt": "hi"},
    "/detokenize": {"tokens": [1]},
    "/v1/completions/render": {"prompt": "hi"},
    "/v1/chat/completions/render": {"messages": [{"role": "user", "content": "hi"}]},
    "/v1/responses/render": {"input": "hi"},
}


def test_fault_10_no_model_that_fails_tells_where_it_is(server: RunningServer, folder: Folder) -> None:
    ids = [one["id"] for one in httpx.get(f"{server.api}/models").json()["data"]]
    assert len(ids) > 15
    with httpx.Client(timeout=30) as client:
        for model in ids:
            for path, body in BODIES.items():
                for stream in (False, True):
                    more = {"stream": True} if stream and path.startswith("/v1/") else {}
                    answer = client.post(f"{server.url}{path}", json={"model": model, **body, **more})
                    tells_nothing(answer, folder)
                    if model not in (TINY, "textless"):
                        assert answer.status_code == 503, (model, path, answer.text)
        told = client.get(f"{server.url}/health")
        tells_nothing(told, folder)
        reasons = told.json()["not_loaded"]
        assert len(reasons) == len(ids) - 2
        # It is still said what is wrong.
        assert "Too many open files" in reasons["error-0"]
        assert "no tensor 'a'" in reasons["error-4"]
        assert "missing.gguf" in reasons["missing"]


def test_no_other_answer_tells_where_anything_is(server: RunningServer, folder: Folder) -> None:
    hostile = [
        "/../../etc/passwd",
        "/page/../../boundary.py",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/page/%00",
        "/docs",
    ]
    with httpx.Client(timeout=30) as client:
        for path in [
            "/",
            "/metrics",
            "/openapi.json",
            "/v1/cache",
            "/v1/models",
            "/v1/responses/x",
            *hostile,
        ]:
            for method in ("GET", "POST", "DELETE", "OPTIONS"):
                tells_nothing(client.request(method, f"{server.url}{path}", json={}), folder)
        for model in (f"{folder.good.name}/../x", "..", "textless"):
            for path, body in BODIES.items():
                for change in ({"max_tokens": -1}, {"messages": 7}, {"prompt": {}}, {"input": [[]]}):
                    wrong = {"model": model, **body, **change}
                    tells_nothing(client.post(f"{server.url}{path}", json=wrong), folder)
        refused = client.post(f"{server.api}/completions", json={"model": "textless", "prompt": "hi"})
        assert refused.status_code == 400
        assert "has no tokenizer.json" in refused.json()["error"]["message"]


def test_a_disk_that_refuses_tells_no_place(server: RunningServer, folder: Folder) -> None:
    """The folder of the prefix cache is gone: an error of the disk, in the middle of a path."""
    refused = httpx.post(f"{server.url}/v1/cache/save", timeout=30)
    assert refused.status_code == 507
    assert refused.json()["error"]["code"] == "storage_failed"
    assert "o such file" in refused.text
    tells_nothing(refused, folder)
