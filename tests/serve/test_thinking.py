"""A model that may think first, and requests that ask it not to, in all three dialects."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from ruvllm import LLM
from ruvllm.serve import create_app
from tests.conftest import FIXTURES
from tests.serve.running import RunningServer, running
from tests.serve.tiny_models import with_chat_template

TEMPLATE = FIXTURES.parent / "text" / "templates" / "thinking.jinja"
MESSAGES = [{"role": "user", "content": "why?"}]
Prompted = Callable[[RunningServer, dict[str, Any]], int]


@pytest.fixture(scope="module")
def thinker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LLM]:
    path: Path = tmp_path_factory.mktemp("models") / "thinker.gguf"
    with_chat_template(FIXTURES / "gguf" / "llama-gqa.gguf", path, TEMPLATE.read_text("utf-8"))
    with LLM(path) as llm:
        yield llm


@pytest.fixture(scope="module")
def server(thinker: LLM) -> Iterator[RunningServer]:
    with running(create_app({"thinker": thinker})) as server:
        yield server


def post(server: RunningServer, route: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = httpx.post(f"{server.api}{route}", json={"model": "thinker", **body}, timeout=20)
    assert answer.status_code == 200, answer.text
    return answer.json()


def chat(server: RunningServer, fields: dict[str, Any]) -> int:
    body = {"messages": MESSAGES, "max_tokens": 1, **fields}
    return post(server, "/chat/completions", body)["usage"]["prompt_tokens"]


def responses(server: RunningServer, fields: dict[str, Any]) -> int:
    body = {"input": "why?", "max_output_tokens": 16, **fields}
    return post(server, "/responses", body)["usage"]["input_tokens"]


def messages(server: RunningServer, fields: dict[str, Any]) -> int:
    usage = post(server, "/messages", {"messages": MESSAGES, "max_tokens": 1, **fields})["usage"]
    return usage["input_tokens"] + usage["cache_read_input_tokens"]


def counted(server: RunningServer, fields: dict[str, Any]) -> int:
    return post(server, "/messages/count_tokens", {"messages": MESSAGES, **fields})["input_tokens"]


@pytest.mark.parametrize(
    ("prompted", "fields"),
    [
        (chat, {"reasoning_effort": "none"}),
        (chat, {"reasoning": {"effort": "none"}}),
        (responses, {"reasoning": {"effort": "none"}}),
        (messages, {"thinking": {"type": "disabled"}}),
        (counted, {"thinking": {"type": "disabled"}}),
    ],
)
def test_thinking_is_turned_off_where_it_is_asked(
    server: RunningServer, thinker: LLM, prompted: Prompted, fields: dict[str, Any]
) -> None:
    thinks = len(thinker.chat_tokens(MESSAGES))
    answers_at_once = len(thinker.chat_tokens(MESSAGES, variables={"enable_thinking": False}))
    assert answers_at_once > thinks, "the template says the same, so this shows nothing"
    assert prompted(server, {}) == thinks
    assert prompted(server, fields) == answers_at_once
