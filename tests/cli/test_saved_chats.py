"""Conversations as files."""

import json
import os
from pathlib import Path

import pytest

from ruvllm.cli.saved_chats import load_conversation, newest, place_of, save_conversation, saved
from ruvllm.errors import ConfigError, IoError, NotFoundError

MESSAGES = [{"role": "user", "content": "Grüße"}, {"role": "assistant", "content": "🙂"}]


def test_what_is_saved_is_loaded_again(tmp_path: Path) -> None:
    save_conversation(MESSAGES, tmp_path / "chat.json", model="qwen")
    assert json.loads((tmp_path / "chat.json").read_text("utf-8")) == {"model": "qwen", "messages": MESSAGES}
    loaded = load_conversation(tmp_path / "chat.json")
    assert (loaded.messages, loaded.model) == (MESSAGES, "qwen")
    with pytest.raises(IoError, match="cannot write"):
        save_conversation(MESSAGES, tmp_path / "none" / "chat.json", model="qwen")


def test_messages_alone_will_do(tmp_path: Path) -> None:
    for value in (MESSAGES, {"messages": MESSAGES, "model": 5}):
        (tmp_path / "chat.json").write_text(json.dumps(value), "utf-8")
        loaded = load_conversation(tmp_path / "chat.json")
        assert (loaded.messages, loaded.model) == (MESSAGES, None)


@pytest.mark.parametrize(
    ("written", "words"),
    [
        (b"\xff\xfe", "no saved chat: Expecting"),
        (b"{", "no saved chat: Expecting"),
        (b"[" * 200_000, "no saved chat"),
        (b"5", "no list of messages"),
        (b'{"messages": {}}', "no list of messages"),
    ],
)
def test_what_is_no_saved_chat_is_refused(tmp_path: Path, written: bytes, words: str) -> None:
    (tmp_path / "chat.json").write_bytes(written)
    with pytest.raises(ConfigError, match=words):
        load_conversation(tmp_path / "chat.json")


def test_what_cannot_be_read_says_so(tmp_path: Path) -> None:
    with pytest.raises(IoError, match="cannot read"):
        load_conversation(tmp_path / "none.json")
    with pytest.raises(IoError, match="cannot read"):
        load_conversation(tmp_path)


def test_names_are_in_a_folder_of_their_own(tmp_path: Path) -> None:
    folder = tmp_path / "home" / "chats"
    assert place_of("wolves") == place_of("wolves.json") == folder / "wolves.json"
    assert place_of(str(tmp_path / "a.json")) == tmp_path / "a.json"
    assert place_of("./a.json") == Path("a.json").absolute()
    assert saved() == []
    with pytest.raises(NotFoundError, match="no chat is saved"):
        newest()
    for name, seconds in [("old", 200), ("new", 300), ("oldest", 100)]:
        path = place_of(name)
        save_conversation(MESSAGES, path, model="qwen")
        os.utime(path, (0, seconds))
    assert saved() == ["new", "old", "oldest"]
    assert newest() == folder / "new.json"
    if os.name == "posix":
        assert folder.stat().st_mode & 0o077 == 0


@pytest.mark.skipif(os.name != "posix", reason="links need rights there")
def test_a_link_to_nothing_hides_no_chat() -> None:
    save_conversation(MESSAGES, place_of("wolves"), model="qwen")
    place_of("gone").symlink_to("nowhere")
    assert saved() == ["wolves"]
