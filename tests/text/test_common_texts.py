"""Texts that begin alike are tokenized as if each stood alone, whatever stands where they part."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ruvllm import LLM
from ruvllm.text.common_texts import encode_each
from ruvllm.text.marks import Rendered
from ruvllm.text.tokenizer import Tokenizer, encode_rendered

# What tokenizers cut by: blanks, ends of lines, numbers, marks of writing, several alphabets, a spelled mark.
PART = st.sampled_from([
    " ", "  ", "\n", "\n\n", "\r\n", "\t", "\u00a0", "\u3000", "\u2581", "\0", "a", "Q", "Question", "'s",
    "12", "1234", ".", "?!", "<|im_end|>", "<end_of_turn>", "</s>", "e\u0301", "\u0301", "ß", "日本", "🤖",
])  # fmt: skip
TEXT = st.lists(PART, max_size=12).map("".join)
MARKS = {"\U000f0000": "<|im_start|>", "\U000f0001": "<|im_end|>"}


def rendered(beginning: str, end: str) -> Rendered:
    """As a chat template makes it."""
    return Rendered(f"\U000f0000user\n{beginning}{end}\U000f0001\n\U000f0000assistant\n", MARKS)


@pytest.fixture(scope="module", params=["smollm2", "gemma3"])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    """One that cuts words and merges within them, and one that merges whatever is beside each other."""
    found = request.getfixturevalue(request.param).tokenizer
    assert found.cuts_lines
    return found  # type: ignore[no-any-return]


@settings(max_examples=300, deadline=None)
@given(beginning=TEXT, ends=st.lists(TEXT, min_size=2, max_size=4), asked=st.booleans())
@example(beginning="word ", ends=["", " "], asked=True)
@example(beginning="", ends=["a", "a"], asked=False)
def test_the_tokens_are_those_of_whole_texts(
    tokenizer: Tokenizer, beginning: str, ends: list[str], asked: bool
) -> None:
    between = "\n\nQuestion: " if asked else ""
    texts = [rendered(beginning + between, end) for end in ends]
    assert encode_each(tokenizer, texts) == [encode_rendered(tokenizer, text) for text in texts]


class Counting:
    """A tokenizer that counts what it is given."""

    def __init__(self, tokenizer: Tokenizer, *, cuts_lines: bool = True) -> None:
        self.tokenizer = tokenizer
        self.cuts_lines = cuts_lines
        self.characters = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.tokenizer, name)

    def encode_pieces(self, pieces: Sequence[str], *, add_bos: bool | None = None) -> list[int]:
        self.characters += sum(map(len, pieces))
        return self.tokenizer.encode_pieces(pieces, add_bos=add_bos)


@pytest.mark.parametrize("cuts_lines", [True, False])
def test_the_common_part_is_read_once_where_cuts_are_known(smollm2: LLM, cuts_lines: bool) -> None:
    texts = [rendered("word " * 1000 + "\n\nQuestion: ", str(number)) for number in range(20)]
    tokenizer: Any = Counting(smollm2.tokenizer, cuts_lines=cuts_lines)
    tokens = encode_each(tokenizer, texts)
    assert tokens == [encode_rendered(smollm2.tokenizer, text) for text in texts]
    characters = sum(len(text.text) for text in texts)
    assert tokenizer.characters < characters / 8 if cuts_lines else tokenizer.characters == characters
