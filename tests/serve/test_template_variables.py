"""`chat_template_kwargs`: variables for a template over HTTP, as `variables` of `LLM.chat`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from ruvllm import LLM
from ruvllm.errors import TokenizationError
from ruvllm.serve import create_app
from ruvllm.serve.conversation import Conversation, _size
from ruvllm.serve.off_loop import AT_ONCE
from tests.conftest import FIXTURES
from tests.serve.running import RunningServer, running
from tests.serve.tiny_models import with_chat_template

TEMPLATE = (
    "{% for message in messages %}{{ message.content }}{% endfor %}"
    "{% if tone %}{{ tone }}{% endif %}{% if enable_thinking is false %} no{% endif %}"
    "{% if reasoning_effort %} {{ reasoning_effort }}{% endif %}"
    "{% for name, value in (more or {}) | items %} {{ name }}={{ value }}{% endfor %}"
    "{% if sort is defined %}{{ raise_exception('no sort ' ~ sort) }}{% endif %}"
)
MESSAGES = [{"role": "user", "content": "the cat"}]
NAME = "told"


@pytest.fixture(scope="module")
def llm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LLM]:
    path: Path = tmp_path_factory.mktemp("models") / f"{NAME}.gguf"
    with LLM(with_chat_template(FIXTURES / "gguf" / "llama-gqa.gguf", path, TEMPLATE)) as llm:
        yield llm


@pytest.fixture(scope="module")
def server(llm: LLM) -> Iterator[RunningServer]:
    with running(create_app({NAME: llm})) as server:
        yield server


def post(server: RunningServer, path: str, **fields: Any) -> httpx.Response:
    body = {"model": NAME, "messages": MESSAGES, "max_tokens": 2, "temperature": 0, **fields}
    return httpx.post(f"{server.url}/v1/chat/completions{path}", json=body, timeout=20)


def refused(server: RunningServer, value: Any, **fields: Any) -> Any:
    answer = post(server, "", chat_template_kwargs=value, **fields)
    assert answer.status_code == 400, answer.text
    return answer.json()["error"]


@pytest.mark.parametrize(
    "variables", [{}, {"tone": " softly"}, {"more": {"a": [1, None, True], "b": {"c": 0.5}}, "unknown": "x"}]
)
def test_a_template_is_told_what_it_is_in_python(
    server: RunningServer, llm: LLM, variables: dict[str, Any]
) -> None:
    expected = llm.chat_tokens(MESSAGES, variables=variables)
    told = post(server, "/render", chat_template_kwargs=variables).json()["token_ids"]
    assert told == expected
    assert (told == llm.chat_tokens(MESSAGES)) == (not variables)
    answer = post(server, "", chat_template_kwargs=variables).json()
    assert answer["usage"]["prompt_tokens"] == len(expected)
    assert answer["choices"][0]["message"]["content"] == (
        llm.chat(MESSAGES, variables=variables, temperature=0, max_tokens=2, repetition_penalty=1).text
    )


def test_marks_in_them_are_text_as_in_messages(server: RunningServer, llm: LLM) -> None:
    variables = {"tone": "</s><s>"}
    told = post(server, "/render", chat_template_kwargs=variables).json()["token_ids"]
    assert told == llm.chat_tokens(MESSAGES, variables=variables)
    assert told != llm.chat_tokens(MESSAGES, variables=variables, parse_special=True)


@pytest.mark.parametrize(
    "name",
    [
        *("messages", "tools", "documents", "add_generation_prompt", "continue_final_message"),
        *("chat_template", "tokenize", "bos_token", "raise_exception", "range", "namespace", "dict"),
    ],
)
def test_what_is_another_s_to_say_is_refused_by_its_name(server: RunningServer, name: str) -> None:
    error = refused(server, {name: "x"})
    assert (error["param"], error["code"]) == (f"chat_template_kwargs.{name}", "invalid_value")
    assert name in error["message"]


@pytest.mark.parametrize("name", ["chat_template", "documents", "add_generation_prompt"])
def test_why_is_what_is_said_of_the_same_field_of_a_body(server: RunningServer, name: str) -> None:
    of_body = post(server, "", **{name: "x"}).json()["error"]["message"].partition(": ")[2]
    assert of_body
    assert refused(server, {name: "x"})["message"].endswith(of_body)


def test_what_asks_for_nothing_else_is_taken(server: RunningServer) -> None:
    """Routers write it into bodies."""
    harmless = {"add_generation_prompt": True, "continue_final_message": False, "documents": [], "tools": []}
    plain = post(server, "/render").json()["token_ids"]
    assert post(server, "/render", chat_template_kwargs=harmless).json()["token_ids"] == plain
    assert post(server, "/render", chat_template_kwargs=None).json()["token_ids"] == plain


def test_what_the_server_sets_of_thinking_goes_before(server: RunningServer) -> None:
    off, on = {"enable_thinking": False}, {"enable_thinking": True}

    def tokens(**fields: Any) -> Any:
        return post(server, "/render", **fields).json()["token_ids"]

    assert tokens(chat_template_kwargs=off) == tokens(reasoning_effort="none") != tokens()
    assert tokens(chat_template_kwargs=on, reasoning_effort="none") == tokens(reasoning_effort="none")
    assert tokens(chat_template_kwargs=off, reasoning_effort="high") == tokens(reasoning_effort="high")
    low = {"reasoning_effort": "low"}
    assert tokens(chat_template_kwargs=low) != tokens()
    assert tokens(chat_template_kwargs=low, reasoning_effort="none") == tokens(reasoning_effort="none")
    assert tokens(chat_template_kwargs=low, reasoning_effort="high") == tokens(reasoning_effort="high")


def test_large_ones_and_lists_are_not_done_on_the_loop() -> None:
    def size(**variables: Any) -> int:
        return _size(Conversation(messages=MESSAGES, variables=variables))

    assert size() < size(tone="x") < size(tone="x" * 1000) < AT_ONCE
    assert size(tone=1) + 200 < size(tone=10**250 + 1) < AT_ONCE
    assert size(tone="x" * AT_ONCE) > AT_ONCE
    for value in ([], {}, {"a": [1]}):
        assert size(tone=value) > AT_ONCE


@pytest.mark.parametrize(
    "value",
    [
        {"tone": "x" * 16_384},
        {"x" * 16_384: 1},
        {"more": list(range(3000))},
        {"more": [[[]] * 1000] * 3},
        {"more": [10**250] * 100},
        {"more": {str(one): {} for one in range(1100)}},
    ],
)
def test_large_ones_are_refused(server: RunningServer, value: Any) -> None:
    error = refused(server, value)
    assert error["param"] == "chat_template_kwargs"
    assert "16384" in error["message"]
    assert post(server, "", chat_template_kwargs={"unknown": list(range(1000))}).status_code == 200


@pytest.mark.parametrize("value", ["x", [], 1, {str(one): 1 for one in range(65)}])
def test_what_is_no_object_of_few_values_is_refused(server: RunningServer, value: Any) -> None:
    assert "chat_template_kwargs" in refused(server, value)["param"]


def test_a_template_that_refuses_them_is_heard(server: RunningServer, llm: LLM) -> None:
    error = refused(server, {"sort": "of"})
    with pytest.raises(TokenizationError) as python:
        llm.chat_tokens(MESSAGES, variables={"sort": "of"})
    assert error["message"] in str(python.value) or str(python.value) in error["message"]
    assert "no sort of" in error["message"]
