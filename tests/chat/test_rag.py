"""Questions about documents: what is found, in which order it stands, and what is computed again."""

from dataclasses import replace
from typing import Any

import pytest

from ruvllm import LLM, ConfigError, ContextLengthError, GenerateParams, InvalidOperationError, RagPipeline
from ruvllm.chat.rag import DEFAULT_PARAMS
from tests.support.by_hand import likeliest_tokens

GREEDY = GenerateParams(temperature=0.0, repetition_penalty=1.0, max_tokens=6, ignore_eos=True)
DOCUMENTS = [
    "Paris is the capital of France. It lies on the Seine.",
    "Rome is the capital of Italy. It lies on the Tiber.",
    "Madrid is the capital of Spain. It lies on the Manzanares.",
]


def test_the_prompt_is_the_documented_one(tiny: LLM) -> None:
    pipeline = RagPipeline(tiny, DOCUMENTS, top_k=2, params=GREEDY)
    answer = pipeline.query("Does Rome lie on the Tiber?")
    context = f"Context:\n{DOCUMENTS[0]}\n\n{DOCUMENTS[1]}"
    expected = f"{context}\n\nQuestion: Does Rome lie on the Tiber?\n\nAnswer:"
    assert answer.chunks == (DOCUMENTS[0], DOCUMENTS[1])
    assert answer.completion.token_ids == tiny.generate(expected, GREEDY).token_ids
    assert answer.text == answer.completion.text.strip()


def test_chunks_stand_in_the_order_of_the_documents(tiny: LLM) -> None:
    pipeline = RagPipeline(tiny, DOCUMENTS, params=GREEDY)
    by_score = RagPipeline(tiny, DOCUMENTS, order="score", params=GREEDY)
    for question in ("the capital on the Tiber", "the capital on the Manzanares"):
        assert pipeline.retrieve(question) == tuple(DOCUMENTS)
    assert by_score.retrieve("the capital on the Tiber")[0] == DOCUMENTS[1]
    assert by_score.retrieve("the capital on the Manzanares")[0] == DOCUMENTS[2]


def test_the_context_is_reused_while_the_chunks_are_the_same(tiny: LLM) -> None:
    pipeline = RagPipeline(tiny, DOCUMENTS, params=GREEDY)
    context = len(tiny.tokenize(pipeline.prompt("", DOCUMENTS).rpartition("\n\nQuestion:")[0]))
    assert pipeline.query("the capital on the Tiber").completion.usage.cached_tokens == 0
    again = pipeline.query("Which capital is on the Manzanares?").completion.usage
    assert again.cached_tokens >= context - 2
    # In another order the same chunks are other keys and values.
    by_score = RagPipeline(tiny, DOCUMENTS, order="score", params=GREEDY)
    usage = by_score.query("the capital on the Manzanares").completion.usage
    assert usage.cached_tokens < context // 3


@pytest.mark.parametrize("which", ["tiny", "real"])
@pytest.mark.real_model
def test_cached_is_uncached(which: str, request: pytest.FixtureRequest) -> None:
    llm: LLM = request.getfixturevalue(which)
    pipeline = RagPipeline(llm, DOCUMENTS, params=GREEDY)
    pipeline.warm(DOCUMENTS)
    for question in ("the capital on the Tiber", "the capital on the Seine"):
        cached = pipeline.query(question).completion
        uncached = pipeline.query(question, replace(GREEDY, cache_prefix=False)).completion
        assert cached.token_ids == uncached.token_ids
        assert cached.usage.cached_tokens > uncached.usage.cached_tokens == 0


@pytest.mark.parametrize("chat", [False, True])
def test_warm(tiny: LLM, chat: bool) -> None:
    pipeline = RagPipeline(tiny, DOCUMENTS, chat=chat, params=GREEDY)
    usage = pipeline.warm(pipeline.retrieve("the capital"))
    assert (usage.cached_tokens, usage.completion_tokens) == (0, 1)
    found = pipeline.query("Which capital is on the Tiber?").completion.usage
    # The token at the border may be another one with the question behind it.
    assert found.cached_tokens >= len(tiny.tokenize("\n\n".join(DOCUMENTS))) - 2


def test_warm_where_answers_have_a_least_length(tiny: LLM) -> None:
    pipeline = RagPipeline(tiny, DOCUMENTS, params=replace(GREEDY, max_tokens=8, min_tokens=4))
    assert pipeline.warm(DOCUMENTS).completion_tokens == 1


def test_a_chat_message(tiny: LLM) -> None:
    pipeline = RagPipeline(tiny, DOCUMENTS, chat=True, params=GREEDY)
    answer = pipeline.query("the capital")
    message = RagPipeline(tiny, DOCUMENTS, params=GREEDY).prompt("the capital", answer.chunks)
    assert answer.completion.token_ids == tiny.chat(message, GREEDY).token_ids


def test_a_function_that_finds(tiny: LLM) -> None:
    calls: list[tuple[str, int]] = []

    def retrieve(question: str, count: int) -> list[str]:
        calls.append((question, count))
        return ["b", "c", "b", "a", "too many"]

    pipeline = RagPipeline(tiny, retrieve=retrieve, top_k=4, params=GREEDY)
    assert pipeline.query("why?").chunks == ("a", "b", "c")
    assert calls == [("why?", 4)]
    assert RagPipeline(tiny, retrieve=retrieve, top_k=4, order="score").retrieve("why?") == ("b", "c", "a")
    with pytest.raises(InvalidOperationError, match="come from a function"):
        pipeline.add_document("x")


def test_documents_are_cut_up_and_added(tiny: LLM) -> None:
    pipeline = RagPipeline(tiny, chunk_tokens=24, top_k=1, params=GREEDY)
    assert pipeline.retrieve("the capital") == ()
    assert pipeline.add_document(" ".join(DOCUMENTS)) > 2
    (chunk,) = pipeline.retrieve("Tiber")
    assert "Tiber" in chunk
    assert len(tiny.tokenize(chunk, add_bos=False)) <= 24
    assert pipeline.query("Tiber").chunks == (chunk,)
    assert pipeline.query("nothing there").chunks == ()


def test_chunks_that_do_not_fit_are_left_out(tiny: LLM) -> None:
    texts = [f"{name} " + "license " * 25 for name in ("best", "good", "fair")]
    pipeline = RagPipeline(tiny, retrieve=lambda question, count: texts, params=GREEDY)
    assert len(tiny.tokenize(pipeline.prompt("why?", texts))) > 256 - 6
    answer = pipeline.query("why?")
    assert answer.chunks == tuple(sorted(texts[: len(answer.chunks)]))
    assert 0 < len(answer.chunks) < 3
    assert answer.completion.usage.prompt_tokens <= 256 - 6
    with pytest.raises(ContextLengthError):
        pipeline.query("license " * 300)


def test_a_stream_is_the_answer(tiny: LLM) -> None:
    pipeline = RagPipeline(tiny, DOCUMENTS, params=GREEDY)
    whole = pipeline.query("Tiber")
    prompt = tiny.tokenize(pipeline.prompt("Tiber", whole.chunks))
    assert whole.completion.token_ids == likeliest_tokens(tiny, prompt, GREEDY.max_tokens)
    with pipeline.stream("Tiber") as stream:
        assert stream.chunks == whole.chunks
        assert "".join(chunk.text for chunk in stream) == whole.completion.text
    stream = pipeline.stream("Tiber", replace(GREEDY, max_tokens=100))
    next(stream)
    stream.close()
    assert list(stream) == []


@pytest.mark.real_model
def test_an_answer_ends_before_the_next_question(real: LLM) -> None:
    """A document of questions and answers, which the model would go on with for ever."""
    capitals = {"Spain": "Madrid", "Austria": "Vienna", "Italy": "Rome"}
    pairs = [f"Question: What is the capital of {land}?\n\nAnswer: {city}" for land, city in capitals.items()]
    pipeline = RagPipeline(real, ["\n\n".join(pairs)])
    question = "What is the capital of Italy?"
    answer = pipeline.query(question)
    assert (answer.text, answer.completion.finish_reason) == ("Rome", "stop")
    endless = replace(DEFAULT_PARAMS, stop_sequences=(), max_tokens=30)
    assert pipeline.query(question, endless).text.startswith("Rome\n\nQuestion: ")


def test_an_answer_is_the_likeliest(tiny: LLM) -> None:
    pipeline = RagPipeline(tiny, DOCUMENTS[:1])
    answer = pipeline.query("Where does Paris lie?").completion.token_ids
    assert len(answer) > 20
    prompt = tiny.tokenize(pipeline.prompt("Where does Paris lie?", DOCUMENTS[:1]))
    assert answer == likeliest_tokens(tiny, prompt, len(answer))


@pytest.mark.parametrize(("max_tokens", "room"), [(40, 40), (1000, 64)])
def test_the_context_leaves_room_for_the_answer(tiny: LLM, max_tokens: int, room: int) -> None:
    """Short chunks fill the context to its end but for the answer, or a quarter where it may be longer."""
    texts = [f"{number}" for number in range(200)]
    pipeline = RagPipeline(tiny, retrieve=lambda question, count: texts, top_k=200)
    usage = pipeline.query("why?", replace(GREEDY, max_tokens=max_tokens)).completion.usage
    assert 256 - room - 10 <= usage.prompt_tokens <= 256 - room
    assert usage.completion_tokens == min(max_tokens, 256 - usage.prompt_tokens)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"documents": ["a"], "retrieve": lambda question, count: []}, "both given"),
        ({"documents": "a text"}, "documents is one text"),
        ({"documents": [5]}, "text is 5"),
        ({"top_k": 0}, "top_k is 0"),
        ({"chunk_tokens": 0}, "chunk_tokens is 0"),
        ({"order": "random"}, "order is 'random'"),
    ],
)
def test_arguments_that_are_refused(tiny: LLM, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        RagPipeline(tiny, **arguments)
