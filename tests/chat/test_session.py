"""Conversations: what the history has, what each turn computes, and what happens at the context's end."""

import threading
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from ruvllm import (
    LLM,
    ChatSession,
    ContextLengthError,
    GenerateParams,
    GenerationError,
    SessionError,
    TokenizationError,
)
from ruvllm.chat import transcript
from ruvllm.chat.session import ChatStream
from ruvllm.chat.transcript import Piece, Turn
from ruvllm.text.marks import Rendered
from tests.chat.conftest import TEMPLATE, with_template
from tests.conftest import FIXTURES
from tests.support.by_hand import likeliest_tokens

GREEDY = GenerateParams(temperature=0.0, repetition_penalty=1.0, max_tokens=12, ignore_eos=True)
QUESTIONS = ["the copyright of", "you may  not", "naïve 日本語 🙂", "license"]


def prompts_of(llm: LLM, monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """The prompts that a model is sent from here on."""
    prompts: list[list[int]] = []
    stream = llm.stream

    def listening(prompt, params=None, **rest):
        prompts.append(list(prompt))
        return stream(prompt, params, **rest)

    monkeypatch.setattr(llm, "stream", listening)
    return prompts


# -- what was said


@pytest.mark.parametrize("is_made", [False, True])
def test_ctrl_c_while_an_answer_begins_lets_go_of_the_session(
    tiny: LLM, monkeypatch: pytest.MonkeyPatch, is_made: bool
) -> None:
    """Also just behind its making: when that one is cleared away, it does not free another's session."""
    session = ChatSession(tiny, params=GREEDY)
    made = []

    def interrupted(*given, **more):
        if is_made:
            made.append(ChatStream(*given, **more))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("ruvllm.chat.session.ChatStream", interrupted)
        with pytest.raises(KeyboardInterrupt):
            session.stream("the terms")
    with session.stream("the terms") as stream:
        for one in made:
            one.close()
        with pytest.raises(SessionError):
            session.undo()
        assert len(list(stream)) > 1
    assert len(session.history) == 2


def test_history(tiny: LLM) -> None:
    session = ChatSession(tiny, "Be brief.", params=GREEDY)
    assert session.history == [{"role": "system", "content": "Be brief."}]
    answer = session.send("the terms")
    assert session.history[1:] == [
        {"role": "user", "content": "the terms"},
        {"role": "assistant", "content": answer.text},
    ]
    assert len(answer.token_ids) == 12
    assert len(session.send("of", replace(GREEDY, max_tokens=3)).token_ids) == 3
    assert len(session.history) == 5


def test_a_turn_is_asked_as_chat_would(tiny: LLM) -> None:
    session = ChatSession(tiny, "Be brief.", params=GREEDY)
    first = session.send("the terms")
    assert first.token_ids == tiny.chat(session.history[:2], GREEDY).token_ids
    second = session.send("of this")
    assert second.usage.prompt_tokens > first.usage.total_tokens


def test_reset_keeps_the_system_prompt(tiny: LLM) -> None:
    session = ChatSession(tiny, "Be brief.", params=GREEDY)
    answer = session.send("the terms")
    session.reset()
    assert session.history == [{"role": "system", "content": "Be brief."}]
    assert session.send("the terms").token_ids == answer.token_ids


def test_usage_adds_up(tiny: LLM) -> None:
    session = ChatSession(tiny, params=GREEDY)
    answers = [session.send(question) for question in QUESTIONS]
    for name in ("prompt_tokens", "completion_tokens", "cached_tokens", "total_tokens"):
        assert getattr(session.usage, name) == sum(getattr(one.usage, name) for one in answers)
    assert session.usage.cached_tokens > 0
    session.reset()
    assert session.usage.completion_tokens == 48


def test_undo(tiny: LLM) -> None:
    session = ChatSession(tiny, params=GREEDY)
    with pytest.raises(SessionError, match="no turn"):
        session.undo()
    session.send("the terms")
    before = session.history
    again = session.send("of this")
    assert session.undo() == "of this"
    assert session.history == before
    repeated = session.send("of this")
    assert repeated.token_ids == again.token_ids
    assert repeated.usage.cached_tokens == repeated.usage.prompt_tokens - 1


def test_what_was_said_elsewhere_goes_on(tiny: LLM) -> None:
    session = ChatSession(tiny, "Be brief.", params=GREEDY)
    for question in QUESTIONS[:2]:
        session.send(question)
    history = session.history
    other = ChatSession(tiny, "Be long.", params=GREEDY)
    other.send("of this")
    other.restore(history)
    assert other.history == history
    assert (
        other.send("license").prompt
        == tiny.chat([*history, {"role": "user", "content": "license"}], GREEDY).prompt
    )
    # Its turns are as good as any: the next one computes what is new.
    before = other.send("of").usage
    assert other.send("the").usage.cached_tokens >= before.total_tokens - 1
    other.restore([])
    assert (other.history, other.system_prompt) == ([], None)


@pytest.mark.parametrize(
    ("history", "error", "words"),
    [
        ([{"role": "user", "content": "a"}], SessionError, "these are of user"),
        ([{"role": "assistant", "content": "a"}, {"role": "user", "content": "b"}], SessionError, "by turns"),
        (
            [{"role": "user", "content": "a"}, {"role": "system", "content": "b"}],
            SessionError,
            "user, system",
        ),
        ([{"role": "user"}], TokenizationError, r"messages\[0\]"),
        (["a"], TokenizationError, r"messages\[0\] is a str"),
    ],
)
def test_what_is_no_history_is_refused(tiny: LLM, history, error, words) -> None:
    session = ChatSession(tiny, "Be brief.", params=GREEDY)
    with pytest.raises(error, match=words):
        session.restore(history)
    assert session.history == [{"role": "system", "content": "Be brief."}]


def test_a_system_prompt_may_change(tiny: LLM, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = prompts_of(tiny, monkeypatch)
    session = ChatSession(tiny, "Be brief.", params=GREEDY)
    session.send("the terms")
    session.system_prompt = "Be long."
    session.send("of this")
    assert "Be long." in tiny.detokenize(prompts[1])
    assert "Be brief." not in tiny.detokenize(prompts[1])


# -- what is computed


@pytest.mark.parametrize("which", ["tiny", "real"])
@pytest.mark.real_model
def test_a_turn_computes_only_what_is_new(which: str, request: pytest.FixtureRequest) -> None:
    llm: LLM = request.getfixturevalue(which)
    session = ChatSession(llm, "Answer in one short sentence.", params=replace(GREEDY, ignore_eos=False))
    before = session.send("What is the capital of France?").usage
    for question in QUESTIONS:
        usage = session.send(question).usage
        # The last token that was made had not gone through the model yet.
        assert usage.cached_tokens >= before.total_tokens - 1
        before = usage


def test_a_prompt_begins_with_the_tokens_that_were_made(tiny: LLM, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = prompts_of(tiny, monkeypatch)
    params = replace(GREEDY, temperature=2.0, top_p=1.0, seed=3)
    session = ChatSession(tiny, params=params)
    rewritten = False
    for question in QUESTIONS:
        answer = session.send(question)
        # Random tokens are rarely those that a tokenizer makes of their text.
        rewritten |= tiny.tokenize(answer.text, add_bos=False) != list(answer.token_ids)
        known = [*prompts[-1], *answer.token_ids]
        session.send("and")
        shown = transcript.answer_piece(tiny.tokenizer, answer.text, answer.token_ids)
        kept = len(known) - len(answer.token_ids) + len(shown.tokens)
        anew = tiny.chat_tokens(session.history[:-1])
        if tiny.detokenize(prompts[-1]) == tiny.detokenize(anew):
            assert prompts[-1][:kept] == known[:kept]
    assert rewritten


@pytest.mark.parametrize("which", ["tiny", "real"])
@pytest.mark.real_model
def test_cached_is_uncached(which: str, request: pytest.FixtureRequest) -> None:
    llm: LLM = request.getfixturevalue(which)
    cached = ChatSession(llm, "Be brief.", params=GREEDY)
    uncached = ChatSession(llm, "Be brief.", params=replace(GREEDY, cache_prefix=False))
    for question in QUESTIONS:
        one, other = cached.send(question), uncached.send(question)
        assert one.token_ids == other.token_ids
        assert other.usage.cached_tokens == 0
    assert cached.usage.cached_tokens > 0


def test_a_fork_shares_what_is_computed_and_goes_its_own_way(tiny: LLM) -> None:
    session = ChatSession(tiny, "Be brief.", params=GREEDY)
    before = session.send("the terms").usage
    fork = session.fork()
    assert fork.history == session.history
    assert fork.usage.total_tokens == 0
    assert fork.send("of this license").usage.cached_tokens >= before.total_tokens - 1
    assert session.send("and you").usage.cached_tokens >= before.total_tokens - 1
    assert [len(one.history) for one in (session, fork)] == [5, 5]
    assert session.history != fork.history


def test_tenants_share_nothing(tiny: LLM) -> None:
    question = "the terms of this license and of the copyright"
    ChatSession(tiny, params=GREEDY, tenant="a").send(question)
    assert ChatSession(tiny, params=GREEDY, tenant="b").send(question).usage.cached_tokens == 0
    assert ChatSession(tiny, params=GREEDY, tenant="a").send(question).usage.cached_tokens > 0


def test_a_template_that_trims_is_rendered_anew(tiny: LLM, monkeypatch: pytest.MonkeyPatch) -> None:
    with_template(tiny, TEMPLATE.replace("m.content", "m.content | trim"))
    prompts = prompts_of(tiny, monkeypatch)
    session = ChatSession(tiny, params=GREEDY)
    session.send("the terms", replace(GREEDY, logit_bias={tiny.tokenize(" ", add_bos=False)[0]: 100.0}))
    assert session.history[-1]["content"].endswith(" ")
    session.send("of this")
    messages = [*session.history[:-2], {"role": "user", "content": "of this"}]
    assert prompts[-1] == tiny.chat_tokens(messages)


def test_a_stop_sequence_is_not_in_the_next_prompt(tiny: LLM, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = tiny.chat("the terms", GREEDY).text
    prompts = prompts_of(tiny, monkeypatch)
    session = ChatSession(tiny, params=replace(GREEDY, stop_sequences=(whole[4:7],)))
    answer = session.send("the terms")
    assert len(answer.text) < len(tiny.detokenize(answer.token_ids))
    session.send("of this")
    expected = tiny.chat_tokens([*session.history[:-2], {"role": "user", "content": "of this"}])
    assert tiny.detokenize(prompts[-1]) == tiny.detokenize(expected)


# -- streams


def test_a_stream_is_the_answer(tiny: LLM) -> None:
    session = ChatSession(tiny, params=GREEDY)
    with session.stream("the terms") as stream:
        text = "".join(chunk.text for chunk in stream)
    whole = ChatSession(tiny, params=GREEDY).send("the terms")
    assert text == whole.text
    asked = tiny.chat_tokens([{"role": "user", "content": "the terms"}])
    assert whole.token_ids == likeliest_tokens(tiny, asked, GREEDY.max_tokens)
    assert session.history[-1] == {"role": "assistant", "content": text}
    assert list(stream) == []


def test_a_stream_closed_early_leaves_what_there_was(tiny: LLM) -> None:
    session = ChatSession(tiny, params=replace(GREEDY, max_tokens=200))
    stream = session.stream("the terms")
    text = "".join(next(stream).text for _ in range(8))
    assert text
    stream.close()
    stream.close()
    assert session.history[-1] == {"role": "assistant", "content": text}
    assert session.usage.completion_tokens == 8
    usage = session.send("of this", GREEDY).usage
    assert usage.cached_tokens >= session.usage.prompt_tokens - usage.prompt_tokens


def test_a_forgotten_stream_ends(tiny: LLM) -> None:
    session = ChatSession(tiny, params=GREEDY)
    for chunk in session.stream("the terms"):
        if chunk.text:
            break
    assert len(session.history) == 2
    session.send("of this")


def test_nothing_made_is_nothing_said(tiny: LLM) -> None:
    session = ChatSession(tiny, params=GREEDY)
    session.stream("the terms").close()
    assert session.history == []
    session.send("of this")


def test_an_empty_answer_is_an_answer(tiny: LLM) -> None:
    end = tiny.tokenizer.eos_token
    session = ChatSession(tiny, params=GenerateParams(temperature=0.0, logit_bias={end: 100.0}))
    session.send("the terms")
    assert session.history[-1] == {"role": "assistant", "content": ""}
    session.send("of this", GREEDY)


def test_one_answer_at_a_time(tiny: LLM) -> None:
    session = ChatSession(tiny, params=GREEDY)
    with session.stream("the terms"):
        calls = [session.fork, session.reset, session.undo, lambda: session.send("of")]
        for call in calls:
            with pytest.raises(SessionError, match="an answer is being made"):
                call()
    assert session.send("of").text


def test_sessions_run_beside_each_other(tiny: LLM) -> None:
    def talk(name: str) -> list[str]:
        session = ChatSession(tiny, name, params=GREEDY)
        return [session.send(question).text for question in QUESTIONS[:3]]

    names = ["the terms", "copyright", "you may", "a copy of"]
    alone = [talk(name) for name in names]
    found: dict[str, list[str]] = {}
    threads = [threading.Thread(target=lambda name=name: found.update({name: talk(name)})) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[name] for name in names] == alone


def test_a_failure_takes_the_question_back(tiny: LLM, monkeypatch: pytest.MonkeyPatch) -> None:
    session = ChatSession(tiny, params=GREEDY)
    stream = session.stream("the terms")
    next(stream)

    def fails(_: object) -> None:
        raise GenerationError("broken")

    with monkeypatch.context() as patch:
        patch.setattr(type(stream._chunks), "__next__", fails)
        with pytest.raises(GenerationError):
            next(stream)
    assert session.history == []
    session.send("the terms")


def test_ctrl_c_keeps_what_there_was(tiny: LLM, monkeypatch: pytest.MonkeyPatch) -> None:
    session = ChatSession(tiny, params=GREEDY)
    stream = session.stream("the terms")
    text = "".join(next(stream).text for _ in range(6))

    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(type(stream._chunks), "__next__", interrupted)
        with pytest.raises(KeyboardInterrupt):
            next(stream)
    assert session.history[-1]["content"] == text


# -- the context's end


def test_the_oldest_turns_go_and_the_system_prompt_stays(tiny: LLM, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = prompts_of(tiny, monkeypatch)
    session = ChatSession(tiny, "SYSTEM", params=GREEDY)
    dropped = []
    for index in range(16):
        session.send(f"question {index} ")
        dropped.append(session.dropped_turns)
        shown = tiny.detokenize(prompts[-1])
        assert "SYSTEM" in shown
        assert f"question {index} " in shown
        assert f"question {session.dropped_turns} " in shown
        assert f"question {session.dropped_turns - 1} " not in shown
        assert len(prompts[-1]) + GREEDY.max_tokens <= 256
    assert dropped[0] == 0 < dropped[-1]
    assert dropped == sorted(dropped)
    # More than one goes at a time, so that the turns between find their beginning in the cache.
    assert 2 * sum(one != other for one, other in pairwise(dropped)) <= dropped[-1]
    assert len(session.history) == 1 + 2 * 16
    assert session.fork().dropped_turns == session.dropped_turns
    session.reset()
    assert session.dropped_turns == 0


def test_turns_after_dropping_use_the_cache_again(tiny: LLM) -> None:
    session = ChatSession(tiny, "SYSTEM", params=GREEDY)
    before, known = 0, 0
    for index in range(16):
        usage = session.send(f"question {index} ").usage
        if session.dropped_turns == before:
            assert usage.cached_tokens >= known - 1
        before, known = session.dropped_turns, usage.total_tokens
    assert before > 0


def test_a_message_that_does_not_fit_by_itself(tiny: LLM) -> None:
    session = ChatSession(tiny, "Be brief.", params=GREEDY)
    session.send("the terms")
    history = session.history
    with pytest.raises(ContextLengthError) as caught:
        session.send("license " * 300)
    assert caught.value.max_context == 256
    assert (session.history, session.dropped_turns) == (history, 0)
    session.send("of this")


# -- its parts


def test_tokens_that_say_something_else_are_not_used(tiny: LLM) -> None:
    tokenizer = tiny.tokenizer
    right = Piece("the terms", tuple(tokenizer.encode("the terms")))
    added = transcript.extend(tokenizer, right, Rendered("the terms of", {}))
    assert added is not None
    assert tokenizer.decode([*right.tokens, *added.tokens]).endswith("the terms of")
    wrong = Piece("the terms", tuple(tokenizer.encode("your terms")))
    assert transcript.extend(tokenizer, wrong, Rendered("the terms of", {})) is None
    assert transcript.extend(tokenizer, right, Rendered("other terms of", {})) is None
    assert transcript.extend(tokenizer, Piece(), "the terms") is None


def test_half_a_character_is_not_kept(tiny: LLM) -> None:
    tokens = tiny.tokenize("a🙂", add_bos=False, parse_special=False)
    assert len(tokens) > 2
    piece = transcript.answer_piece(tiny.tokenizer, "a", tokens[:-1])
    assert piece.text == "a"
    assert tiny.detokenize(piece.tokens) == "a"
    assert transcript.answer_piece(tiny.tokenizer, "x", tokens) == Piece()


def test_messages() -> None:
    turns = [Turn("a", "b")]
    assert [m["role"] for m in transcript.messages_of(None, turns, "c")] == ["user", "assistant", "user"]
    assert transcript.messages_of(None, []) == []
    emptied = transcript.messages_of("", [], "a")
    assert emptied == [{"role": "system", "content": ""}, {"role": "user", "content": "a"}]
    assert transcript.turns_of(emptied[:1]) == ("", [])


@pytest.mark.real_model
def test_a_saved_cache_warms_a_session(smollm2_path: Path, tmp_path: Path) -> None:
    with LLM(smollm2_path, max_context=2048) as llm:
        ChatSession(llm, "Answer in one short sentence.", params=GREEDY).send("Hello")
        assert llm.prefix_cache.save(tmp_path / "cache") > 0
    with LLM(smollm2_path, max_context=2048) as llm:
        llm.prefix_cache.load(tmp_path / "cache")
        usage = ChatSession(llm, "Answer in one short sentence.", params=GREEDY).send("Hello").usage
        assert usage.cached_tokens == usage.prompt_tokens - 1


def test_a_model_without_a_template() -> None:
    from ruvllm import TokenizationError

    with (
        LLM(FIXTURES / "gguf" / "llama-gqa.gguf") as llm,
        pytest.raises(TokenizationError, match="no chat template"),
    ):
        ChatSession(llm).send("Hi")
