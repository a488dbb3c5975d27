"""What an answer must be, in every API and field that says it, of models that would say something else."""

import json
from typing import Any

import anthropic
import httpx
import openai
import pydantic
import pytest

from tests.serve.running import RunningServer
from tests.serve.test_fields import check_error
from tests.serve.tool_models import ASK

YES_OR_NO: dict[str, Any] = {"enum": ["yes", "no"]}
NESTED = {"type": "json_schema", "json_schema": {"name": "s", "strict": True, "schema": YES_OR_NO}}
FLAT = {"type": "json_schema", "name": "s", "schema": YES_OR_NO}
QUOTED = ('"yes"', '"no"')
BARE = ("yes", "no")
PLACES = {
    "chat": ("/v1/chat/completions", {"messages": ASK, "max_tokens": 60}),
    "completions": ("/v1/completions", {"prompt": "Is it?\n", "max_tokens": 60}),
    "responses": ("/v1/responses", {"input": ASK, "max_output_tokens": 60}),
    "messages": ("/v1/messages", {"messages": ASK, "max_tokens": 60}),
}


def post(server: RunningServer, api: str, **fields: Any) -> httpx.Response:
    path, body = PLACES[api]
    whole = {"model": "plain", "temperature": 0, **body, **fields}
    return httpx.post(server.url + path, json=whole, timeout=30)


def text_of(api: str, answer: httpx.Response) -> str:
    assert answer.status_code == 200, answer.text
    body = answer.json()
    if api == "chat":
        return body["choices"][0]["message"]["content"]
    if api == "completions":
        return body["choices"][0]["text"]
    return (body["output"][0]["content"] if api == "responses" else body["content"])[0]["text"]


@pytest.mark.parametrize(
    ("api", "fields", "allowed"),
    [
        ("chat", {"response_format": NESTED}, QUOTED),
        ("chat", {"response_format": {"type": "json_schema", "schema": YES_OR_NO}}, QUOTED),
        ("chat", {"response_format": {"type": "json_object", "schema": YES_OR_NO}}, QUOTED),
        ("responses", {"text": {"format": FLAT}}, QUOTED),
        ("messages", {"output_config": {"format": FLAT}}, QUOTED),
        ("completions", {"response_format": NESTED}, QUOTED),
        ("chat", {"structured_outputs": {"json": YES_OR_NO}}, QUOTED),
        ("chat", {"structured_outputs": {"json": json.dumps(YES_OR_NO)}}, QUOTED),
        ("chat", {"structured_outputs": {"choice": ["yes", "no"], "_backend": "auto"}}, BARE),
        ("completions", {"structured_outputs": {"regex": "yes|no"}}, BARE),
        ("chat", {"structured_outputs": {"grammar": 'root ::= "yes" | "no"'}}, BARE),
        ("chat", {"guided_json": YES_OR_NO}, QUOTED),
        ("chat", {"guided_choice": ["yes", "no"]}, BARE),
        ("chat", {"guided_regex": "yes|no"}, BARE),
        ("chat", {"guided_grammar": 'start: "yes" | "no"'}, BARE),
        ("completions", {"grammar": 'root ::= word\nword ::= "yes" | "no"'}, BARE),
        ("completions", {"json_schema": YES_OR_NO}, QUOTED),
        ("chat", {"regex": "yes|no"}, BARE),
        ("chat", {"ebnf": 'root ::= "yes" | "no"'}, BARE),
    ],
)
def test_each_field_holds_the_answer(
    tools: RunningServer, api: str, fields: dict[str, Any], allowed: tuple[str, ...]
) -> None:
    assert text_of(api, post(tools, api)) not in allowed
    assert text_of(api, post(tools, api, **fields)) in allowed


@pytest.mark.parametrize("written", [dict, json.dumps])
def test_objects_have_the_keys_that_their_schema_names(tools: RunningServer, written: Any) -> None:
    schema = {"type": "object", "properties": {"a": {"enum": [1, 2]}}, "required": ["a"]}
    for seed in range(4):
        hot = {"temperature": 1.5, "seed": seed, "max_tokens": 200}
        answer = post(tools, "chat", json_schema=written(schema), **hot)
        assert json.loads(text_of("chat", answer)) in ({"a": 1}, {"a": 2})
    # Others where it says so: there must be two.
    opened = {**schema, "additionalProperties": {"const": 0}, "required": ["a", "b"]}
    answer = post(tools, "chat", json_schema=written(opened), temperature=1.5, seed=1, max_tokens=200)
    assert len(json.loads(text_of("chat", answer))) >= 2


def test_formats_that_ask_for_nothing_change_nothing(tools: RunningServer) -> None:
    free = text_of("chat", post(tools, "chat"))
    for fields in ({"response_format": {"type": "text"}}, {"grammar": ""}, {"structured_outputs": {}}):
        assert text_of("chat", post(tools, "chat", **fields)) == free
    assert text_of("responses", post(tools, "responses", text={"format": {"type": "text"}})) == free


BAD = {"type": "object", "properties": {"a": {"items": {"not": {"type": "string"}}}}}
POINTER = "/properties/a/items/not"


@pytest.mark.parametrize(
    ("api", "fields", "param", "code"),
    [
        (
            "chat",
            {"response_format": {"type": "json_schema", "json_schema": {"schema": BAD}}},
            f"response_format.json_schema.schema{POINTER}",
            "invalid_json_schema",
        ),
        (
            "responses",
            {"text": {"format": {**FLAT, "schema": BAD}}},
            f"text.format.schema{POINTER}",
            "invalid_json_schema",
        ),
        (
            "chat",
            {"structured_outputs": {"json": BAD}},
            f"structured_outputs.json{POINTER}",
            "invalid_json_schema",
        ),
        ("chat", {"json_schema": "{"}, "json_schema", "invalid_json_schema"),
        ("chat", {"regex": "(?=a)b"}, "regex", "invalid_grammar"),
        ("chat", {"grammar": 'root ::= "a" nothing'}, "grammar", "invalid_grammar"),
        ("chat", {"response_format": {"type": "wizard"}}, "response_format.type", "invalid_value"),
        ("chat", {"structured_outputs": {"structural_tag": {}}}, "structured_outputs.structural_tag", None),
        ("chat", {"guided_choice": []}, "guided_choice", None),
        ("chat", {"regex": "a", "response_format": NESTED}, "regex", "invalid_value"),
        ("chat", {"regex": "a", "ignore_eos": True}, "regex", "invalid_value"),
        ("responses", {"regex": "a"}, "regex", "unsupported_parameter"),
        ("messages", {"response_format": NESTED}, "response_format", "unsupported_parameter"),
    ],
)
def test_what_cannot_be_honoured_is_named_by_its_place(
    tools: RunningServer, api: str, fields: dict[str, Any], param: str, code: str | None
) -> None:
    answer = post(tools, api, **fields)
    if api != "messages":
        check_error(answer, 400, param, code)
        return
    assert answer.status_code == 400
    assert param in answer.json()["error"]["message"]


def test_a_schema_of_a_message_is_named_by_its_place(tools: RunningServer) -> None:
    answer = post(tools, "messages", output_config={"format": {**FLAT, "schema": BAD}})
    assert answer.status_code == 400
    assert f"output_config.format.schema{POINTER}" in answer.json()["error"]["message"]


def test_the_clients_parse_what_comes(tools: RunningServer) -> None:
    class Answer(pydantic.BaseModel):
        word: str = pydantic.Field(pattern="^(yes|no)$")
        model_config = pydantic.ConfigDict(extra="forbid")

    with openai.OpenAI(base_url=tools.api, api_key="none", max_retries=0) as client:
        fields: dict[str, Any] = {"model": "plain", "messages": ASK, "temperature": 0, "max_tokens": 200}
        told = client.chat.completions.parse(**fields, response_format=Answer)
        assert isinstance(told.choices[0].message.parsed, Answer)
        with client.chat.completions.stream(**fields, response_format=Answer) as stream:
            assert isinstance(stream.get_final_completion().choices[0].message.parsed, Answer)
        response = client.responses.parse(model="plain", input=ASK, temperature=0, text_format=Answer)
        assert isinstance(response.output_parsed, Answer)
        assert response.text.format.type == "json_schema"
    with anthropic.Anthropic(base_url=tools.url, api_key="none", max_retries=0) as claude:
        asked: dict[str, Any] = {"model": "plain", "messages": ASK, "max_tokens": 200}
        schema = {"format": {"type": "json_schema", "schema": Answer.model_json_schema()}}
        message = claude.messages.create(**asked, output_config=schema, extra_body={"temperature": 0})
        Answer.model_validate_json(message.content[0].text)


def test_json_comes_after_thoughts(tools: RunningServer) -> None:
    """In the prompt's open thought anything may be said, and what follows is held."""
    told = post(tools, "chat", model="thinks", response_format=NESTED).json()["choices"][0]["message"]
    assert told["reasoning_content"] == "Hmm."
    assert told["content"] in QUOTED
    # This one opens its thoughts itself.
    told = post(tools, "chat", model="calls", response_format=NESTED).json()["choices"][0]["message"]
    assert told["reasoning_content"] == "Two cities."
    assert told["content"] in QUOTED


def test_several_answers_are_held_each(tools: RunningServer) -> None:
    answer = post(tools, "chat", n=3, regex="yes|no", temperature=1.5)
    assert {choice["message"]["content"] for choice in answer.json()["choices"]} <= set(BARE)
