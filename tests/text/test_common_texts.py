"""Texts that begin alike are tokenized as if each stood alone, whatever stands where they part."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ruvllm import LLM
from ruvllm.text.common_texts import encode_each
from ruvllm.text.json_tokenizer import JsonTokenizer
from ruvllm.text.marks import Rendered
from ruvllm.text.tokenizer import Tokenizer, encode_rendered
from tests.support import tiny_tokenizers

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


QWEN_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPELLING = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
WORDS = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}


def split_by(regex: str) -> dict[str, Any]:
    """Words by a pattern, and their bytes as characters."""
    words = {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False}
    return {"type": "Sequence", "pretokenizers": [words, SPELLING]}


# How the folders of models cut: GPT-2's, SmolLM2's, Qwen's and Llama 3's.
CUTTINGS: dict[str, Any] = {
    "gpt2": WORDS,
    "digits": {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, WORDS]},
    "qwen": split_by(QWEN_WORDS),
    "llama3": split_by(QWEN_WORDS.replace(r"|\p{N}|", r"|\p{N}{1,3}|")),
}


def of_json(**changed: Any) -> JsonTokenizer:
    """A small tokenizer of a folder, of which some parts are others."""
    source = json.loads(tiny_tokenizers.byte_level(bos=True).to_str())
    return JsonTokenizer(json.dumps(source | changed), {"bos_token": "<|begin|>", "eos_token": "<|im_end|>"})


@pytest.fixture(scope="module", params=["smollm2", "gemma3", *CUTTINGS])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    """One that cuts words and merges within them, and one that merges whatever is beside each other."""
    found: Tokenizer
    if request.param in CUTTINGS:
        found = of_json(pre_tokenizer=CUTTINGS[request.param], normalizer={"type": "NFC"})
    else:
        found = request.getfixturevalue(request.param).tokenizer
    assert found.cuts_lines
    return found


@pytest.mark.parametrize(
    "changed",
    [
        {"pre_tokenizer": None},
        {"pre_tokenizer": WORDS | {"add_prefix_space": True}},
        {"pre_tokenizer": SPELLING},
        {
            "pre_tokenizer": {
                "type": "Metaspace",
                "replacement": "▁",
                "prepend_scheme": "first",
                "split": True,
            }
        },
        {"pre_tokenizer": split_by(r"[^.]+|.")},
        {"normalizer": {"type": "NFKC"}},
        {"truncation": {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}},
    ],
)
def test_a_file_that_cuts_otherwise_promises_nothing(changed: dict[str, Any]) -> None:
    assert not of_json(**changed).cuts_lines


def test_an_added_token_over_a_line_s_end_promises_nothing() -> None:
    added = tiny_tokenizers.with_plain_added_token(tiny_tokenizers.byte_level(), "x\nQuestion")
    assert not JsonTokenizer(added.to_str()).cuts_lines


@settings(max_examples=300, deadline=None)
@given(beginning=TEXT, ends=st.lists(TEXT, min_size=2, max_size=4), asked=st.booleans())
@example(beginning="word ", ends=["", " "], asked=True)
@example(beginning="", ends=["a", "a"], asked=False)
@example(beginning="inter", ends=[" ", "national"], asked=False)
@example(beginning="1 + 2 = ", ends=["\n", "  3"], asked=False)
@example(beginning="x\n", ends=["a", "\n\n", " "], asked=False)
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
