"""The interactive chat on a pseudo-terminal."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pexpect = pytest.importorskip("pexpect")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals")


@pytest.fixture
def chat(tmp_path: Path, model: str, monkeypatch: pytest.MonkeyPatch) -> Iterator["pexpect.spawn[str]"]:
    monkeypatch.setenv("TERM", "xterm")
    child = pexpect.spawn(
        sys.executable,
        ["-m", "tests.cli.fake_engine", "chat", model],
        encoding="utf-8",
        timeout=20,
        dimensions=(40, 200),
    )
    child.expect("Ctrl-D ends")
    await_prompt(child)
    yield child
    child.close(force=True)


def await_prompt(child: "pexpect.spawn[str]") -> None:
    child.expect(r"\x1b\[\?2004h")  # bracketed paste is on: prompt_toolkit reads
    child.expect(">")


def say(child: "pexpect.spawn[str]", line: str) -> None:
    child.send(line)
    child.send("\r")


def test_turns_and_commands(chat: "pexpect.spawn[str]", tmp_path: Path) -> None:
    say(chat, "hello")
    chat.expect("You said: hello")
    chat.expect("3 tokens, 2.0 tokens/s, first after 0.10 s")
    say(chat, "/regenerate")
    chat.expect("You said: hello")
    say(chat, "/system Be brief.")
    chat.expect("system prompt: Be brief.")
    say(chat, "/help")
    chat.expect("keep the conversation")
    say(chat, "/stats")
    chat.expect("answer tokens")
    chat.expect(r"\b6\b")
    say(chat, "/nonsense")
    chat.expect("no command /nonsense")
    saved = tmp_path / "chat.json"
    say(chat, f"/save {saved}")
    chat.expect("saved to")
    assert [message["role"] for message in json.loads(saved.read_text())["messages"]] == [
        "system",
        "user",
        "assistant",
    ]
    say(chat, f"/save {saved}")
    chat.expect("saved to")
    saved.with_name("other.json").touch()
    say(chat, f"/save {saved.with_name('other.json')}")
    # Where the line breaks depends on the folder's name.
    chat.expect(r"exists;\s+give\s+another\s+name")
    say(chat, "/clear")
    chat.expect("forgotten")
    say(chat, "/regenerate")
    chat.expect("nothing was asked yet")
    say(chat, "/exit")
    chat.expect(pexpect.EOF)
    chat.wait()
    assert chat.exitstatus == 0


def test_ctrl_c_stops_the_answer_and_not_the_program(chat: "pexpect.spawn[str]") -> None:
    say(chat, "speak slowly")
    chat.expect("word3 ")
    chat.sendintr()
    chat.expect("stopped")
    say(chat, "still there?")
    chat.expect("You said: still there")
    chat.expect("first after")
    chat.sendintr()
    chat.expect("Ctrl-D or /exit ends the chat")
    await_prompt(chat)
    chat.sendeof()
    chat.expect(pexpect.EOF)
    chat.wait()
    assert chat.exitstatus == 0


def test_alt_enter_is_a_new_line(chat: "pexpect.spawn[str]") -> None:
    chat.send("first")
    chat.send("\x1b\r")
    say(chat, "second")
    chat.expect("You said: first\r\nsecond")


def test_an_error_does_not_end_the_chat(chat: "pexpect.spawn[str]") -> None:
    say(chat, "this is too long")
    chat.expect("error: .*the context holds 8")
    say(chat, "short")
    chat.expect("You said: short")


def test_a_full_context_drops_the_oldest_turns(chat: "pexpect.spawn[str]") -> None:
    for _ in range(2):
        say(chat, "a " * 700)
        chat.expect("first after")
    chat.expect("the model no longer sees the first 1 turns")


def test_history_is_kept(chat: "pexpect.spawn[str]", tmp_path: Path) -> None:
    say(chat, "remember me")
    chat.expect("You said: remember me")
    chat.expect("first after")
    history = tmp_path / "home/chat_history"
    assert "remember me" in history.read_text()
    assert history.stat().st_mode & 0o077 == 0
