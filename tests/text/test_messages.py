"""Messages are checked, and what is wrong is said with its place."""

from typing import Any

import pytest

from ruvllm.errors import TokenizationError
from ruvllm.text.messages import check_messages


def test_a_text_is_a_users_message() -> None:
    assert check_messages("Hi") == [{"role": "user", "content": "Hi"}]


def test_parts_are_joined() -> None:
    message = {"role": "user", "content": [{"type": "text", "text": "a"}, "b", {"type": "text", "text": "c"}]}
    assert check_messages([message]) == [{"role": "user", "content": "abc"}]


def test_other_keys_stay() -> None:
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}
    assert check_messages([call]) == [{"role": "assistant", "content": "", "tool_calls": [{"id": "1"}]}]


def test_the_callers_messages_are_not_changed() -> None:
    message = {"role": "user", "content": ["a", "b"]}
    check_messages([message])
    assert message == {"role": "user", "content": ["a", "b"]}


USER = {"role": "user", "content": "x"}


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ([], "messages is empty"),
        (None, "messages is a NoneType"),
        ({"role": "user", "content": "x"}, "messages is a dict"),
        (["x"], r"messages\[0\] is a str; it must be a dict"),
        ([{"content": "x"}], r"messages\[0\] has the role None; it must be one of system, developer, user"),
        ([USER, {"role": "bot", "content": "x"}], r"messages\[1\] has the role 'bot'"),
        ([{"role": "user"}], r"messages\[0\]\['content'\] is a NoneType"),
        ([{"role": "user", "content": 5}], r"messages\[0\]\['content'\] is a int"),
        ([{"role": "user", "content": b"x"}], r"is a bytes"),
        ([{"role": "user", "content": [{"type": "image"}]}], r"\['content'\]\[0\] is of the type 'image'"),
        ([{"role": "user", "content": [{"type": "text"}]}], r"\['content'\]\[0\]\['text'\] is a NoneType"),
        ([{"role": "user", "content": ["a", 5]}], r"\['content'\]\[1\] is of the type 'int'"),
        ([{"role": "assistant", "content": None}], r"is a NoneType"),
    ],
)  # fmt: skip
def test_what_is_refused(messages: Any, words: str) -> None:
    with pytest.raises(TokenizationError, match=words):
        check_messages(messages)
