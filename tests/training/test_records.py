"""Files of examples: every kind of line that there is, and every kind that is refused, by its number."""

import json
from pathlib import Path
from typing import Any

import pytest

from ruvllm import IoError, TrainingError, TrainingSample
from ruvllm.training.records import Conversation, Preference, read_records

USER, ANSWER = {"role": "user", "content": "Two and two?"}, {"role": "assistant", "content": "Four."}
CHAT = {"messages": [USER, ANSWER]}


def written(folder: Path, *lines: Any) -> Path:
    path = folder / "data.jsonl"
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_bytes("\n".join(texts).encode())
    return path


def test_every_kind_of_line_is_read(tmp_path: Path) -> None:
    pair = {
        "prompt": "Two and two?",
        "chosen": "Four.",
        "rejected": [{"role": "assistant", "content": "Five."}],
    }
    path = written(
        tmp_path,
        {**CHAT, "source": "somewhere", "quality": 0.5},
        "",
        {"prompt": "Two and two?", "completion": "Four."},
        {"prompt": [{"role": "system", "content": "Be brief."}, USER], "completion": [ANSWER]},
        pair,
        "   ",
    )
    first, second, third, fourth = read_records(path)
    assert isinstance(first, Conversation)
    assert (first.messages, first.quality, first.plain) == ([USER, ANSWER], 0.5, None)
    assert first.where == f"{path}:1"
    assert isinstance(second, Conversation)
    assert (second.messages, second.plain) == ([USER, ANSWER], ("Two and two?", "Four."))
    assert second.where == f"{path}:3"
    assert isinstance(third, Conversation)
    assert [one["role"] for one in third.messages] == ["system", "user", "assistant"]
    assert third.plain is None
    assert isinstance(fourth, Preference)
    assert [fourth.chosen.messages[-1]["content"], fourth.rejected.messages[-1]["content"]] == [
        "Four.",
        "Five.",
    ]


def test_a_byte_order_mark_is_no_reason(tmp_path: Path) -> None:
    assert len(read_records(written(tmp_path, "\ufeff" + json.dumps(CHAT)))) == 1


WRONG = [
    ('{"messages": [', "it is no JSON: .* at character 16"),
    ("[]", "it is a list; it must be an object with"),
    ("null", "it is null"),
    ({"text": "x"}, "it has 'text'; it must have \"messages\""),
    ({}, "it has nothing"),
    ({"prompt": "x"}, "it has 'prompt'"),
    ({"messages": []}, "messages is empty"),
    ({"messages": [USER]}, "no message is the assistant's"),
    ({"messages": "hello"}, "no message is the assistant's"),
    ({"messages": [{"role": "robot", "content": "x"}]}, "robot"),
    ({"messages": [USER, {"role": "assistant", "content": " "}]}, "message 1 is the assistant's and empty"),
    ({"prompt": "x", "completion": ""}, "completion is empty"),
    ({"prompt": "x", "completion": 3}, "completion: messages is a int"),
    ({"prompt": "x", "completion": [USER]}, "completion has 1 messages; it must be a text, or"),
    ({"prompt": [USER, ANSWER], "completion": "x"}, "the last message of the prompt is the assistant's"),
    ({**CHAT, "quality": 2}, "quality is 2; it must be a number from 0 to 1"),
    ({**CHAT, "quality": True}, "quality is True"),
    ("[" * 100_000, "nested too deep|no JSON"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "reason"), WRONG, ids=range(len(WRONG)))
def test_a_line_that_is_none_is_refused_by_its_number(tmp_path: Path, line: Any, reason: str) -> None:
    path = written(tmp_path, CHAT, line, CHAT)
    with pytest.raises(TrainingError, match=rf"data\.jsonl:2: .*{reason}"):
        read_records(path)


def test_all_that_is_wrong_is_told_at_once_up_to_a_bound(tmp_path: Path) -> None:
    path = written(tmp_path, *["{}"] * 25)
    with pytest.raises(TrainingError) as caught:
        read_records(path)
    assert "jsonl:10: " in str(caught.value)
    assert "jsonl:11: " not in str(caught.value)
    assert str(caught.value).endswith("and 15 more")


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_bytes(json.dumps(CHAT).encode() + b'\n{"prompt": "\xff"}')
    with pytest.raises(TrainingError, match=r"jsonl:2: byte 13 is no UTF-8"):
        read_records(path)


def test_a_file_without_examples_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="has no examples"):
        read_records(written(tmp_path, "", "  "))
    with pytest.raises(TrainingError, match="the data has no examples"):
        read_records([])


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IoError, match="it is a folder"):
        read_records(tmp_path)
    with pytest.raises(IoError, match=r"nowhere\.jsonl cannot be read"):
        read_records(tmp_path / "nowhere.jsonl")
    with pytest.raises(TrainingError, match="the data is a int"):
        read_records(3)  # type: ignore[arg-type]


def test_a_line_without_an_end_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ruvllm.training.records.MAX_LINE_BYTES", 1000)
    with pytest.raises(TrainingError, match=r"jsonl:2: it has more than 1000 bytes"):
        read_records(written(tmp_path, CHAT, " " * 2000))


def test_samples_and_objects_in_memory() -> None:
    sample = TrainingSample(query="Two and two?", response="Four.", quality=0.8)
    first, second = read_records([sample, CHAT])
    assert isinstance(first, Conversation)
    assert isinstance(second, Conversation)
    assert first.messages == second.messages
    assert first.quality == 0.8
    with pytest.raises(TrainingError, match="example 1: the sample has no response"):
        read_records([sample, TrainingSample(query="x")])
