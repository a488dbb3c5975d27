"""JSON that is written in slices is the JSON that one call would write."""

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ruvllm.serve import json_answer
from ruvllm.serve.json_answer import ENTRY_ITEMS, SLICE_ENTRIES, SLICE_SCALARS, encoded

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner) | st.lists(st.just(3), max_size=9) | st.dictionaries(st.text(), inner),
    max_leaves=40,
)


def whole(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


@settings(max_examples=300, deadline=None)
@given(VALUES)
def test_it_is_what_one_call_would_write(value: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("SLICE_SCALARS", "SLICE_ENTRIES", "ENTRY_ITEMS"):
            patch.setattr(json_answer, name, 2)
        assert json.loads(encoded(value)) == value
        assert encoded(value) == whole(value)


TOKEN = {"token": '\u00e9"', "logprob": -0.5, "bytes": [1, 2]}
PLACE = {"logprob": -12.345678901234567, "rank": None, "decoded_token": "word"}
LARGE = {
    "ids": list(range(3 * SLICE_SCALARS + 1)),
    "texts": ["a", "\n"] * SLICE_SCALARS,
    "content": [{**TOKEN, "top_logprobs": [TOKEN] * 20}] * (9 * SLICE_ENTRIES + 3),
    "data": [{"index": index, "embedding": [0.25] * 5000} for index in range(5)],
    "lists": [[1] * 3000, [], {}],
    "top": [None] + [{"a": -1.0}] * 2000,
    "prompt": [None] + [{str(token): PLACE for token in range(21)}] * 3000,
    "none": [None] * 3000,
}


def test_large_answers_are_the_same_too() -> None:
    assert encoded(LARGE) == whole(LARGE)


def test_no_call_writes_much(monkeypatch: pytest.MonkeyPatch) -> None:
    longest = 0
    real = json_answer._encode

    def counting(value: Any) -> str:
        nonlocal longest
        text = real(value)
        longest = max(longest, len(text))
        return text

    monkeypatch.setattr(json_answer, "_encode", counting)
    assert len(encoded(LARGE)) > 400_000
    assert longest < 150_000
    assert ENTRY_ITEMS >= 20, "as many likeliest tokens as there are at a place"


def test_what_is_no_json_is_not_written() -> None:
    with pytest.raises(ValueError, match="JSON"):
        encoded({"a": [math.nan]})
