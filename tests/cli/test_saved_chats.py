"""A conversation as a file."""

import json
from pathlib import Path

import pytest

from ruvllm.cli.saved_chats import save_conversation
from ruvllm.errors import IoError


def test_save(tmp_path: Path) -> None:
    messages = [{"role": "user", "content": "Grüße"}]
    save_conversation(messages, tmp_path / "chat.json")
    assert json.loads((tmp_path / "chat.json").read_text("utf-8")) == {"messages": messages}
    with pytest.raises(IoError, match="cannot write"):
        save_conversation(messages, tmp_path / "none" / "chat.json")
