"""What a chat remembers."""

import json
from pathlib import Path

import pytest

from ruvllm.cli.conversation import Conversation
from ruvllm.errors import IoError


def test_turns() -> None:
    chat = Conversation("Be brief.")
    chat.ask("one?")
    chat.answer("two")
    assert chat.messages == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "one?"},
        {"role": "assistant", "content": "two"},
    ]
    assert chat.drop_answer()
    assert chat.messages[-1]["role"] == "user"
    assert chat.drop_answer()  # nothing to take back, but a question to answer
    chat.drop_question()
    assert not chat.drop_answer()
    chat.ask("again")
    chat.clear()
    assert chat.messages == [{"role": "system", "content": "Be brief."}]
    chat.system = None
    assert chat.messages == []
    assert Conversation("").messages == []


def test_save(tmp_path: Path) -> None:
    chat = Conversation()
    chat.ask("Grüße")
    chat.save(tmp_path / "chat.json")
    assert json.loads((tmp_path / "chat.json").read_text("utf-8")) == {"messages": chat.messages}
    with pytest.raises(IoError, match="cannot write"):
        chat.save(tmp_path / "none" / "chat.json")
