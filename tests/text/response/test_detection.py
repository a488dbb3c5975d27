"""A model's format is found by what its template writes; conversations with tools reach the model whole."""

import json
import re
import subprocess
import sys
import tarfile
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2
import pytest

from ruvllm.errors import ConfigError, TokenizationError
from ruvllm.text.chat_template import ChatTemplate
from ruvllm.text.response import KNOWN_FORMATS, Dialogue, has_tools, response_format_of
from ruvllm.tools import ToolDefinition
from tests.text.response import templates
from tests.text.response.reading import read, seen
from tests.text.test_chat_template import oracle, rendered

WEATHER = ToolDefinition(
    name="get_weather", description="Weather.", parameters={"properties": {"city": {"type": "string"}}}
)
FOUND = [
    (templates.HERMES, "hermes", True),
    (templates.THINKING, "qwen-3", True),
    (templates.CODER, "qwen-3-coder", True),
    (templates.NAMED, "mistral-v11", True),
    (templates.LISTED, "mistral", True),
    (templates.LLAMA, "llama-3", True),
    (templates.DEEPSEEK, "deepseek", True),
    (templates.PHI, "phi-4-mini", True),
    (templates.UNKNOWN, "generic", False),
    (templates.PLAIN, "generic", False),
    (templates.WITHOUT_SYSTEM, "generic", False),
]


def calls(*cities: str) -> list[dict[str, Any]]:
    return [
        {
            "id": f"call_{index}_of_another_server",
            "type": "function",
            "function": {"name": "get_weather", "arguments": json.dumps({"city": city})},
        }
        for index, city in enumerate(cities)
    ]


def conversation(*cities: str) -> list[dict[str, Any]]:
    made = calls(*cities)
    results = [
        {"role": "tool", "tool_call_id": call["id"], "content": f"sun in {city}"}
        for call, city in zip(made, cities, strict=True)
    ]
    return [
        {"role": "user", "content": "How is the weather?"},
        {"role": "assistant", "content": None, "tool_calls": made},
        *results,
    ]


def told(source: str, messages: list[dict[str, Any]]) -> str:
    template = ChatTemplate(source)
    dialogue = Dialogue(template, response_format_of(template))
    prepared, variables = dialogue.prepared(messages, [WEATHER])
    return template.render(prepared, variables=variables)


@pytest.mark.parametrize(("source", "name", "native"), FOUND)
def test_the_format_is_the_one_that_the_template_writes(source: str, name: str, native: bool) -> None:
    found = response_format_of(ChatTemplate(source))
    assert (found.name, found.native) == (name, native)


@pytest.mark.parametrize(("source", "name", "native"), FOUND)
def test_tools_calls_and_results_reach_the_model(source: str, name: str, native: bool) -> None:
    text = told(source, conversation("Oslo", "Rome"))
    assert text.index('"description": "Weather."') < text.index("Oslo")
    for words in ("Oslo", "Rome", "sun in Oslo", "sun in Rome"):
        assert text.count(words) == text.count("sun in Rome") * (1 if "sun" in words else 2)
    if name == "llama-3":  # one at once, each with its result
        assert text.index("sun in Oslo") < text.index('"city": "Rome"')


@pytest.mark.parametrize(("source", "name", "native"), FOUND)
def test_what_is_told_of_a_call_is_how_the_model_calls(source: str, name: str, native: bool) -> None:
    """The call in the history is read back by the parser of answers: the check of the whole circle."""
    text = told(source, conversation("Oslo")[:2])
    answer = text[text.rindex("How is the weather?") :]
    found = [
        one for one in seen(read(response_format_of(ChatTemplate(source)), [answer])) if one[0] == "call"
    ]
    # A bare object has its place at an answer's beginning alone.
    assert found == [("call", "get_weather", {"city": "Oslo"})] or name == "llama-3"


def test_a_call_with_broken_arguments_does_not_end_a_conversation() -> None:
    messages = conversation("Oslo")
    messages[1]["tool_calls"][0]["function"]["arguments"] = '{"city": "Os'
    for source, name, _ in FOUND:
        if name != "qwen-3-coder":
            assert "Os" in told(source, messages)


def test_ids_of_other_servers_fit_where_a_family_wants_them_so() -> None:
    template = ChatTemplate(templates.NAMED)
    dialogue = Dialogue(template, response_format_of(template))
    prepared, _ = dialogue.prepared(conversation("Oslo"), [WEATHER])
    call_id = prepared[1]["tool_calls"][0]["id"]
    assert re.fullmatch("[A-Za-z0-9]{9}", call_id)
    assert prepared[2]["tool_call_id"] == call_id


def test_generic_tools_stand_in_the_system_message_or_the_users() -> None:
    system = {"role": "system", "content": "Be brief."}
    text = told(templates.PLAIN, [system, *conversation("Oslo")])
    assert text.startswith("<|im_start|>system\nBe brief.\n\nYou can call tools.")
    text = told(templates.WITHOUT_SYSTEM, conversation("Oslo"))
    assert text.startswith("<start_of_turn>user\nYou can call tools.")


def test_conversations_without_tools_are_none_of_its_business() -> None:
    assert not has_tools("Hi")
    assert not has_tools([{"role": "user", "content": "Hi"}])
    assert has_tools(conversation("Oslo"))


def test_a_template_that_thinks_says_so() -> None:
    found = response_format_of(ChatTemplate(templates.THINKING))
    assert found.reasons
    assert found.reasons.variable == "enable_thinking"
    assert not found.thinking_open("<|im_start|>assistant\n")
    assert found.thinking_open("<|im_start|>assistant\n<think>\n")
    assert not found.thinking_open("<|im_start|>assistant\n<think>\n\n</think>\n\n")
    assert found.thinking_open("...", beginning="<think>Let me")


def test_a_format_may_be_named() -> None:
    assert response_format_of(ChatTemplate(templates.PLAIN), name="hermes").name == "hermes"
    with pytest.raises(ConfigError, match="there is no response format 'best'; there are generic"):
        response_format_of(None, name="best")


# What families' own templates are read as. The others are told of `generic` in the prompt.
OFFICIAL = {
    "Mistral-Small-3.2": "mistral-v11",
    "NousResearch-Hermes-2-Pro": "hermes",
    "NousResearch-Hermes-3": "hermes",
    "Qwen-QwQ-32B": "qwen-3",
    "Qwen-Qwen2.5-7B": "qwen-2.5",
    "Qwen-Qwen3-0.6B": "qwen-3",
    "Qwen3-Coder": "qwen-3-coder",
    "Qwen3.5-4B": "qwen-3-coder",
    "deepseek-ai-DeepSeek-R1-Distill-Qwen": "deepseek-r1",
    "deepseek-ai-DeepSeek-V3.1": "deepseek",
    "meta-llama-Llama-3.1": "llama-3",
    "meta-llama-Llama-3.2": "llama-3",
    "meta-llama-Llama-3.3": "llama-3",
    "mistralai-Mistral-Nemo": "mistral",
    "openai-gpt-oss": "gpt-oss",
    "unsloth-mistral-Devstral": "mistral-v11",
}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_official_templates_are_told_of_everything(official: list[Path]) -> None:
    assert len(official) >= 70
    refused = []
    for path in official:
        source = path.read_text(encoding="utf-8")
        if name := next((OFFICIAL[begin] for begin in OFFICIAL if path.name.startswith(begin)), None):
            assert response_format_of(ChatTemplate(source)).name == name, path.name
        try:
            text = told(source, conversation("Oslo", "Rome"))
        except TokenizationError as error:
            refused.append(f"{path.name}: {error}")
            continue
        for words in ("get_weather", "Weather.", "Oslo", "Rome", "sun in Oslo", "sun in Rome"):
            assert words in text, (path.name, words)
    assert len(refused) <= 2, refused
    assert all("the chat template chat_template" in one for one in refused), refused


# Where Jinja2 fails over tools that are `None`, what `map` gives to `tojson`, or writes entities.
ELSEWHERE = {
    ("CohereForAI-c4ai-command-r-plus-tool_use", False),
    ("NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use", False),
    ("NousResearch-Hermes-3-Llama-3.1-8B-tool_use", False),
    ("llama-cpp-deepseek-r1", True),
    ("meetkai-functionary-medium-v3.1", True),
}
# These want variables of their own, or a description of each parameter, and are refused by both.
REFUSED = {
    ("fireworks-ai-llama-3-firefunction-v2", False),
    ("fireworks-ai-llama-3-firefunction-v2", True),
    ("CohereForAI-c4ai-command-r-plus-tool_use", True),
}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_official_templates_write_what_jinja2_writes(official: list[Path]) -> None:
    said = ("Oslo?", "Which day?", 'Today: <b> & "quotes", \u00e9.')
    messages = [
        {"role": role, "content": text}
        for role, text in zip(("user", "assistant", "user"), said, strict=True)
    ]
    for path in official:
        source = path.read_text(encoding="utf-8")
        for tools in (None, [WEATHER.as_dict()]):
            if (path.stem, tools is not None) in REFUSED:
                with pytest.raises(TokenizationError, match="chat_template failed in line"):
                    rendered(source, messages, tools=tools)
                with pytest.raises(jinja2.TemplateError):
                    oracle(source, messages, tools=tools, strftime_now=_today)
                continue
            text = rendered(source, messages, tools=tools)
            if (path.stem, tools is not None) not in ELSEWHERE:
                written = oracle(source, messages, tools=tools, strftime_now=_today)
                assert text == written, (path.name, tools)


def _today(form: str) -> str:
    return datetime.now().strftime(form)


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The templates in the source distribution of llama-cpp-python, over the package index."""
    folder = tmp_path_factory.mktemp("templates")
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--no-deps",
        # Of this one alone: what it is built with would be built as well, for an hour.
        "--no-binary",
        "llama-cpp-python",
        "--dest",
        str(folder),
    ]
    subprocess.run([*command, "llama-cpp-python==0.3.36"], check=True, capture_output=True)
    with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
        members = [
            one for one in archive.getmembers() if re.search(r"/models/templates/[^/]*\.jinja$", one.name)
        ]
        archive.extractall(folder, members=members, filter="data")
    return sorted(folder.rglob("*.jinja"))


def test_every_family_has_a_name_of_its_own() -> None:
    assert len(KNOWN_FORMATS) == 13
