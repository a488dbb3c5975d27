"""`ruvllm ps`: what a server has loaded, of a real one and of others."""

import json
from collections.abc import Callable
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
    assert table[0] == ["name", "size", "context", "quantization"]


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
    assert row.split() == ["llama3.2:1b", "1.5", "GB", "-", "-"]


@pytest.mark.parametrize("details", ["Q4_0", ["Q4_0"], 7, {"quantization_level": None}])
def test_details_of_another_kind(ruvllm: Ruvllm, details: object) -> None:
    with ScriptedServer(
        lambda request: Reply.json({"models": [{"name": "one", "details": details}]})
    ) as server:
        result = ruvllm("ps", "--url", server.url)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines()[1].split() == ["one", "-", "-", "-"]
