"""Questions with choices: against the losses of whole texts, and what a file of them may say."""

import json
from pathlib import Path

import numpy as np
import pytest

import ruvllm
from ruvllm import LLM
from ruvllm.errors import ConfigError, IoError
from ruvllm.evaluating import ChoiceQuestion, read_questions
from ruvllm.evaluating.choices import MAX_LINE_BYTES

QUESTIONS = [
    ChoiceQuestion(
        question="What is done with the licence?", choices=("It is copied.", "It is sold", "No"), answer=1
    ),
    ChoiceQuestion(
        question="You may copy ", choices=("and distribute", "verbatim copies of this text"), answer=0
    ),
    ChoiceQuestion(question="a", choices=("b", "bb", "bbb", "bbbb"), answer=3),
]


def plain_choice(llm: LLM, asked: ChoiceQuestion, *, by_length: bool) -> int:
    """The likeliest by the losses of the whole texts: what all have in common cancels out."""
    values = []
    for choice in asked.choices:
        text = asked.question + ("" if asked.question.endswith(" ") else " ") + choice
        tokens = llm.tokenize(text, parse_special=False)
        before = llm.tokenize(asked.question, parse_special=False)
        same = next(
            (at for at, pair in enumerate(zip(tokens, before, strict=False)) if pair[0] != pair[1]),
            len(before),
        )
        logits = llm.logits(tokens).astype(np.float64)
        logprobs = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
        value = sum(logprobs[place - 1, tokens[place]] for place in range(max(1, same), len(tokens)))
        values.append(value / len(choice) if by_length else value)
    return int(np.argmax(values))


def test_it_is_what_the_logits_say(tiny_gguf: LLM) -> None:
    heard: list[tuple[int, int]] = []
    found = ruvllm.evaluate(tiny_gguf, choices=QUESTIONS, progress=lambda *at: heard.append(at)).choices
    assert found is not None
    for place, asked in enumerate(QUESTIONS):
        assert found.right[place] == (plain_choice(tiny_gguf, asked, by_length=False) == asked.answer)
        assert found.right_by_length[place] == (
            plain_choice(tiny_gguf, asked, by_length=True) == asked.answer
        )
    # Each question once with each answer: exactly one of them is right.
    for asked in QUESTIONS:
        each = [
            ChoiceQuestion(question=asked.question, choices=asked.choices, answer=place)
            for place in range(len(asked.choices))
        ]
        answered = ruvllm.evaluate(tiny_gguf, choices=each).choices
        assert answered is not None
        assert answered.right.sum() == answered.right_by_length.sum() == 1
    assert heard == [(1, 3), (2, 3), (3, 3)]


def test_accuracy_has_its_error(tiny_gguf: LLM) -> None:
    asked = QUESTIONS[0]
    likeliest = plain_choice(tiny_gguf, asked, by_length=False)
    answers = [likeliest, likeliest, likeliest, (likeliest + 1) % 3]
    questions = [
        ChoiceQuestion(question=asked.question, choices=asked.choices, answer=one) for one in answers
    ]
    found = ruvllm.evaluate(tiny_gguf, choices=questions).choices
    assert found is not None
    assert found.accuracy.value == 0.75
    assert found.accuracy.standard_error == pytest.approx(np.sqrt(0.75 * 0.25 / 3))


@pytest.mark.real_model
def test_a_real_model_knows_more_than_chance(smollm2: LLM) -> None:
    known = [
        ("The capital of France is", ("Paris", "Berlin", "Madrid", "Rome")),
        ("Water freezes at zero degrees", ("Celsius", "France", "apples", "Monday")),
        ("The opposite of hot is", ("cold", "green", "seven", "table")),
        ("Two plus two equals", ("four", "nine", "a dog", "yesterday")),
        ("The sun rises in the", ("east", "fridge", "bottle", "carpet")),
    ]
    questions = [ChoiceQuestion(question=asked, choices=choices, answer=0) for asked, choices in known]
    found = ruvllm.evaluate(smollm2, choices=questions).choices
    assert found is not None
    assert found.accuracy.value >= 0.8


def test_what_a_line_may_say() -> None:
    row = {"question": "q", "choices": ["x", "B", "A"], "answer": 0}
    assert ChoiceQuestion.of(row).answer == 0
    # A choice's own text stands above a letter.
    assert ChoiceQuestion.of({**row, "answer": "A"}).answer == 2
    assert ChoiceQuestion.of({**row, "choices": ["x", "y", "z"], "answer": "B"}).answer == 1
    both = ChoiceQuestion.of({"context": "first", **row})
    assert both.question == "first\nq"
    assert both.text("x") == "first\nq x"
    assert ChoiceQuestion(question="q\n", choices=("a", "b"), answer=0).text("a") == "q\na"


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ([], "must be an object"),
        ({"choices": ["a", "b"], "answer": 0}, "question .* must be a text"),
        ({"question": 1, "choices": ["a", "b"], "answer": 0}, "question .* must be a text"),
        ({"question": "", "choices": ["a", "b"], "answer": 0}, "question is empty"),
        ({"question": "q", "choices": "ab", "answer": "a"}, "list of texts"),
        ({"question": "q", "choices": ["a"], "answer": 0}, "two texts or more"),
        ({"question": "q", "choices": ["a", ""], "answer": 0}, "none of them empty"),
        ({"question": "q", "choices": ["a", "b"], "answer": 2}, "answer is 2; it must be from 0 to 1"),
        ({"question": "q", "choices": ["a", "b"], "answer": "C"}, "its letter from A"),
        ({"question": "q", "choices": ["a", "b"], "answer": "AB"}, "its letter from A"),
        ({"question": "q", "choices": ["a", "b"], "answer": True}, "answer is True"),
        ({"question": "q", "choices": ["a", "b"]}, "answer is None"),
    ],
)
def test_what_a_line_may_not_say(tmp_path: Path, row: object, said: str) -> None:
    good = {"question": "q", "choices": ["a", "b"], "answer": 0}
    path = tmp_path / "questions.jsonl"
    path.write_text(f"{json.dumps(good)}\n\n{json.dumps(row)}\n")
    with pytest.raises(ConfigError, match=f"line 3: .*({said})"):
        read_questions(path)


def test_what_a_file_may_not_be(tmp_path: Path) -> None:
    path = tmp_path / "questions.jsonl"
    with pytest.raises(IoError, match=r"questions\.jsonl"):
        read_questions(path)
    with pytest.raises(IoError, match="folder"):
        read_questions(tmp_path)
    path.write_text("\n \n")
    with pytest.raises(ConfigError, match="has no question"):
        read_questions(path)
    path.write_text("{")
    with pytest.raises(ConfigError, match="line 1 is no JSON"):
        read_questions(path)
    path.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="line 1 is no JSON"):
        read_questions(path)
    path.write_text("[" * (MAX_LINE_BYTES + 1))
    with pytest.raises(ConfigError, match="line 1 is longer"):
        read_questions(path)
    path.write_bytes(b'\xef\xbb\xbf{"question": "q", "choices": ["a", "b"], "answer": 1}')
    assert read_questions(path)[0].answer == 1


def test_a_question_that_is_too_long_is_named(tiny_gguf: LLM) -> None:
    long = ChoiceQuestion(question="word " * 2000, choices=("a", "b"), answer=0)
    with pytest.raises(ConfigError, match="question 2: "):
        ruvllm.evaluate(tiny_gguf, choices=[QUESTIONS[0], long])
