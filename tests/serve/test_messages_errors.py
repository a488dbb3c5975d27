"""Errors in Anthropic's shape, wherever they arise, and fields that are refused by their place."""

from collections.abc import Iterator

import anthropic
import httpx
import pytest
from anthropic.types import ErrorResponse
from pydantic import ValidationError

from ruvllm import LLM
from ruvllm.serve import ApiKey, KeyRing, ServerSettings, create_app
from tests.serve.conftest import TINY
from tests.serve.running import RunningServer, running

MESSAGES = [{"role": "user", "content": "the cat"}]
OPEN, SLOW = "sk-open-00001", "sk-slow-00001"


def post(server: RunningServer, path: str = "/v1/messages", headers=None, **fields) -> httpx.Response:
    body = {"model": TINY, "messages": MESSAGES, "max_tokens": 2, **fields}
    body = {name: value for name, value in body.items() if value is not ...}
    return httpx.post(server.url + path, json=body, headers=headers, timeout=20)


JSON = {"content-type": "application/json"}


def check_error(response: httpx.Response, status: int, kind: str) -> str:
    """The shape, the status and the kind of an error; gives its message."""
    assert response.status_code == status, response.text
    body = response.json()
    assert set(body) == {"type", "error", "request_id"}
    assert body["type"] == "error"
    assert set(body["error"]) == {"type", "message"}
    assert body["error"]["type"] == kind
    assert body["request_id"] == response.headers["request-id"] == response.headers["x-request-id"]
    if kind != "request_too_large":  # the client's types do not know it, the documentation does
        ErrorResponse.model_validate(body, strict=True)
    return body["error"]["message"]


@pytest.fixture(scope="module")
def guarded(tiny_chat: LLM) -> Iterator[RunningServer]:
    """A server with keys, one of them slow, and a small limit to bodies."""
    slow = ApiKey(digest=ApiKey.of(SLOW).digest, tenant="slow", requests_per_minute=1)
    settings = ServerSettings(keys=KeyRing([ApiKey.of(OPEN), slow]), max_body_bytes=2000)
    with running(create_app({TINY: tiny_chat}, settings)) as server:
        yield server


def test_the_boundary_s_errors_have_the_shape(guarded: RunningServer) -> None:
    key = {"x-api-key": OPEN}
    assert post(guarded, headers=key).status_code == 200
    assert post(guarded, headers={"authorization": f"Bearer {OPEN}"}).status_code == 200
    assert "x-api-key" in check_error(post(guarded), 401, "authentication_error")
    check_error(post(guarded, headers={"x-api-key": "sk-wrong-001"}), 401, "authentication_error")
    check_error(post(guarded, headers=key, system="x" * 3000), 413, "request_too_large")
    # Without a length declared, the limit is met while the body is read.
    body = (piece for piece in [b'{"model": "', b"x" * 3000, b'"}'])
    streamed = httpx.post(f"{guarded.api}/messages", content=body, headers={**key, **JSON}, timeout=20)
    check_error(streamed, 413, "request_too_large")
    slow = {"x-api-key": SLOW}
    assert post(guarded, headers=slow).status_code == 200
    refused = post(guarded, headers=slow)
    check_error(refused, 429, "rate_limit_error")
    assert int(refused.headers["retry-after"]) >= 1


def test_the_client_raises_its_own_errors(guarded: RunningServer) -> None:
    def client(secret: str) -> anthropic.Anthropic:
        return anthropic.Anthropic(base_url=guarded.url, api_key=secret, max_retries=0)

    asked = {"max_tokens": 2, "messages": MESSAGES}
    with client("sk-wrong-001") as wrong, pytest.raises(anthropic.AuthenticationError):
        wrong.messages.create(model=TINY, **asked)
    with client(OPEN) as known:
        with pytest.raises(anthropic.NotFoundError) as caught:
            known.messages.create(model="gpt-5", **asked)
        assert caught.value.request_id.startswith("req_")
        assert caught.value.body["request_id"] == caught.value.request_id
        with pytest.raises(anthropic.BadRequestError, match="max_tokens"):
            known.messages.create(model=TINY, **{**asked, "max_tokens": -1})
        with pytest.raises(anthropic.BadRequestError), known.messages.stream(model=TINY, **asked, tools=[{}]):
            pass
        with pytest.raises(anthropic.APIStatusError) as caught:
            known.messages.create(model=TINY, **asked, system="x" * 3000)
        assert caught.value.status_code == 413


def test_the_framework_s_errors_have_the_shape(tiny_server: RunningServer) -> None:
    url = f"{tiny_server.api}/messages"
    check_error(httpx.get(url), 405, "invalid_request_error")
    check_error(httpx.post(f"{url}/batches", json={}), 404, "not_found_error")
    check_error(httpx.post(url, content=b"{"), 415, "invalid_request_error")
    check_error(httpx.post(url, content=b"{", headers=JSON), 400, "invalid_request_error")
    check_error(httpx.post(url, content=b"\xff", headers=JSON), 400, "invalid_request_error")
    check_error(post(tiny_server, model="none"), 404, "not_found_error")
    check_error(post(tiny_server, "/v1/messages/count_tokens", model="none"), 404, "not_found_error")
    # Other places keep their own shape.
    other = httpx.get(f"{tiny_server.api}/messagesX")
    assert set(other.json()) == {"error"}
    assert "request-id" not in other.headers
    with pytest.raises(ValidationError):
        ErrorResponse.model_validate(other.json())


def test_the_description_tells_both_shapes(tiny_server: RunningServer) -> None:
    described = httpx.get(f"{tiny_server.url}/openapi.json").json()
    told = {
        path: operation["responses"]["default"]["$ref"].rpartition("/")[2]
        for path, operations in described["paths"].items()
        for operation in operations.values()
    }
    assert {path for path, name in told.items() if name == "AnthropicError"} == {
        "/v1/messages",
        "/v1/messages/count_tokens",
    }
    assert told["/v1/responses"] == "Error"
    assert {"Error", "AnthropicError"} <= set(described["components"]["responses"])


REFUSED = {
    "container": "c",
    "mcp_servers": [{"type": "url", "url": "u", "name": "n"}],
    "context_management": {"edits": []},
    "inference_geo": "eu",
    "speed": "fast",
    "stop": "x",
    "n": 2,
    "max_completion_tokens": 3,
}


@pytest.mark.parametrize("field", REFUSED)
def test_fields_that_are_not_done_are_refused_by_name(tiny_server: RunningServer, field: str) -> None:
    message = check_error(post(tiny_server, **{field: REFUSED[field]}), 400, "invalid_request_error")
    assert message.startswith(f"{field} is not supported: ")
    assert post(tiny_server, **{field: None}).status_code == 200


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": [], "tool_choice": {"type": "auto"}, "thinking": {"type": "disabled"}, "output_config": {}},
        {"cache_control": {"type": "ephemeral"}, "service_tier": "auto", "metadata": {"user_id": "anna"}},
        {"temperature": 1, "top_p": 0.5, "top_k": 10, "stop_sequences": [], "stream": False},
        {"system": [], "speed": "standard", "never_heard_of": 3},
    ],
)
def test_fields_that_are_done_or_change_nothing_are_taken(tiny_server: RunningServer, fields: dict) -> None:
    assert post(tiny_server, **fields).status_code == 200, post(tiny_server, **fields).text


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"max_tokens": ...}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"model": ...}, "model"),
        ({"messages": ...}, "messages"),
        ({"messages": []}, "messages"),
        ({"temperature": 1.1}, "temperature"),
        ({"top_p": 2}, "top_p"),
        ({"top_k": -2}, "top_k"),
        ({"stop_sequences": "x"}, "stop_sequences"),
        ({"stop_sequences": [""]}, "stop_sequences[0]"),
        ({"metadata": {"user_id": 3}}, "metadata.user_id"),
        ({"system": 3}, "system"),
        ({"system": [{"type": "image"}]}, "system[0]"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image", "source": {}}]}]},
            "messages[0].content[0]",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "document", "source": {}}]}]},
            "messages[0].content[0]",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t"}]}]},
            "messages[0].content[0].tool_use_id",
        ),
        ({"messages": [*MESSAGES, {"role": "assistant", "content": "It is "}]}, "messages[1].content"),
    ],
)
def test_what_is_wrong_is_refused_by_its_place(tiny_server: RunningServer, fields: dict, place: str) -> None:
    message = check_error(post(tiny_server, **fields), 400, "invalid_request_error")
    assert message.startswith((f"{place}:", f"{place} ")), message
