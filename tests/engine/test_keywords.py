"""The choices of `GenerateParams` as keywords of the calls themselves."""

from collections.abc import Callable
from dataclasses import fields
from typing import Any, get_type_hints

import pytest

from ruvllm import (
    LLM,
    AsyncEngine,
    BatchInference,
    ChatSession,
    Completion,
    ConfigError,
    ContextLengthError,
    GenerateParams,
    RagPipeline,
    ToolConversation,
)
from ruvllm.logits_processors import LogitsProcessor
from ruvllm.outputs import Chunk
from ruvllm.params import GenerateKeywords
from tests.chat.conftest import with_template
from tests.conftest import FIXTURES

PROMPT = "The terms of this license"
GREEDY = GenerateParams(temperature=0.0, repetition_penalty=1.0, max_tokens=12, ignore_eos=True)
CHANGES: dict[str, Any] = {"temperature": 0.0, "repetition_penalty": 1.0, "max_tokens": 3, "ignore_eos": True}


def joined(chunks: Any) -> tuple[int, ...]:
    tokens: list[int] = []
    for chunk in chunks:
        assert isinstance(chunk, Chunk)
        tokens += chunk.token_ids
    return tuple(tokens)


@pytest.fixture(scope="module")
def llm() -> Any:
    """A tiny model with a chat template, which fills in no middle."""
    with LLM(FIXTURES / "gguf" / "llama-gqa.gguf", max_context=256) as llm:
        yield with_template(llm)


# Each call with keywords and without, and the tokens that come of it.
CALLS: dict[str, Callable[..., tuple[int, ...]]] = {
    "generate": lambda llm, *params, **more: llm.generate(PROMPT, *params, **more).token_ids,
    "generate many": lambda llm, *params, **more: llm.generate([PROMPT], *params, **more)[0].token_ids,
    "chat": lambda llm, *params, **more: llm.chat(PROMPT, *params, **more).token_ids,
    "stream": lambda llm, *params, **more: joined(llm.stream(PROMPT, *params, **more)),
    "as_completed": lambda llm, *params, **more: (
        next(llm.as_completed([PROMPT], *params, **more))[1].token_ids
    ),
    "send": lambda llm, *params, **more: ChatSession(llm).send(PROMPT, *params, **more).token_ids,
    "session.stream": lambda llm, *params, **more: joined(ChatSession(llm).stream(PROMPT, *params, **more)),
    "query": lambda llm, *params, **more: (
        RagPipeline(llm, ["a text"]).query(PROMPT, *params, **more).completion.token_ids
    ),
    "session": lambda llm, *params, **more: ChatSession(llm, **given(params), **more).send(PROMPT).token_ids,
    "batch": lambda llm, *params, **more: (
        BatchInference(llm, "Say: ", **given(params), **more).run([PROMPT])[0].token_ids
    ),
}


def given(params: tuple[GenerateParams, ...]) -> dict[str, Any]:
    """As what makes answers for long takes it."""
    return {"params": params[0]} if params else {}


@pytest.mark.parametrize("name", CALLS)
def test_keywords_make_the_parameters(llm: LLM, name: str) -> None:
    call = CALLS[name]
    assert call(llm, **CHANGES) == call(llm, GenerateParams(**CHANGES))
    assert len(call(llm, **CHANGES)) == 3


@pytest.mark.parametrize("name", CALLS)
def test_keywords_change_given_parameters(llm: LLM, name: str) -> None:
    call = CALLS[name]
    whole = call(llm, GREEDY)
    assert len(whole) == 12
    assert call(llm, GREEDY, max_tokens=5) == whole[:5]


@pytest.mark.parametrize("name", CALLS)
def test_a_misspelt_keyword_names_what_is_meant(llm: LLM, name: str) -> None:
    with pytest.raises(TypeError, match=r"'max_token'.*did you mean 'max_tokens'\?"):
        CALLS[name](llm, max_token=3)
    with pytest.raises(TypeError, match=r"'quux'.*there are max_tokens, temperature, "):
        CALLS[name](llm, quux=3)


def test_other_arguments_are_named_too(llm: LLM) -> None:
    for call, name, meant in (
        (ChatSession, "system_promt", "system_prompt"),
        (llm.generate, "priorty", "priority"),
        (llm.chat, "tool_choise", "tool_choice"),
        (llm.astream, "intervall", "interval"),
        (llm.generate, "stops", "stop"),
    ):
        with pytest.raises(TypeError, match=rf"did you mean '{meant}'\?"):
            call(llm if call is ChatSession else PROMPT, **{name: 1})  # type: ignore[operator]


def test_what_a_call_does_not_take_is_not_offered(llm: LLM) -> None:
    for call, name in (
        (ChatSession(llm).send, "priorty"),
        (RagPipeline(llm, ["a text"]).query, "adaptr"),
        (llm.learn(tenant="offered").chat, "tennant"),
        (lambda prompt, **more: BatchInference(llm, prompt, **more), "adaptr"),
        (llm.generate, "tool_choise"),
        (llm.generate, "intervall"),
    ):
        with pytest.raises(TypeError, match=rf"{name!r}.*there are max_tokens, "):
            call(PROMPT, **{name: 1})


def test_a_misspelt_keyword_is_found_without_prompts(llm: LLM) -> None:
    for params in (None, [], GREEDY):
        with pytest.raises(TypeError, match=r"did you mean 'max_tokens'\?"):
            llm.generate([], params, max_tokns=3)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("max_new_tokens", "max_tokens"),
        ("n_predict", "max_tokens"),
        ("temp", "temperature"),
        ("repeat_penalty", "repetition_penalty"),
        ("min_new_tokens", "min_tokens"),
        ("eos_token_id", "stop_token_ids"),
        ("bad_words_ids", "bad_words"),
        ("logits_processor", "logits_processors"),
    ],
)
def test_names_of_other_libraries_lead_to_ours(llm: LLM, theirs: str, ours: str) -> None:
    with pytest.raises(TypeError, match=rf"{theirs!r}.*did you mean {ours!r}\?"):
        llm.generate(PROMPT, **{theirs: 1})  # type: ignore[call-overload]


async def test_the_engine_for_asyncio_takes_them(llm: LLM) -> None:
    engine = AsyncEngine(llm)
    tokens = llm.generate(PROMPT, GREEDY).token_ids
    assert (await engine.generate(PROMPT, GREEDY, max_tokens=4)).token_ids == tokens[:4]
    assert (await engine.chat(PROMPT, **CHANGES)).token_ids == llm.chat(PROMPT, **CHANGES).token_ids
    for stream in (engine.stream(PROMPT, **CHANGES), llm.astream(PROMPT, **CHANGES)):
        assert joined([chunk async for chunk in stream]) == tokens[:3]
    with pytest.raises(TypeError, match=r"did you mean 'max_tokens'\?"):
        await engine.generate(PROMPT, max_tokns=3)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"did you mean 'interval'\?"):
        engine.stream(PROMPT, intervall=3)  # type: ignore[call-arg]


def test_a_conversation_with_tools_takes_them(llm: LLM) -> None:
    tool: Any = {"name": "add", "parameters": {"type": "object"}}
    conversation = ToolConversation(llm, [tool], params=GREEDY, max_tokens=5)
    assert (conversation.params.max_tokens, conversation.params.temperature) == (5, 0.0)
    with pytest.raises(TypeError, match=r"did you mean 'parallel_tool_calls'\?"):
        ToolConversation(llm, [tool], parallel_tool_call=True)  # type: ignore[call-arg]


def test_json_takes_them(llm: LLM) -> None:
    assert isinstance(llm.generate_json(PROMPT, {"enum": [1, 22]}, max_tokens=30), int)
    with pytest.raises(TypeError, match=r"did you mean 'schema'\?"):
        llm.generate_json(PROMPT, int, schemma=3)  # type: ignore[call-arg]


def test_a_wrong_value_is_refused_as_ever(llm: LLM) -> None:
    with pytest.raises(ConfigError, match=r"top_p is 1\.5; it must be above 0 and at most 1"):
        llm.generate(PROMPT, top_p=1.5)
    with pytest.raises(ConfigError, match="params is a dict; it must be GenerateParams"):
        llm.generate(PROMPT, {"top_p": 1.0}, max_tokens=3)  # type: ignore[call-overload]


# -- stop


@pytest.mark.parametrize("several", [False, True])
def test_stop_is_stop_sequences(llm: LLM, several: bool) -> None:
    whole = llm.generate(PROMPT, GREEDY).text
    stop = whole[3:5]
    ended = llm.generate(PROMPT, GREEDY, stop=[stop, "no such text"] if several else stop)
    assert isinstance(ended, Completion)
    assert ended.text == whole[: whole.index(stop)]
    assert ended.finish_reason == "stop"


def test_two_names_of_one_thing(llm: LLM) -> None:
    with pytest.raises(ConfigError, match="stop and stop_sequences are two names of one thing"):
        llm.generate(PROMPT, stop="a", stop_sequences=["b"])
    with pytest.raises(ConfigError, match=r"stop\[0\] is ''"):
        llm.generate(PROMPT, stop="")
    with pytest.raises(ConfigError, match=r"stop\[1\] is ''"):
        llm.generate(PROMPT, stop=["a", ""])
    with pytest.raises(ConfigError, match="stop is 3"):
        llm.generate(PROMPT, stop=3)  # type: ignore[call-overload]


def test_no_stop(llm: LLM) -> None:
    whole = llm.generate(PROMPT, GREEDY)
    stops = GenerateParams(
        temperature=0.0, repetition_penalty=1.0, max_tokens=12, stop_sequences=(whole.text[3:5],)
    )
    for params in (GREEDY, stops):
        assert llm.generate(PROMPT, params, stop=None, ignore_eos=True).token_ids == whole.token_ids


# -- what a chat shows


def test_a_chat_shows_what_its_caller_wants_to_see(llm: LLM) -> None:
    mark = next(one for one in llm.tokenizer.marks if llm.tokenizer.token_id(one) is not None)  # type: ignore[union-attr]
    token: Any = llm.tokenizer.token_id(mark)  # type: ignore[union-attr]
    shown = llm.chat(
        PROMPT, temperature=0, max_tokens=2, ignore_eos=True, logit_bias={token: 100.0}, keep_special=[mark]
    )
    assert mark in shown.text
    tool: Any = {"name": "add", "parameters": {"type": "object"}}
    talk = ToolConversation(
        llm,
        [tool],
        temperature=0,
        max_tokens=2,
        ignore_eos=True,
        logit_bias={token: 100.0},
        keep_special=[mark],
    )
    assert mark in talk.send_message(PROMPT, tool_choice="none").text


# -- what learns


def test_what_learns_takes_them(llm: LLM) -> None:
    sona = llm.learn(tenant="keywords")
    tokens = sona.generate(PROMPT, GREEDY).token_ids
    assert sona.generate(PROMPT, GREEDY, max_tokens=5).token_ids == tokens[:5]
    assert len(sona.chat(PROMPT, **CHANGES).token_ids) == 3
    assert joined(sona.stream(PROMPT, **CHANGES)) == tokens[:3]
    tool: Any = {"name": "add", "parameters": {"type": "object"}}
    # What the model is told of tools is more than this one's context holds.
    with pytest.raises(ContextLengthError, match="the prompt has 3"):
        sona.chat("a", tools=[tool])
    with pytest.raises(TypeError, match=r"did you mean 'max_tokens'\?"):
        sona.generate(PROMPT, max_token=3)  # type: ignore[call-arg]


@pytest.mark.parametrize("given", [[PROMPT, "you"], [], [[5, 6], [7]]])
def test_what_learns_takes_one_prompt(llm: LLM, given: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sona = llm.learn(tenant="one")
    monkeypatch.setattr(LLM, "generate", lambda *arguments, **more: pytest.fail("it was computed"))
    monkeypatch.setattr(LLM, "chat", lambda *arguments, **more: pytest.fail("it was computed"))
    for call in (sona.generate, sona.chat):
        with pytest.raises(ConfigError, match=rf"is a list of {len(given)}; `SonaLlm` takes one"):
            call(given)


# -- one list of names


def test_type_checkers_are_told_of_each_field() -> None:
    told = get_type_hints(GenerateKeywords)
    assert [*told] == [*(one.name for one in fields(GenerateParams)), "stop"]
    # What is kept is a tuple; what may be given is a list, too.
    texts = dict.fromkeys(("stop_sequences", "bad_words", "keep_special"), list[str])
    more = texts | dict.fromkeys(("stop_token_ids", "prediction"), list[int])
    more["logits_processors"] = list[LogitsProcessor]
    for name, annotation in get_type_hints(GenerateParams).items():
        assert told[name] == (annotation | more[name] if name in more else annotation), name
