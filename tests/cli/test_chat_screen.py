"""The chat as somebody before a terminal with colours sees it."""

import base64
import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

pytest.importorskip("pexpect", reason="pseudo-terminals are Unix's")

from tests.support.scripted_server import Reply, ScriptedServer, answer_events, event
from tests.support.terminals import Terminal

termios = pytest.importorskip("termios", reason="so are their modes")
Begin = Callable[..., Terminal]


# What a terminal shows at one moment, which signals and keys are to meet.
pytestmark = pytest.mark.alone


@pytest.fixture
def begin(model: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Begin]:
    """Begin a chat with the stand-in for the engine."""
    opened: list[Terminal] = []

    def begin(*flags: str, columns: int = 60, lines: int = 24) -> Terminal:
        command = [sys.executable, "-m", "tests.cli.fake_engine", "chat", *flags]
        terminal = Terminal(command, columns=columns, lines=lines)
        opened.append(terminal)
        terminal.wait_for(terminal.at_prompt)
        return terminal

    yield begin
    for terminal in opened:
        terminal.close()


@pytest.fixture
def chat(begin: Begin, model: str) -> Terminal:
    return begin(model)


def answered(chat: Terminal, line: str) -> list[str]:
    """What the screen shows of an answer: behind the question, before its figures."""
    before = len(chat.lines)
    chat.say(line)
    chat.wait_for(lambda: len(chat.lines) > before and chat.at_prompt())
    shown = chat.lines[before:-1]
    figures = next(index for index, text in enumerate(shown) if "first after" in text)
    return shown[:figures]


# -- the greeting


@pytest.mark.parametrize(
    ("columns", "greeting"),
    [
        (60, "model. /help lists the commands, Ctrl-D ends."),
        (40, "model. /help, Ctrl-D ends."),
        (20, "model. /help."),
    ],
)
def test_the_greeting_is_one_line_with_the_models_name(
    begin: Begin, model: str, columns: int, greeting: str
) -> None:
    assert begin(model, columns=columns).lines == [greeting, ">"]


def test_of_a_long_name_the_greeting_has_the_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    from ruvllm.cli import terminal
    from ruvllm.cli.chat_terminal import _greeting

    monkeypatch.setattr(terminal, "err", lambda: Console(width=60))
    said = _greeting("a" * 100)
    assert said.startswith("aaaaaaaaaaaa")
    assert said.endswith("…. /help lists the commands, Ctrl-D ends.")


# -- answers


def test_an_answer_breaks_between_words(begin: Begin, model: str) -> None:
    chat = begin(model, columns=33, lines=60)
    chat.say("speak slowly")
    chat.wait_for("word39 ")
    chat.child.sendintr()
    chat.wait_for("stopped")
    words = [word for line in chat.lines if line.startswith("word") for word in line.split()]
    assert len(words) > 35
    assert words == [f"word{index}" for index in range(len(words))]


def test_an_answer_is_markdown(chat: Terminal) -> None:
    assert answered(chat, "this is **bold** and `code`") == ["You said: this is bold and code"]
    assert chat.screen.cell("bold and code").bold
    assert chat.screen.cell("code").fg == "cyan"


def test_thoughts_are_dimmed(chat: Terminal) -> None:
    shown = answered(chat, "<think>hm</think>Yes.")
    # "You said: " stands before what it thinks.
    assert shown == ["You said:", "hm", "", "Yes."]
    assert chat.screen.cell("hm").italics


def test_no_color_is_the_text_as_it_is(begin: Begin, model: str) -> None:
    chat = Terminal(
        ["/usr/bin/env", "NO_COLOR=1", sys.executable, "-m", "tests.cli.fake_engine", "chat", model]
    )
    try:
        chat.wait_for(chat.at_prompt)
        assert answered(chat, "**bold** <think>hm</think>") == ["You said: **bold** <think>hm</think>"]
    finally:
        chat.close()


def test_one_answer_of_run_is_shown_the_same(model: str) -> None:
    command = [sys.executable, "-m", "tests.cli.fake_engine", "run", model, "**bold**"]
    run = Terminal(command)
    run.wait_for(lambda: not run.child.isalive())
    assert run.lines == ["You said: bold"]
    assert run.screen.cell("bold").bold


# -- while nothing is there yet


def test_a_sign_of_life_says_how_much_of_the_prompt_is_read(chat: Terminal) -> None:
    chat.say("wait patiently")
    chat.wait_for("reading the prompt, 43% · ")
    chat.wait_for("reading the prompt, 43% · 1.")
    chat.wait_for("first after")
    assert "reading" not in chat.screen.text
    assert "You said: wait patiently" in chat.screen.lines


def test_a_server_s_model_is_said_to_think(begin: Begin) -> None:
    thought = event({"choices": [{"index": 0, "delta": {"reasoning_content": "hm", "content": None}}]})

    def answer(request: Any) -> Reply:
        if request.path == "/v1/models":
            return Reply.json({"data": [{"id": "one", "owned_by": "somebody"}]})
        return Reply.stream([thought, 1.0, *answer_events(["Yes."])])

    with ScriptedServer(answer) as server:
        chat = begin("--url", server.url)
        chat.say("Is it?")
        chat.wait_for(lambda: re.search(r"\n. thinking · \d\.\d s$", chat.screen.text))
        chat.wait_for("Yes.")
        assert "thinking" not in chat.screen.text
        chat.close()


def test_ctrl_c_before_the_first_word(chat: Terminal) -> None:
    chat.say("wait patiently")
    chat.wait_for("reading the prompt")
    chat.child.sendintr()
    chat.wait_for("stopped")
    chat.wait_for(chat.at_prompt)
    assert "reading" not in chat.screen.text


# -- what is typed ahead


def test_what_is_typed_ahead_is_the_next_question_and_nothing_of_the_answer(chat: Terminal) -> None:
    chat.say("wait patiently")
    chat.wait_for("reading the prompt")
    chat.type("next que")
    time.sleep(0.3)
    chat.read()
    assert "next" not in chat.written
    chat.type("x\x7fstion\x1b\rof two lines\r")
    chat.wait_for("You said: next question\nof two lines")
    shown = chat.lines
    assert shown.index("You said: wait patiently") < shown.index("> next question")


def test_the_terminal_echoes_again_afterwards(begin: Begin, model: str) -> None:
    command = f"{sys.executable} -m tests.cli.fake_engine run {model} patiently; stty -a"
    shell = Terminal(["/bin/sh", "-c", command])
    shell.wait_for(lambda: not shell.child.isalive())
    assert re.search(r"(?<!-)\becho\b", shell.screen.text)
    assert re.search(r"(?<!-)\bicanon\b", shell.screen.text)


def echoes(terminal: Terminal) -> bool:
    return bool(termios.tcgetattr(terminal.child.child_fd)[3] & termios.ECHO)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_ends_the_program_has_the_terminal_echo(model: str, number: signal.Signals) -> None:
    program = f"{sys.executable} -m tests.cli.fake_engine run {model} slowly"
    shell = Terminal(["/bin/sh", "-c", f"/bin/sh -c 'echo pid $$; exec {program}'; echo ended $?; sleep 30"])
    shell.wait_for("word3 ")
    assert not echoes(shell)
    found = re.search(r"pid (\d+)", shell.screen.text)
    assert found
    os.kill(int(found[1]), number)
    shell.wait_for(f"ended {128 + number}")
    assert echoes(shell)
    shell.close()


def test_after_ctrl_z_the_terminal_is_silent_again(chat: Terminal) -> None:
    chat.say("wait patiently")
    chat.wait_for("reading the prompt")
    assert not echoes(chat)
    # A shell puts its own mode back when a program is stopped.
    mode = termios.tcgetattr(chat.child.child_fd)
    mode[3] |= termios.ECHO
    termios.tcsetattr(chat.child.child_fd, termios.TCSANOW, mode)
    os.kill(chat.child.pid, signal.SIGCONT)
    chat.wait_for(lambda: not echoes(chat), seconds=2.0)
    chat.wait_for("first after")


# -- commands


def test_help_lists_all_commands_and_keys(chat: Terminal) -> None:
    chat.say("/help")
    chat.wait_for("/exit /quit /bye")
    for name in ("model", "system", "params", "set", "regenerate", "undo", "clear", "copy", "save", "load"):
        assert f"/{name}" in chat.screen.text
    for key in ("Alt-Enter", "TAB", "Ctrl-C", "Ctrl-D"):
        assert key in chat.screen.text


def test_what_is_saved_is_loaded_again(chat: Terminal, begin: Begin, model: str, tmp_path: Path) -> None:
    chat.say("/system Be brief.")
    answered(chat, "hello")
    chat.say("/save wolves")
    chat.wait_for("saved to")
    saved = tmp_path / "home/chats/wolves.json"
    assert saved.stat().st_mode & 0o077 == 0
    assert json.loads(saved.read_text()) == {
        "model": model,
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "hello"},
            {"role": "assistant", "content": "You said: hello"},
        ],
    }
    other = begin(model)
    other.say("/load wolves")
    other.wait_for("wolves: 1 turn; the last question was: hello")
    other.say("/regenerate")
    other.wait_for("You said: hello")
    other.say("/system")
    other.wait_for("system prompt: Be brief.")
    other.say("/save")  # where it was loaded from
    other.wait_for("saved to")
    other.say("/load nonesuch")
    other.wait_for("cannot read")


def test_resume_goes_on_with_the_newest(begin: Begin, model: str) -> None:
    chat = begin(model)
    for question in ("first", "second"):
        answered(chat, question)
        chat.say(f"/save {question}")
        chat.wait_for(f"{question}.json")
        time.sleep(0.02)
    chat.say("/exit")
    # The model is the saved one's where none is named.
    resumed = begin("--resume", "--system", "Be brief.")
    assert "second: 2 turns; the last question was: second" in resumed.screen.text
    assert "very small" not in resumed.screen.text
    resumed.say("/system")
    resumed.wait_for("system prompt: Be brief.")
    answered(resumed, "third")
    resumed.say("/undo")
    resumed.wait_for("taken back: third")
    resumed.say("/undo")
    resumed.wait_for("taken back: second")


def test_resume_where_nothing_is_saved_and_beside_a_prompt(model: str) -> None:
    command = [sys.executable, "-m", "tests.cli.fake_engine", "chat", "--resume"]
    for more, said in [([], "no chat is saved"), ([model, "hello"], "leave PROMPT out")]:
        terminal = Terminal([*command, *more], columns=100)
        terminal.wait_for(lambda child=terminal.child: not child.isalive())
        assert said in terminal.screen.text
        assert terminal.child.exitstatus in (1, 2)
        terminal.close()


def test_parameters_are_shown_and_set(chat: Terminal) -> None:
    chat.say("/set temperature 0.25")
    chat.wait_for("temperature: 0.25")
    chat.say("/set --top-k 40")
    chat.wait_for("top_k: 40")
    chat.say("/set max-tokens 1")
    chat.wait_for("max_tokens: 1")
    chat.say("/set top_p 7")
    chat.wait_for("top_p is 7.0")
    chat.say("/set warmth 1")
    chat.wait_for("nothing is called 'warmth'")
    chat.say("/set seed 5")
    chat.say("/set seed none")
    chat.wait_for("seed: none")
    chat.say("/params")
    chat.wait_for(lambda: re.search(r"\ntemperature  +0\.25\n", chat.screen.text))
    assert re.search(r"top_k +40\n", chat.screen.text)
    chat.say("hello")
    chat.wait_for("cut off at")
    chat.say("/set temperature")
    chat.wait_for("temperature: 0.7")
    chat.say("/set mirostat_tau 3")
    chat.wait_for("mirostat_tau does nothing yet: /set mirostat 2")
    chat.say("/set mirostat 2")
    chat.wait_for("mirostat: 2")
    chat.say("/set mirostat_tau 4")
    chat.wait_for("mirostat_tau: 4")
    chat.say("/params")
    chat.wait_for(lambda: re.search(r"\ntop_p  +1\.0\n", chat.screen.text))
    assert chat.written.count("does nothing yet") == 1


def test_copy_gives_the_answer_to_the_terminal(chat: Terminal) -> None:
    chat.say("/copy")
    chat.wait_for("there is no answer yet")
    answered(chat, "<think>hm</think>**Yes.**")
    chat.say("/copy")
    chat.wait_for("19 characters were sent to the terminal's clipboard")
    [sent] = re.findall(r"\x1b\]52;c;([A-Za-z0-9+/=]*)\x07", chat.written)
    assert base64.b64decode(sent) == b"You said:\n\n**Yes.**"


def test_undo_takes_a_turn_back(chat: Terminal) -> None:
    chat.say("/undo")
    chat.wait_for("there is no turn to take back")
    answered(chat, "hello")
    chat.say("/undo")
    chat.wait_for("taken back: hello")
    chat.say("/regenerate")
    chat.wait_for("nothing was asked yet")


def test_another_model_goes_on_with_what_was_said(chat: Terminal, model: str) -> None:
    answered(chat, "hello")
    other = Path(model).with_name("other.gguf")
    other.touch()
    chat.say(f"/model {other}")
    chat.wait_for(lambda: chat.lines[-2].endswith("other.gguf") and chat.at_prompt())
    chat.say("/regenerate")
    chat.wait_for(lambda: chat.screen.text.count("You said: hello") == 2)
    broken = Path(model).with_name("broken.gguf")
    broken.touch()
    chat.say(f"/model {broken}")
    chat.wait_for("no GGUF file")
    assert "other.gguf stays" in chat.screen.text.replace("\n", "")
    chat.say("/regenerate")
    chat.wait_for(lambda: chat.screen.text.count("You said: hello") == 3)
    chat.say("/model nonesuch")
    chat.wait_for("'nonesuch'. `ruvllm list")
    chat.wait_for(chat.at_prompt)
    chat.say("/model")
    chat.wait_for(lambda: re.search(r"at hand +none\nto fetch +smollm2-135m, ", chat.screen.text))
    chat.wait_for(chat.at_prompt)
    # One that would have to be fetched is asked for.
    chat.say("/model smollm2-135m")
    chat.wait_for("smollm2-135m is not on this machine. Fetch it? [y/N]")
    chat.say("n")
    chat.wait_for(chat.at_prompt)
    assert answered(chat, "there?") == ["You said: there?"]


def completed(chat: Terminal, typed: str, wanted: str) -> None:
    chat.type(f"{typed}\t")
    chat.wait_for(lambda: wanted in chat.screen.text)
    chat.type("\x15")  # Ctrl-U empties the line
    chat.wait_for(chat.at_prompt)


def test_tab_completes_commands_and_what_stands_behind_them(chat: Terminal, tmp_path: Path) -> None:
    answered(chat, "hello")
    chat.say("/save about wolves")
    chat.wait_for("saved to")
    completed(chat, "/reg", "> /regenerate")
    completed(chat, "/set temp", "> /set temperature")
    completed(chat, "/set seed n", "> /set seed none")
    completed(chat, "/load abo", "> /load about wolves")
    completed(chat, "/model smollm2-135", "> /model smollm2-135m")
    (tmp_path / "elsewhere.json").touch()
    completed(chat, f"/load {tmp_path}/else", "elsewhere.json")
