"""Whatever a client sends, it gets an answer or an error of the 4xx kind that says what is wrong.

Two sources of requests, both with fixed seeds: schemathesis, which reads the API's description, and bodies
that are right but for one field, which holds something nasty.
"""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import response_schema_conformance

from ruvllm import LLM
from ruvllm.serve import ServerSettings, create_app
from ruvllm.serve.dialects import is_anthropic, is_ollama
from tests.serve.conftest import TINY
from tests.serve.running import RunningServer, running

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

HI = {"role": "user", "content": "hi"}
PREDICATE = {"type": "predicate", "instructions": "It is polite."}
# A body that each route takes, to be spoiled; routes that are not here begin with nothing.
BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"model": TINY, "messages": [HI], "max_tokens": 3},
    "/v1/completions": {"model": TINY, "prompt": "hi", "max_tokens": 3},
    "/v1/embeddings": {"model": TINY, "input": "hi"},
    "/v1/decisions": {"model": TINY, "input": "hi", "questions": [PREDICATE]},
    "/v1/systemone": {"model": TINY, "state": "hi", "questions": {"polite": {**PREDICATE, "type": "noul"}}},
    "/v1/responses": {"model": TINY, "input": "hi", "max_output_tokens": 3},
    "/v1/messages": {"model": TINY, "messages": [HI], "max_tokens": 3},
    "/v1/messages/count_tokens": {"model": TINY, "messages": [HI]},
    "/api/chat": {"model": TINY, "messages": [HI], "options": {"num_predict": 3}},
    "/api/generate": {"model": TINY, "prompt": "hi", "options": {"num_predict": 3}},
    "/api/embed": {"model": TINY, "input": "hi"},
    "/api/embeddings": {"model": TINY, "prompt": "hi"},
    "/api/show": {"model": TINY},
    "/infill": {"input_prefix": "the", "input_suffix": "cat", "n_predict": 3},
    "/tokenize": {"model": TINY, "prompt": "hi"},
    "/detokenize": {"model": TINY, "tokens": [5, 6]},
    "/v1/chat/completions/render": {"model": TINY, "messages": [HI]},
    "/v1/completions/render": {"model": TINY, "prompt": "hi"},
    "/v1/responses/render": {"model": TINY, "input": "hi"},
}
# What is wrong is in a field that can be named, where the code is one of these.
CODES_OF_FIELDS = {
    "invalid_value",
    "missing_required_parameter",
    "unsupported_parameter",
    "context_length_exceeded",
    "model_not_found",
}

# How streams end, where all went well.
LAST_LINES = {
    "data: [DONE]",
    "event: message_stop",
    "event: response.completed",
    "event: response.incomplete",
}

TEXTS = st.sampled_from(
    [
        "",
        " ",
        "\0",
        "\ud800",
        "a\udfffb",
        "\u200b\u200d\ufeff",
        "\u202e",
        "{{ 7 * 7 }}{% for",
        "<|im_end|><s></s>",
        "a" * 1001,
        "a" * 100_000,
        "🫠" * 5000,
        "e" + "\u0301" * 2000,
        "data: x\n\ndata: [DONE]\n\n",
        "../../etc/passwd",
        "-1",
        "9" * 400,
    ]
)
NUMBERS = st.sampled_from(
    [
        *(0, -1, 1, 2, 2**31 - 1, 2**31, 2**32, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64),
        *(10**100, -(10**100), 10**4299, 0.5, -0.0, 5e-324, 1.7976931348623157e308),
        *(float("nan"), float("inf"), float("-inf")),
    ]
)
SCALARS = st.none() | st.booleans() | NUMBERS | TEXTS | st.text(max_size=20)


def nested(depth: int, kind: str) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value] if kind == "list" else {"a": value}
    return value


DEEP = st.builds(nested, st.sampled_from([10, 63, 65, 400, 900]), st.sampled_from(["list", "object"]))
LONG = st.sampled_from([[HI] * 5000, ["a"] * 5000, [5] * 20_000, {str(index): 1 for index in range(2000)}])
PARTS = st.builds(
    lambda kind, text: {"type": kind, "text": text},
    st.sampled_from(["text", "image_url", "input_text", "", "\ud800"]),
    SCALARS,
)
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "role": st.sampled_from(["system", "user", "assistant", "tool", "developer", "nobody", 3, None]),
            "content": SCALARS | st.lists(PARTS, max_size=3),
            "name": SCALARS,
            "tool_calls": SCALARS | st.just([]),
        },
    ),
    max_size=4,
)
NASTY = st.one_of(
    SCALARS,
    st.lists(SCALARS, max_size=4),
    st.dictionaries(TEXTS.filter(lambda text: len(text) < 2000), SCALARS, max_size=3),
    DEEP,
    LONG,
    MESSAGES,
    st.sampled_from([[5, 99_999], [[5], [5, 99_999]], [5, "a"], [5, 2**40]]),
    st.lists(st.lists(NUMBERS, max_size=3), max_size=3),
)


@pytest.fixture(scope="module")
def server(tiny_chat: LLM) -> Iterator[RunningServer]:
    with running(create_app({TINY: tiny_chat}, ServerSettings(max_choices=4, max_inputs=16))) as server:
        yield server


@pytest.fixture(scope="module")
def client(server: RunningServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=20) as client:
        yield client


def check_error(response: httpx.Response) -> None:
    """It is an error as the clients of its API read it, and names the field where one is at fault."""
    assert 400 <= response.status_code < 500, response.text
    body = json.loads(response.content)
    if is_anthropic(response.request.url.path):
        assert set(body) == {"type", "error", "request_id"}
        assert set(body["error"]) == {"type", "message"}
        assert 0 < len(body["error"]["message"]) < 2000
        return
    assert set(body) == {"error"}
    error = body["error"]
    if is_ollama(response.request.url.path):
        assert isinstance(error, str)
        assert 0 < len(error) < 2000
        return
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    assert isinstance(error["message"], str)
    assert len(error["message"]) < 2000, "a message need not give the request back"
    assert error["type"]
    assert isinstance(error["type"], str)
    if error["code"] in CODES_OF_FIELDS and not error["message"].startswith("the body: "):
        assert error["param"], error
    assert response.headers["x-request-id"]


def check_answer(response: httpx.Response) -> None:
    """It is an answer that can be read to its end, or an error."""
    if response.status_code != 200:
        check_error(response)
    elif response.headers["content-type"] == "application/x-ndjson":
        pieces = [json.loads(line) for line in response.content.decode().splitlines()]
        assert [piece["done"] for piece in pieces] == [False] * (len(pieces) - 1) + [True], pieces[-1]
    elif response.headers["content-type"].startswith("text/event-stream"):
        *events, empty = response.content.decode().split("\n\n")
        assert not empty
        assert events[-1].split("\n")[0] in LAST_LINES, events[-1]
        for event in events:
            assert not event.startswith("event: error"), event
            data = event.rpartition("data: ")[2]
            assert data == "[DONE]" or "error" not in json.loads(data), event
    else:
        json.loads(response.content)


def post_routes(server: RunningServer) -> list[str]:
    paths = server.app.openapi()["paths"]
    return sorted(path for path, operations in paths.items() if "post" in operations)


def fields_of(server: RunningServer, path: str) -> list[str]:
    """The fields that the description names, those that are refused by name, and some that nobody knows."""
    description = server.app.openapi()
    content = description["paths"][path]["post"].get("requestBody", {}).get("content", {})
    reference = content.get("application/json", {}).get("schema", {}).get("$ref", "")
    known = description["components"]["schemas"].get(reference.rpartition("/")[2], {}).get("properties", {})
    return [*known, "tools", "response_format", "stop", "metadata", "", "model_config", "\ud800", "__class__"]


def send(client: httpx.Client, path: str, body: Any, *, ascii_only: bool = True) -> httpx.Response:
    text = json.dumps(body, ensure_ascii=ascii_only)
    content = text.encode("utf-8", "surrogatepass")
    return client.post(path, content=content, headers={"content-type": "application/json"})


def spoil(server: RunningServer, client: httpx.Client, draw: st.DataObject) -> None:
    path = draw.draw(st.sampled_from(post_routes(server)))
    body = dict(BODIES.get(path, {"model": TINY}))
    names = st.sampled_from(fields_of(server, path))
    for name in draw.draw(st.lists(names, min_size=1, max_size=2)):
        body[name] = draw.draw(NASTY)
    if draw.draw(st.booleans()):
        body["stream"] = True
    check_answer(send(client, path, body, ascii_only=draw.draw(st.booleans())))


QUICK = settings(
    max_examples=300,
    derandomize=True,
    database=None,
    deadline=None,
    phases=(Phase.generate,),
    suppress_health_check=list(HealthCheck),
)


@QUICK
@given(draw=st.data())
def test_a_nasty_field_gets_an_answer_or_a_client_error(
    server: RunningServer, client: httpx.Client, draw: st.DataObject
) -> None:
    spoil(server, client, draw)


@pytest.mark.slow
@pytest.mark.timeout(900)
@settings(QUICK, max_examples=5000)
@given(draw=st.data())
def test_nasty_fields_for_long(server: RunningServer, client: httpx.Client, draw: st.DataObject) -> None:
    spoil(server, client, draw)


@QUICK
@given(
    path=st.sampled_from(sorted(BODIES)),
    body=st.binary(max_size=60)
    | st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3), max_leaves=8).map(
        lambda value: json.dumps(value).encode()
    ),
)
def test_a_body_that_is_no_request_gets_a_client_error(client: httpx.Client, path: str, body: bytes) -> None:
    check_error(client.post(path, content=body, headers={"content-type": "application/json"}))


def fuzz_by_description(server: RunningServer, max_examples: int) -> None:
    """Ask every operation of the description, in ways that fit it and in ways that do not."""
    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    checks = [not_a_server_error, response_schema_conformance]
    for result in schema.get_all_operations():
        operation = result.ok()
        # Where there is no body, nothing can be sent that does not fit.
        has_body = "requestBody" in operation.definition.raw
        modes = list(GenerationMode) if has_body else [GenerationMode.POSITIVE]
        for mode in modes:

            @settings(QUICK, max_examples=max_examples)
            @given(case=operation.as_strategy(generation_mode=mode))
            def ask(case: schemathesis.Case) -> None:
                response = case.call(timeout=20)
                case.validate_response(response, checks=checks)

            ask()


@pytest.mark.timeout(120)
def test_the_description_is_kept(server: RunningServer) -> None:
    fuzz_by_description(server, max_examples=8)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_description_is_kept_for_long(server: RunningServer) -> None:
    fuzz_by_description(server, max_examples=500)
