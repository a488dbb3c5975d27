"""What a notebook shows of answers and of the things that give them, and why these stay in their process."""

import copy
import enum
import math
import pickle
from dataclasses import replace
from typing import Any

import pytest

import ruvllm
from ruvllm import (
    LLM,
    AsyncEngine,
    BatchInference,
    ChatSession,
    Completion,
    GenerateParams,
    NativeBackend,
    PrefixCache,
    RadixTree,
    RagPipeline,
    Timings,
    ToolCall,
    ToolConversation,
    Usage,
    hub,
)
from ruvllm.packs import KernelManager
from tests.chat.conftest import with_template
from tests.conftest import FIXTURES

GGUF = FIXTURES / "gguf" / "llama-gqa.gguf"
PROMPT = "The terms of this license"
GREEDY = GenerateParams(temperature=0.0, repetition_penalty=1.0, max_tokens=12, ignore_eos=True)
TOOL = {"name": "add", "parameters": {"type": "object"}}


@pytest.fixture(scope="module")
def llm() -> Any:
    with LLM(GGUF, max_context=256) as llm:
        yield with_template(llm)


def completion_of(text: str, **more: Any) -> Completion:
    return Completion(
        text=text,
        token_ids=(5,),
        finish_reason="stop",
        usage=Usage(prompt_tokens=3, completion_tokens=1),
        timings=Timings(first_token_seconds=0.1, total_seconds=0.1),
        **more,
    )


# -- a completion


def test_a_completion_as_a_text_is_its_own(llm: LLM) -> None:
    completion = llm.generate(PROMPT, GREEDY)
    assert str(completion) == f"{completion}" == completion.text != ""
    assert "token_ids" in repr(completion)


def test_a_notebook_renders_the_markdown() -> None:
    assert completion_of("**Yes.**")._repr_markdown_() == "**Yes.**"
    call = ToolCall(id="1", name="add", arguments='{"a": 1}')
    assert completion_of("", tool_calls=(call,))._repr_markdown_() == '`add({"a": 1})`'
    call = ToolCall(id="1", name="add", arguments='{"a": "``x`"}')
    assert completion_of("", tool_calls=(call,))._repr_markdown_() == '```add({"a": "``x`"})```'
    assert completion_of("Well:", tool_calls=(call, call))._repr_markdown_().count("`add(") == 2


def test_other_answers_as_a_text_are_their_own(llm: LLM) -> None:
    chunks = list(llm.stream(PROMPT, GREEDY))
    assert "".join(map(str, chunks)) == llm.generate(PROMPT, GREEDY).text
    answer = RagPipeline(llm, ["a text"], params=GREEDY).query("What?")
    assert (str(answer), "chunks=" in repr(answer)) == (answer.text, True)
    assert replace(answer, text="<b> **Yes.**")._repr_markdown_() == "&lt;b> **Yes.**"


async def test_the_prompt_of_a_completion(llm: LLM) -> None:
    rendered = llm.apply_chat_template(PROMPT)
    assert rendered != PROMPT
    assert llm.generate(PROMPT, GREEDY).prompt == PROMPT
    assert [one.prompt for one in llm.generate([PROMPT, "you"], GREEDY)] == [PROMPT, "you"]
    assert llm.generate([5, 6], GREEDY).prompt is None
    assert llm.stream(PROMPT, GREEDY).completion().prompt == PROMPT
    assert next(llm.as_completed([PROMPT], GREEDY))[1].prompt == PROMPT  # type: ignore[union-attr]
    assert llm.chat(PROMPT, GREEDY).prompt == rendered
    assert [one.prompt for one in llm.chat([PROMPT, PROMPT], GREEDY)] == [rendered, rendered]
    assert llm.generate([{"role": "user", "content": PROMPT}], GREEDY).prompt == rendered
    assert (await llm.agenerate(PROMPT, GREEDY)).prompt == PROMPT
    assert (await llm.achat([PROMPT], GREEDY))[0].prompt == rendered


def test_the_prompts_of_sessions_and_documents(llm: LLM) -> None:
    session = ChatSession(llm)
    first = session.send(PROMPT, GREEDY)
    assert first.prompt == llm.apply_chat_template(PROMPT)
    second = session.send("you", GREEDY)
    assert second.prompt is not None
    assert second.prompt.startswith(first.prompt + first.text)
    pipeline = RagPipeline(llm, ["a text"])
    answer = pipeline.query("What?", GREEDY)
    assert answer.completion.prompt == pipeline.prompt("What?", answer.chunks)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<think>a</think> 1 < 2", "&lt;think>a&lt;/think> 1 &lt; 2"),
        ("`<b>` <b> ``<b>`<b>`` <b>", "`<b>` &lt;b> ``<b>`<b>`` &lt;b>"),
        ("a ` <b>", "a ` &lt;b>"),
        ("a `\n\n<b> `", "a `\n\n&lt;b> `"),
        (r"\`<b>`", r"\`&lt;b>`"),
        (r"\\`<b>`", r"\\`<b>`"),
        ("```html\n<b>\n```\n<b>", "```html\n<b>\n```\n&lt;b>"),
        ("~~~\n<b>\n```\n<b>\n~~~~\n<b>", "~~~\n<b>\n```\n<b>\n~~~~\n&lt;b>"),
        ("````\n```\n<b>\n````\n<b>", "````\n```\n<b>\n````\n&lt;b>"),
        ("1. a\n   ```\n   <b>\n<b>", "1. a\n   ```\n   <b>\n&lt;b>"),
        ("  ```\ncode\n```\n  <b>", "  ```\ncode\n```\n  &lt;b>"),
        ("``` <b>", "``` &lt;b>"),
        ("", ""),
    ],
)
def test_what_looks_like_an_element_is_text(text: str, shown: str) -> None:
    assert completion_of(text)._repr_markdown_() == shown


async def test_the_stop_sequence_that_ended_it(llm: LLM) -> None:
    whole = llm.generate(PROMPT, GREEDY).text
    stops = ["no such text", whole[4:6], whole[8:]]
    for made in (
        llm.generate(PROMPT, GREEDY, stop=stops),
        llm.generate([PROMPT], GREEDY, stop=stops)[0],
        llm.stream(PROMPT, GREEDY, stop=stops).completion(),
        await llm.agenerate(PROMPT, GREEDY, stop=stops),
    ):
        assert (made.stop_reason, made.finish_reason) == (whole[4:6], "stop")
    assert llm.generate(PROMPT, GREEDY, stop="no such text").stop_reason is None
    assert llm.generate(PROMPT, GREEDY).stop_reason is None
    end = llm.tokenizer.eos_token  # type: ignore[union-attr]
    ended = llm.generate(PROMPT, temperature=0, logit_bias={end: 100.0}, stop="x")  # type: ignore[dict-item]
    assert (ended.finish_reason, ended.stop_reason) == ("stop", None)


async def test_the_stop_sequence_of_a_stream_that_was_read_in_part(llm: LLM) -> None:
    whole = llm.generate(PROMPT, GREEDY).text
    # The first ends in what the first chunk's token says, the other one goes on over several.
    for stop in (llm.detokenize(llm.generate(PROMPT, GREEDY).token_ids[:1]), whole[3:9]):
        assert whole.count(stop)
        stream = llm.stream(PROMPT, GREEDY, stop=["no such text", stop])
        first = next(stream)
        left = stream.completion()
        assert left.stop_reason == stop
        assert first.text + left.text == whole[: whole.index(stop)]
        awaited = llm.astream(PROMPT, GREEDY, stop=["no such text", stop])
        await anext(awaited)
        assert (await awaited.completion()).stop_reason == stop


def test_a_stop_sequence_behind_a_mark_that_is_shown(llm: LLM) -> None:
    mark = next(one for one in llm.tokenizer.marks if llm.tokenizer.token_id(one) is not None)  # type: ignore[union-attr]
    token = llm.tokenizer.token_id(mark)  # type: ignore[union-attr]
    assert token is not None
    made = llm.generate(
        PROMPT,
        temperature=0,
        max_tokens=3,
        ignore_eos=True,
        logit_bias={token: 100.0},
        keep_special=[mark],
        stop=mark * 2,
    )
    assert (made.text, made.stop_reason) in [("", mark * 2), (mark * 3, None)]


def test_how_likely_the_whole_was(llm: LLM) -> None:
    assert llm.generate(PROMPT, GREEDY).cumulative_logprob is None
    made = llm.generate(PROMPT, GREEDY, logprobs=0)
    scored = llm.score([*llm.tokenize(PROMPT), *made.token_ids])
    assert made.cumulative_logprob == pytest.approx(-math.fsum(scored[-12:]), abs=1e-3)
    assert completion_of("").cumulative_logprob is None
    stopped = llm.generate(PROMPT, GREEDY, logprobs=0, stop=made.text[4:6])
    assert stopped.cumulative_logprob is not None
    # The tokens that made the stop sequence are in it.
    assert made.text[4:6] in llm.detokenize(stopped.token_ids)
    assert stopped.cumulative_logprob == pytest.approx(
        math.fsum(one.logprob for one in made.logprobs[: len(stopped.token_ids)]),  # type: ignore[index]
        abs=1e-6,
    )
    end: Any = llm.tokenizer.eos_token  # type: ignore[union-attr]
    ended = llm.generate(PROMPT, temperature=0, logit_bias={end: 100.0}, logprobs=0)
    assert (ended.token_ids, ended.cumulative_logprob) == ((), 0.0)


# -- what gives them


def test_no_public_class_is_shown_by_its_address() -> None:
    bare = [
        name
        for name in ruvllm.__all__
        if isinstance(one := getattr(ruvllm, name), type)
        and not issubclass(one, BaseException | enum.Enum)
        and one.__repr__ is object.__repr__
    ]
    # An interface, of which there are no objects.
    assert bare == ["LlmBackend"]


def test_what_is_shown_is_short_and_says_what_it_is(llm: LLM) -> None:
    session = ChatSession(llm, params=GREEDY)
    session.send("a")
    backend = NativeBackend()
    cache: Any = llm.prefix_cache
    stream = llm.stream(PROMPT, GREEDY)
    answers = llm.as_completed([PROMPT], GREEDY)
    with session.stream("b") as turn:
        shown = {
            repr(llm): "LLM('llama-gqa', F32, max_context=256)",
            repr(AsyncEngine(llm)): "AsyncEngine(LLM('llama-gqa', F32, max_context=256))",
            repr(AsyncEngine.open("smollm2-135m")): "OpeningEngine('smollm2-135m', not begun)",
            repr(turn): "ChatStream(chunks=0, under way)",
            repr(stream): "CompletionStream(under way)",
            repr(answers): "CompletionsInTurn(under_way=0)",
            repr(cache): "EnginePrefixCache('llama-gqa')",
            repr(llm.adapters): "Adapters()",
            repr(backend): "NativeBackend()",
            repr(RadixTree()): "RadixTree(nodes=0, tokens=0)",
            repr(PrefixCache()): "PrefixCache(tokens=0, bytes=0)",
            repr(KernelManager()): "KernelManager(native)",
            repr(ToolConversation(llm, [TOOL])): f"ToolConversation({llm!r}, tools=1, messages=0)",
            repr(RagPipeline(llm, ["a text"])): f"RagPipeline({llm!r}, chunks=1)",
            repr(RagPipeline(llm, retrieve=lambda question, k: [])): f"RagPipeline({llm!r}, retrieve=...)",
            repr(BatchInference(llm, "Say: ")): f"BatchInference({llm!r}, 'Say: ')",
        }
    assert repr(session) == f"ChatSession({llm!r}, turns=1)"
    stream.completion()
    assert repr(stream) == "CompletionStream(at its end)"
    answers.close()
    for said, wanted in shown.items():
        assert said == wanted
        assert len(said) < 90


def test_a_prefix_cache_is_shown_by_the_name_of_its_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "resolve", lambda *given, **more: GGUF)
    with LLM("smollm2-135m", max_context=64) as llm:
        assert repr(llm.prefix_cache) == "EnginePrefixCache('smollm2-135m')"


def test_many_adapters_are_shown_short(llm: LLM, monkeypatch: pytest.MonkeyPatch) -> None:
    known: Any = {f"adapter-{index}-{'x' * 100}": None for index in range(40)}
    monkeypatch.setattr(llm.adapters, "_known", known)
    assert repr(llm.adapters).endswith(", and 37 more)")
    assert "adapter-2-" in repr(llm.adapters)
    assert "adapter-3-" not in repr(llm.adapters)
    assert len(repr(llm.adapters)) < 150


def test_a_closed_model_is_still_shown() -> None:
    with LLM(GGUF, max_context=64) as llm:
        pass
    assert repr(llm) == "LLM('llama-gqa', F32, max_context=64)"


# -- pickles


def unpicklable(llm: LLM) -> list[tuple[Any, str]]:
    return [
        (llm, rf"pass the name of the model and load it there: LLM\('.*{GGUF.name}'\)"),
        (AsyncEngine(llm), "pass the name of the model, and open an engine there"),
        (ChatSession(llm), r"pass its `history`.*go on by llm\.chat\(\[\*history, "),
        (ToolConversation(llm, [TOOL]), r"pass its `messages`.*go on by llm\.chat\(\[\*messages, "),
        (RagPipeline(llm, ["a text"]), "the name of the model and the documents"),
        (BatchInference(llm, "Say: "), "the name of the model and the instruction"),
        (NativeBackend(), "load the model by its name"),
    ]


def test_a_pickle_says_what_to_do_instead(llm: LLM) -> None:
    for one, words in unpicklable(llm):
        for take in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match=words):
                take(one)


def test_a_conversation_goes_on_as_it_is_said(llm: LLM) -> None:
    session = ChatSession(llm)
    session.send("a", GREEDY)
    history = pickle.loads(pickle.dumps(session.history))
    asked: Any = {"role": "user", "content": "b"}
    assert llm.chat([*history, asked], GREEDY).prompt == session.send("b", GREEDY).prompt


def test_answers_go_into_pickles(llm: LLM) -> None:
    completion = llm.generate(PROMPT, GREEDY, logprobs=1, stop="no such text")
    assert pickle.loads(pickle.dumps(completion)) == completion
