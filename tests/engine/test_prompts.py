"""What is taken as token ids, and what Python counts as numbers but nobody means so."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ruvllm import LLM, AsyncEngine, ChatSession, ConfigError, GenerateParams, RadixTree, TokenizationError
from tests.conftest import FIXTURES

SHORT = GenerateParams(temperature=0.0, max_tokens=2, ignore_eos=True)
# What holds no token ids, though its elements are integers to Python; and a part of what it is told.
NO_TOKENS = [
    (b"abc", "a bytes; it must be"),
    (bytearray(b"abc"), "a bytearray; it must be"),
    (memoryview(b"abc"), "a memoryview; it must be"),
    ([True, False], r"token_ids\[0\] is True; it must be an integer"),
    ([5, True], r"token_ids\[1\] is True; it must be an integer"),
    ((5, np.True_), r"token_ids\[1\] is .*True.*; it must be an integer"),
    (np.array([True, False]), r"token_ids is a bool array of shape \(2,\); it must be a row of integers"),
    (np.array(5), r"token_ids is a int64 array of shape \(\); it must be a row of integers"),
    (np.array([5, True], dtype=object), r"token_ids\[1\] is True"),
]
# Every way to give token ids.
TAKERS: dict[str, Callable[[LLM, Any], Any]] = {
    "generate": lambda llm, given: llm.generate(given, SHORT),
    "generate a list": lambda llm, given: llm.generate([[5], given], SHORT),
    "stream": lambda llm, given: llm.stream(given, SHORT).completion(),
    "astream": lambda llm, given: llm.astream(given, SHORT),
    "as_completed": lambda llm, given: raise_outcomes(llm, given),
    "AsyncEngine": lambda llm, given: asyncio.run(AsyncEngine(llm).generate(given, SHORT)),
    "AsyncEngine.embed": lambda llm, given: asyncio.run(AsyncEngine(llm).embed(given)),
    "embed": lambda llm, given: llm.embed(given),
    "embed a list": lambda llm, given: llm.embed([[5], given]),
    "logits": lambda llm, given: llm.logits(given),
    "score": lambda llm, given: llm.score(given),
    "token_logprobs": lambda llm, given: llm.token_logprobs(given),
    "detokenize": lambda llm, given: llm.detokenize(given),
    "tokenizer": lambda llm, given: llm.tokenizer.decode(given) if llm.tokenizer else None,
}

# Every way to give what a chat template writes.
CHATTERS: dict[str, Callable[[LLM, Any], Any]] = {
    "chat": lambda llm, given: llm.chat(given, SHORT),
    "chat of a list": lambda llm, given: llm.chat(["a", given], SHORT),
    "achat": lambda llm, given: asyncio.run(llm.achat(given, SHORT)),
    "AsyncEngine.chat": lambda llm, given: asyncio.run(AsyncEngine(llm).chat(given, SHORT)),
    "ChatSession.send": lambda llm, given: ChatSession(llm, params=SHORT).send(given),
    "ChatSession of a system prompt": lambda llm, given: ChatSession(llm, given, params=SHORT).send("a"),
    "chat_tokens": lambda llm, given: llm.chat_tokens(given),
    "chat_tokens of own texts": lambda llm, given: llm.chat_tokens(given, parse_special=True),
    "apply_chat_template": lambda llm, given: llm.apply_chat_template(given),
    "parts": lambda llm, given: llm.chat(
        [{"role": "user", "content": [{"type": "text", "text": given}]}], SHORT
    ),
    "another key": lambda llm, given: llm.chat([{"role": "user", "content": "a", "name": given}], SHORT),
    "variables": lambda llm, given: llm.chat("a", SHORT, variables={"tone": [given]}),
    "tools": lambda llm, given: llm.chat("a", SHORT, tools=[{"name": "a", "description": given}]),
}


def raise_outcomes(llm: LLM, given: Any) -> None:
    for _, outcome in llm.as_completed([given], SHORT):
        if isinstance(outcome, Exception):
            raise outcome


@pytest.mark.parametrize("taker", TAKERS)
def test_bytes_and_flags_are_refused_wherever_token_ids_are_taken(tiny_gguf: LLM, taker: str) -> None:
    for given, words in NO_TOKENS:
        with pytest.raises(ConfigError, match=words):
            TAKERS[taker](tiny_gguf, given)


def test_a_tree_of_tokens_refuses_them_too() -> None:
    tree = RadixTree()
    for given in (b"abc", bytearray(b"abc"), [True, False], np.array([True])):
        for method in (tree.insert, tree.match, tree.peek):
            with pytest.raises(ConfigError, match=r"tokens(\[0\])? is "):
                method(given)  # type: ignore[arg-type]
    assert tree.token_count == 0


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "uint32", "int64", "uint64", "object"])
def test_integers_of_every_width_are_token_ids(tiny_gguf: LLM, dtype: str) -> None:
    plain = [5, 6, 7]
    expected = tiny_gguf.generate(plain, SHORT).token_ids
    assert tiny_gguf.generate(np.array(plain, dtype=dtype), SHORT).token_ids == expected
    assert tiny_gguf.generate(tuple(np.array(plain, dtype=dtype)), SHORT).token_ids == expected
    rows = tiny_gguf.generate(np.array([plain, plain], dtype=dtype), SHORT)  # type: ignore[call-overload]
    assert [one.token_ids for one in rows] == [expected, expected]
    assert tiny_gguf.detokenize(np.array(plain, dtype=dtype)) == tiny_gguf.detokenize(plain)  # type: ignore[arg-type]


@pytest.mark.parametrize("token", [True, -1, 320, 1.0, None])
def test_one_token_is_checked_likewise(tiny_gguf: LLM, token: Any) -> None:
    with pytest.raises(ConfigError, match=r"token_id is .*; it must be an integer from 0 to 319"):
        tiny_gguf.token_bytes(token)


@pytest.mark.parametrize("taker", ["generate", "stream", "AsyncEngine", "embed"])
def test_half_of_a_character_is_refused_with_its_place(tiny_gguf: LLM, taker: str) -> None:
    with pytest.raises(TokenizationError, match=r"half of a character .*'\\ud83d'.* in 'a\\ud83d b'"):
        TAKERS[taker](tiny_gguf, "a\ud83d b")


@pytest.fixture(scope="module")
def chatting() -> Any:
    with LLM(FIXTURES / "gguf" / "llama-gqa.gguf", max_context=256, chat_template="chatml") as llm:
        yield llm


@pytest.mark.parametrize("chatter", CHATTERS)
def test_half_of_a_character_is_refused_where_a_template_writes(chatting: LLM, chatter: str) -> None:
    with pytest.raises(TokenizationError, match=r"half of a character .*'\\ud83d'.* in .*a\\ud83d b"):
        CHATTERS[chatter](chatting, "a\ud83d b")


@pytest.mark.parametrize("name", ["stop", "stop_sequences", "bad_words", "keep_special"])
def test_half_of_a_character_is_in_no_setting(tiny_gguf: LLM, name: str) -> None:
    with pytest.raises(ConfigError, match=rf"{name}\[1\] has half of a character .* in 'b\\ud83d'$"):
        tiny_gguf.generate("a", **{name: ["a", "b\ud83d"]})


def test_a_long_setting_is_told_only_around_it_and_checked_at_once() -> None:
    long = "a" * 10**7
    began = time.perf_counter()
    GenerateParams(stop_sequences=(long,))
    assert time.perf_counter() - began < 0.5  # 3.7 s in a loop over characters
    with pytest.raises(ConfigError) as caught:
        GenerateParams(stop_sequences=(long + "\ud83d" + long,))
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("prompt", [None, 5])
def test_what_is_no_prompt_at_all(tiny_gguf: LLM, prompt: Any) -> None:
    for name in ("generate", "stream", "astream", "AsyncEngine"):
        with pytest.raises(ConfigError, match=f"is a {type(prompt).__name__}; it must be"):
            TAKERS[name](tiny_gguf, prompt)
