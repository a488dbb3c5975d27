"""`ruvllm ps`: what a server has loaded, of a real one and of others."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from tests.serve.conftest import tiny_chat_path
from tests.serve.process import serving
from tests.support.scripted_server import Reply, ScriptedServer

Ruvllm = Callable[..., Any]
__all__ = ["tiny_chat_path"]


def test_a_model_is_listed_once_it_is_loaded(ruvllm: Ruvllm, tiny_chat_path: Path) -> None:
    with serving(tiny_chat_path, f"other={tiny_chat_path}") as server:
        url = server.wait_until_ready().url
        listed = json.loads(ruvllm("ps", "--url", url, "--json").stdout)["models"]
        table = [line.split() for line in ruvllm("ps", "--url", url).stdout.splitlines()]
    assert [model["name"] for model in listed] == ["tiny:latest"]
    assert listed[0]["size"] > 0
    assert [row[0] for row in table] == ["name", "tiny"]
    assert table[0] == ["name", "size", "context", "quantization", "stays"]
    assert table[1][-1] == "always"


def test_no_server_is_said(ruvllm: Ruvllm) -> None:
    result = ruvllm("ps", "--url", "http://127.0.0.1:1")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "no server answers at http://127.0.0.1:1" in result.stderr


def test_nothing_is_loaded_yet(ruvllm: Ruvllm) -> None:
    with ScriptedServer(lambda request: Reply.json({"models": []})) as server:
        result = ruvllm("ps", "--url", server.url)
    assert (result.exit_code, result.stdout) == (0, "")
    assert "no model loaded yet" in result.stderr


def test_what_is_no_such_server_is_said(ruvllm: Ruvllm) -> None:
    for reply in (Reply.error(404, "no"), Reply.json({"data": 1}), Reply.json({"models": ["x"]})):
        with ScriptedServer(lambda request, reply=reply: reply) as server:
            result = ruvllm("ps", "--url", server.url)
        assert result.exit_code == 1
        assert "a server of RuvLLM or Ollama?" in result.stderr


def test_a_server_that_tells_less(ruvllm: Ruvllm) -> None:
    with ScriptedServer(
        lambda request: Reply.json({"models": [{"name": "llama3.2:1b", "size": 1_500_000_000}]})
    ) as one:
        row = ruvllm("ps", "--url", one.url).stdout.splitlines()[1]
    assert row.split() == ["llama3.2:1b", "1.5", "GB", "-", "-", "-"]


@pytest.mark.parametrize("details", ["Q4_0", ["Q4_0"], 7, {"quantization_level": None}])
def test_details_of_another_kind(ruvllm: Ruvllm, details: object) -> None:
    with ScriptedServer(
        lambda request: Reply.json({"models": [{"name": "one", "details": details}]})
    ) as server:
        result = ruvllm("ps", "--url", server.url)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines()[1].split() == ["one", "-", "-", "-", "-"]


def in_seconds(seconds: float) -> str:
    """As Ollama writes a time: nine digits of a second, and a zone."""
    end = datetime.now(timezone(timedelta(hours=-7))) + timedelta(seconds=seconds)
    return f"{end:%Y-%m-%dT%H:%M:%S}.123456789-07:00"


@pytest.mark.parametrize(
    ("expires_at", "told"),
    [
        (290.0, "5 min"),
        (3600.0 * 24 * 365 * 290, "always"),
        ("9999-12-31T23:59:59Z", "always"),
        ("2020-01-01T00:00:00Z", "0 s"),
        ("tomorrow", "-"),
        (7, "-"),
    ],
)
def test_how_long_it_stays(ruvllm: Ruvllm, expires_at: object, told: str) -> None:
    if isinstance(expires_at, float):
        expires_at = in_seconds(expires_at)
    with ScriptedServer(
        lambda request: Reply.json({"models": [{"name": "one", "expires_at": expires_at}]})
    ) as server:
        row = ruvllm("ps", "--url", server.url).stdout.splitlines()[1]
    assert row.split()[4:] == told.split()


def test_a_model_is_given_up_with_an_admin_key(ruvllm: Ruvllm, tiny_chat_path: Path) -> None:
    key = "sk-admin-0001"
    with serving(tiny_chat_path, "--api-key", key) as server:
        where = ("--url", server.wait_until_ready().url)
        refused = ruvllm("stop", "tiny", *where)
        assert refused.exit_code == 1
        assert "--api-key" in refused.stderr
        unknown = ruvllm("stop", "tinny", *where, "--api-key", key)
        assert unknown.exit_code == 1
        assert "Did you mean 'tiny'?" in " ".join(unknown.stderr.split())
        assert json.loads(ruvllm("ps", *where, "--api-key", key, "--json").stdout)["models"]
        done = ruvllm("stop", "tiny", *where, "--api-key", key)
        assert (done.exit_code, done.stdout) == (0, "")
        assert "tiny is not loaded any more" in done.stderr
        assert json.loads(ruvllm("ps", *where, "--api-key", key, "--json").stdout)["models"] == []
        # Once more is as good.
        assert ruvllm("stop", "tiny", *where, "--api-key", key, "--quiet").stderr == ""


def test_ollama_s_server_is_asked_in_its_own_words(ruvllm: Ruvllm) -> None:
    with ScriptedServer(lambda request: Reply.json({"done": True})) as server:
        assert ruvllm("stop", "llama3.2:1b", "--url", server.url).exit_code == 0
    [asked] = server.requests
    assert (asked.method, asked.path) == ("POST", "/api/generate")
    assert asked.body == {"model": "llama3.2:1b", "keep_alive": 0, "stream": False}
