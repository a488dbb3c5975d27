"""BM25 against its formula, and the cutting of texts."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ruvllm import ConfigError
from ruvllm.chat import Bm25Index, split_text

DOCUMENTS = [
    "The cat sat on the mat.",
    "The dog chased the cat, and the cat ran.",
    "Birds sing in the morning.",
    "Ein Hund bellt; ein Vogel singt.",
    "日本語の文書です",
]


def index_of(texts: list[str]) -> Bm25Index:
    index = Bm25Index()
    for text in texts:
        index.add(text)
    return index


def words(text: str) -> int:
    return len(text.split())


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("cat", [1, 0]),
        ("CAT?", [1, 0]),
        ("birds", [2]),
        ("Vogel Hund", [3]),
        ("the dog", [1, 0, 2]),
        ("日本", [4]),
        ("nothing of it", []),
        ("", []),
    ],
)
def test_search(query: str, expected: list[int]) -> None:
    assert index_of(DOCUMENTS).search(query, 10)[: len(expected)] == expected
    assert bool(index_of(DOCUMENTS).search(query, 10)) == bool(expected)


def test_count_bounds_the_results() -> None:
    index = index_of(DOCUMENTS)
    assert index.search("the", 2) == index.search("the", 10)[:2]
    with pytest.raises(ConfigError, match="count is 0"):
        index.search("the", 0)
    assert Bm25Index().search("the", 3) == []


def test_the_order_is_that_of_the_formula() -> None:
    texts = ["a a a b", "a b c d e f g h", "b b", "a c", "c d"]
    query = ["a", "b"]
    split = [text.split() for text in texts]
    mean = sum(map(len, split)) / len(split)

    def score(document: list[str]) -> float:
        total = 0.0
        for word in query:
            having = sum(word in other for other in split)
            rarity = math.log(1 + (len(split) - having + 0.5) / (having + 0.5))
            times = document.count(word)
            total += rarity * times * 2.5 / (times + 1.5 * (0.25 + 0.75 * len(document) / mean))
        return total

    scores = [score(document) for document in split]
    expected = sorted((i for i in range(len(texts)) if scores[i] > 0), key=lambda i: -scores[i])
    assert index_of(texts).search("a b", 10) == expected
    assert len(set(scores)) == len(scores)


def test_cuts_between_paragraphs_first() -> None:
    text = "One two. Three.\n\nFour five six. Seven."
    assert split_text(text, words, 4) == ["One two. Three.", "Four five six. Seven."]
    assert split_text(text, words, 100) == [text]
    assert split_text(text, words, 3) == ["One two. Three.", "Four five six.", "Seven."]
    assert split_text(" \n ", words, 3) == []
    with pytest.raises(ConfigError, match="chunk_tokens is 0"):
        split_text("a", words, 0)


@given(st.text(alphabet="ab .!?\n日。", max_size=200), st.integers(1, 20))
def test_nothing_is_lost_and_nothing_is_too_long(text: str, limit: int) -> None:
    chunks = split_text(text, len, limit)
    assert "".join("".join(chunks).split()) == "".join(text.split())
    assert all(len(chunk.strip()) > 0 for chunk in chunks)
    # White space between two pieces of one chunk belongs to neither count.
    assert all(len("".join(chunk.split())) <= limit for chunk in chunks)
