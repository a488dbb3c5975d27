"""A chat template that the user chooses, and what a call tells the template."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from ruvllm import LLM, AsyncEngine, ConfigError, TokenizationError
from tests.conftest import FIXTURES

MODEL = FIXTURES / "gguf" / "llama-gqa.gguf"
# Says what it is told, and writes its own beginning of an answer.
TEMPLATE = (
    "{% for message in messages %}[{{ message.role }}] {{ message.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}[{{ tone | default('plain') }}] {% endif %}"
)
ASKED = [{"role": "user", "content": "Hi"}]
GREEDY: dict[str, Any] = {"temperature": 0, "repetition_penalty": 1, "max_tokens": 4, "ignore_eos": True}


@pytest.fixture(scope="module")
def llm() -> Any:
    with LLM(MODEL, max_context=256, chat_template=TEMPLATE) as llm:
        yield llm


def test_its_text_a_file_and_a_built_in_one(llm: LLM, tmp_path: Path) -> None:
    assert llm.apply_chat_template(ASKED) == "[user] Hi\n[plain] "
    assert llm.chat_template == TEMPLATE
    assert llm.brings_chat_template
    answer = llm.chat(ASKED, **GREEDY)
    assert answer.token_ids == llm.generate("[user] Hi\n[plain] ", **GREEDY).token_ids
    file = tmp_path / "mine.jinja"
    file.write_text(TEMPLATE, encoding="utf-8")
    marked = tmp_path / "marked.jinja"
    marked.write_text(TEMPLATE, encoding="utf-8-sig")
    for given in (file, str(file), marked):
        with LLM(MODEL, max_context=256, chat_template=given) as other:
            assert other.chat(ASKED, **GREEDY).token_ids == answer.token_ids
    with LLM(MODEL, max_context=256, chat_template="chatml") as other:
        assert other.apply_chat_template(ASKED) == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"


@pytest.mark.real_model
def test_a_message_makes_no_mark_of_it(smollm2: LLM, smollm2_path: Path) -> None:
    """The model knows chatml, so the built-in one is its own but for the prompt that it adds."""
    told = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "a<|im_end|>b"}]
    with LLM(smollm2_path, max_context=256, chat_template="chatml") as chosen:
        tokens = chosen.chat_tokens(told)
    assert tokens == smollm2.chat_tokens(told)
    end = smollm2.tokenize("<|im_end|>")
    assert len(end) == 1
    assert tokens.count(end[0]) == 2


def test_a_call_tells_the_template(llm: LLM) -> None:
    greedy: dict[str, Any] = {**GREEDY, "variables": {"tone": "stern"}}
    stern = llm.generate("[user] Hi\n[stern] ", **GREEDY).token_ids
    assert stern != llm.chat(ASKED, **GREEDY).token_ids
    assert llm.chat(ASKED, **greedy).token_ids == stern
    assert [one.token_ids for one in llm.chat([ASKED, ASKED], **greedy)] == [stern, stern]
    assert asyncio.run(AsyncEngine(llm).chat(ASKED, **greedy)).token_ids == stern
    assert llm.chat(ASKED, **{**greedy, "variables": None}).token_ids != stern
    with pytest.raises(TypeError, match=r"'chat_template_kwargs'.*did you mean 'variables'"):
        llm.chat(ASKED, chat_template_kwargs={"tone": "stern"})  # type: ignore[call-overload]


def test_what_are_no_variables_is_said_with_tools_too(llm: LLM) -> None:
    for more in ({}, {"tools": [{"name": "weather"}]}):
        with pytest.raises(TokenizationError, match="variables is a int; it must be a dict"):
            llm.chat(ASKED, variables=5, **more)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("chat-ml", r"'chat-ml', which cannot be read: .* a built-in one: chatml, llama-2"),
        ("a\0b", "cannot be read"),
        (" " * 3 + "{{ x }}" * 40_000, "has 280003 characters; a template has some, and 262144 at most"),
        (" " * 3 + "\ud83d{{ x }}", "has half of a character"),
        ("~nobody-is-called-so/mine.jinja", "cannot be read: .* home"),
        (3, "chat_template is 3"),
    ],
)
def test_what_is_no_template_is_refused_before_the_model_is_loaded(
    given: Any, words: str, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.gguf"
    broken.touch()
    with pytest.raises(ConfigError, match=words):
        LLM(broken, chat_template=given)


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "mine.jinja"
    for content, words in (
        (b"\xff{{", "is no text in UTF-8"),
        (b" \n", "has 2 characters"),
        (b"x" * 2**21, "too long; a template has 262144 characters at most"),
        # What is cut off in a character is too long first.
        (b"x" + "\u20ac".encode() * 2**19, "too long"),
    ):
        file.write_bytes(content)
        with pytest.raises(ConfigError, match=words):
            LLM(MODEL, chat_template=file)
    with pytest.raises(ConfigError, match="cannot be read"):
        LLM(MODEL, chat_template=tmp_path)


def test_what_is_wrong_in_it_is_said_with_its_line() -> None:
    with (
        LLM(MODEL, max_context=64, chat_template="{{ messages }}\n{% if %}") as llm,
        pytest.raises(TokenizationError, match="the chat template that was chosen failed in line 2"),
    ):
        llm.chat(ASKED)
