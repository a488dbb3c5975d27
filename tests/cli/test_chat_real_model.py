"""The chat before a terminal, with the real engine and the real default model."""

import json
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("pexpect", reason="pseudo-terminals are Unix's")

from tests.conftest import FIXTURES
from tests.support.terminals import Terminal

pytestmark = pytest.mark.real_model

TINY = str(FIXTURES / "gguf" / "qwen2-bias-tied.gguf")
LONG = "The lamp stands on the north side of the hill. " * 250


@pytest.fixture
def chat(smollm2_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    monkeypatch.setenv("RUVLLM_HOME", str(tmp_path))
    command = [sys.executable, "-m", "ruvllm", "chat", str(smollm2_path), "-T", "0", "-q"]
    terminal = Terminal([*command, "--system", "Answer in one sentence."], columns=80)
    terminal.wait_for(terminal.at_prompt, 50)
    yield terminal
    terminal.close()


def test_a_chat(chat: Terminal, smollm2_path: Path) -> None:
    assert chat.lines == [f"{smollm2_path.stem}. /help lists the commands, Ctrl-D ends.", ">"]
    chat.say("What is the capital of France?")
    chat.wait_for("first after")
    answer = chat.screen.text.partition("France?\n")[2]
    assert "Paris" in answer
    chat.say("/save france")
    chat.wait_for("saved to")
    # Another model goes on with it; this one has a template of no words that it knows.
    chat.say(f"/model {TINY}")
    chat.wait_for("qwen2-bias-tied", 50)
    chat.wait_for(chat.at_prompt)
    chat.say("/set max_tokens 1")
    chat.say("And of Italy?")
    chat.wait_for(lambda: re.search(r"\n1 token, first after", chat.screen.text))
    chat.say(f"/model {smollm2_path}")
    chat.wait_for(chat.at_prompt, 50)
    chat.say("/load france")
    chat.wait_for("france: 1 turn; the last question was: What is the capital of France?")
    chat.say("/exit")
    chat.wait_for(lambda: not chat.child.isalive())
    assert chat.child.exitstatus == 0


def test_the_share_of_a_long_prompt_is_the_engine_s(chat: Terminal, tmp_path: Path) -> None:
    shares: list[int] = []

    def first_word() -> bool:
        if found := re.search(r"reading the prompt, (\d+)% · \d+\.\d s$", chat.screen.text):
            shares.append(int(found[1]))
        return "first after" in chat.screen.text

    chat.say("/set max_tokens 2")
    chat.wait_for("max_tokens: 2")
    messages = [{"role": "user", "content": LONG}, {"role": "assistant", "content": "Yes."}]
    (tmp_path / "long.json").write_text(json.dumps(messages))
    chat.say(f"/load {tmp_path}/long.json")
    chat.wait_for("long: 1 turn")
    chat.say("Where does the lamp stand?")
    begun = time.monotonic()
    chat.wait_for(first_word, 55)
    assert shares == sorted(shares)
    assert len(set(shares)) > 3, f"{shares} in {time.monotonic() - begun:.1f} s"
    assert 0 <= shares[0] < 60
    assert "reading" not in chat.screen.text
