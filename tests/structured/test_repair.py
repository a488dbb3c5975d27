"""Texts that are nearly JSON, mended: a corpus of what was meant, and every cut of valid texts."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ruvllm.errors import GenerationError
from ruvllm.structured.repair import mended
from tests.structured.broken_texts import BROKEN, CUT, HOPELESS

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
STYLES: list[dict[str, Any]] = [
    {},
    {"ensure_ascii": False},
    {"indent": 1, "ensure_ascii": False},
    {"separators": (",", ":")},
]


def written(value: object) -> str:
    """With the types of numbers and words, which Python's own comparison leaves out."""
    return json.dumps(value)


def test_most_of_the_corpus_is_mended_as_it_was_meant() -> None:
    """The mark is 95 %; the cases that miss it would be named."""
    cases = [(text, value, False) for text, value in BROKEN] + [(text, value, True) for text, value in CUT]
    assert len(cases) >= 120
    missed = []
    for text, value, is_cut in cases:
        try:
            outcome: object = mended(text, is_cut=is_cut).value
        except GenerationError as error:
            outcome = error
        if isinstance(outcome, Exception) or written(outcome) != written(value):
            missed.append((text, value, outcome))
    share = 1 - len(missed) / len(cases)
    print(f"{len(cases) - len(missed)} of {len(cases)} mended as meant: {share:.1%}")
    assert share >= 0.95, missed


@pytest.mark.parametrize(("text", "value"), BROKEN)
def test_what_was_mended_is_said(text: str, value: object) -> None:
    assert mended(text).repairs, text


@pytest.mark.parametrize(("text", "words"), HOPELESS)
def test_what_may_mean_several_things_is_refused(text: str, words: str) -> None:
    with pytest.raises(GenerationError, match="cannot be mended") as caught:
        print(mended(text))
    assert words in str(caught.value)


def test_repairs_are_named() -> None:
    found = mended('Well: {a: \'x\', "b" .5, "c": True, /* no */ "d": "\n" "e": [1}')
    assert found.value == {"a": "x", "b": 0.5, "c": True, "d": "\n", "e": [1]}
    assert set(found.repairs) == {
        "prose", "key", "quotes", "colon", "number", "word", "comment", "escape", "comma", "closing"
    }  # fmt: skip
    assert mended("```json\n[1").repairs == ("fence", "end")


@settings(deadline=None)
@given(VALUES, st.sampled_from(STYLES))
def test_valid_json_comes_back_unchanged(value: object, style: dict[str, Any]) -> None:
    found = mended(json.dumps(value, **style))
    assert written(found.value) == written(value)
    assert not found.repairs


def is_beginning(part: Any, whole: Any) -> bool:
    """Whether a value is what a text had said of another one when it was cut."""
    if isinstance(whole, dict) and isinstance(part, dict):
        pairs = list(zip(part.items(), whole.items(), strict=False))
        return (
            len(part) <= len(whole)
            and all(one[0] == other[0] for one, other in pairs)
            and all(written(one[1]) == written(other[1]) for one, other in pairs[:-1])
            and all(is_beginning(one[1], other[1]) for one, other in pairs[-1:])
        )
    if isinstance(whole, list) and isinstance(part, list):
        pairs = list(zip(part, whole, strict=False))
        return (
            len(part) <= len(whole)
            and all(written(one) == written(other) for one, other in pairs[:-1])
            and all(is_beginning(one, other) for one, other in pairs[-1:])
        )
    if isinstance(whole, str) and isinstance(part, str):
        return whole.startswith(part)
    return written(part) == written(whole)


@settings(deadline=None, max_examples=150)
@given(VALUES, st.sampled_from(STYLES))
def test_every_cut_gives_a_beginning_or_an_error(value: object, style: dict[str, Any]) -> None:
    text = json.dumps(value, **style)
    for end in range(len(text)):
        try:
            found = mended(text[:end], is_cut=True)
        except GenerationError:
            # Of an object, a list or a text there is always a beginning.
            assert not text[:end].startswith(("{", "[", '"'))
            continue
        assert is_beginning(found.value, value), (text[:end], found)


@settings(deadline=None, max_examples=300)
@given(st.text("{}[]\"',:\\/#*`\n 1-.eTnu\u201c", max_size=40), st.booleans())
def test_any_text_gives_a_value_or_an_error(text: str, is_cut: bool) -> None:
    try:
        found = mended(text, is_cut=is_cut)
    except GenerationError:
        return
    json.dumps(found.value, allow_nan=False)


LONG = {
    "quotes": '{"a": "' + '" ' * 50_000,
    "numbers": "[" + "1 " * 50_000,
    "space": "{'" + " " * 100_000,
    "fences": "```" * 30_000,
    "comments": "/*" * 50_000,
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", LONG)
def test_long_texts_take_no_time(name: str) -> None:
    with contextlib.suppress(GenerationError):
        mended(LONG[name])
