"""From bytes to shown text, however they are cut; the oracle looks at the whole."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ruvllm.backends.answer_text import AnswerText

TEXTS = st.text(alphabet="abé🙂", max_size=24)


def first_end(text: str, stops: list[str]) -> int | None:
    """Where the stop sequence begins that is complete first, of two the one that begins first."""
    for end in range(1, len(text) + 1):
        begins = [end - len(stop) for stop in stops if text[:end].endswith(stop)]
        if begins:
            return min(begins)
    return None


@given(TEXTS, st.lists(st.text(alphabet="abé🙂", min_size=1, max_size=4), max_size=3), st.data())
def test_any_cut_gives_the_text_up_to_the_stop(text: str, stops: list[str], data: st.DataObject) -> None:
    whole = text.encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=8)))
    pieces = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    answer, shown = AnswerText(stops), []
    for piece in pieces:
        shown.append(answer.add(piece))
        assert "\ufffd" not in shown[-1]
        if answer.is_stopped:
            break
    shown.append(answer.rest())
    begin = first_end(text, stops)
    assert answer.is_stopped == (begin is not None)
    assert "".join(shown) == text[:begin]


@pytest.mark.parametrize(
    ("pieces", "shown"),
    [
        ([b"a", b"b"], ["a", "b", ""]),
        # What may begin a stop sequence is held, and let go as soon as it does not.
        ([b"xE", b"Nd"], ["x", "ENd", ""]),
        ([b"xE"], ["x", "E"]),
        ([b"xEND"], ["x", ""]),
        # Half a character at the end is shown as one that is none, and not before.
        ([b"a\xf0\x9f", b"\x99"], ["a", "", "\ufffd"]),
        ([b"\xff", b"a"], ["\ufffd", "a", ""]),
    ],
)
def test_what_is_shown_when(pieces: list[bytes], shown: list[str]) -> None:
    text = AnswerText(["END"])
    assert [*map(text.add, pieces), text.rest()] == shown
