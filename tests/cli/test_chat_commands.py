"""What the commands of a chat do with what was said, without a terminal: nothing that goes wrong loses it."""

import base64
import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("prompt_toolkit", reason="it comes with the extra of the command line")

from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document

from ruvllm.cli.chat_completer import ChatCompleter
from ruvllm.cli.chat_terminal import ChatTerminal
from ruvllm.cli.local_partner import LocalPartner
from ruvllm.cli.options import (
    AdapterOptions,
    ChosenSampling,
    EngineOptions,
    LocalOptions,
    SamplingOptions,
)
from ruvllm.cli.partner import Partner
from ruvllm.cli.saved_chats import place_of, save_conversation
from ruvllm.cli.server_partner import ServerPartner
from ruvllm.client import ServerClient
from ruvllm.engine_settings import EngineSettings
from ruvllm.hub import NOTHING, Recommended
from ruvllm.text.marks import Rendered
from tests.cli.fake_engine import FakeLLM
from tests.support.scripted_server import Reply, Request, ScriptedServer, answer_events

Written = pytest.CaptureFixture[str]


class Chat:
    """A chat whose lines are given here."""

    def __init__(self, partner: Partner, written: Written) -> None:
        self.partner = partner
        self.terminal = ChatTerminal(partner)
        self._written = written

    def say(self, line: str) -> str:
        """What is answered or noted; the chat goes on."""
        assert self.terminal._handle(line)
        shown = self._written.readouterr()
        return " ".join(f"{shown.out} {shown.err}".split())

    @property
    def history(self) -> list[str]:
        return [str(one["content"]) for one in self.partner.conversation.history]


class ServedChat(Chat):
    """One with a server, which knows what it was sent."""

    def __init__(self, partner: Partner, written: Written, server: ScriptedServer) -> None:
        super().__init__(partner, written)
        self.server = server


Begin = Callable[..., ServedChat]


@pytest.fixture
def chat(model: str, capsys: Written) -> Iterator[Chat]:
    local = LocalOptions(engine=EngineOptions(settings=EngineSettings()), adapters=AdapterOptions())
    with LocalPartner(model, local, None, ChosenSampling(options=SamplingOptions()), quiet=True) as partner:
        yield Chat(partner, capsys)


@pytest.fixture
def behind_server(capsys: Written) -> Iterator[Begin]:
    """Begin a chat with a server that answers each question with the next of some replies."""
    opened: list[ServerClient | ScriptedServer] = []

    def begin(*replies: Reply, owner: str = "somebody", listing: float = 0.0) -> ServedChat:
        coming = iter(replies)
        lists = iter([0.0] * 2 + [listing] * 99)

        def answer(request: Request) -> Reply:
            if request.path == "/v1/models":
                time.sleep(next(lists))
                return Reply.json({"data": [{"id": "one", "owned_by": owner}]})
            return next(coming)

        scripted = ScriptedServer(answer)
        scripted.__enter__()
        client = ServerClient(scripted.url)
        opened.extend([client, scripted])
        partner = ServerPartner(client, None, None, ChosenSampling(options=SamplingOptions()))
        return ServedChat(partner, capsys, scripted)

    yield begin
    for one in opened:
        one.close() if isinstance(one, ServerClient) else one.__exit__(None, None, None)


# -- files


@pytest.mark.parametrize("between", ["/clear", "/load {foreign}"])
def test_what_was_saved_is_not_written_over_by_another_chat(chat: Chat, tmp_path: Path, between: str) -> None:
    foreign = tmp_path / "foreign.json"
    foreign.write_text(json.dumps([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]))
    written = foreign.read_bytes()
    chat.say("hello")
    chat.say("/save first")
    saved = place_of("first").read_bytes()
    chat.say(between.format(foreign=foreign))
    chat.say("another")
    assert "saved to" in chat.say("/save")
    assert (place_of("first").read_bytes(), foreign.read_bytes()) == (saved, written)
    assert len(list(place_of("first").parent.iterdir())) == 2


def test_what_was_loaded_is_saved_again_in_its_place(chat: Chat) -> None:
    chat.say("hello")
    chat.say("/save first")
    chat.say("/clear")
    chat.say("/load first")
    chat.say("more")
    assert "first.json" in chat.say("/save")
    assert len(json.loads(place_of("first").read_text("utf-8"))["messages"]) == 4


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("/save 'it's'", "is no name in quotes"),
        ("/save 'a' 'b'", "is no name in quotes"),
        ("/load 'it's'", "is no name in quotes"),
        ("/save ~nosuchuser/x", "leads nowhere"),
        ("/save ~nosuchuser", "leads nowhere"),
        ("/load ~nosuchuser/x", "leads nowhere"),
        (f"/load {'a' * 300}", "cannot read"),
        (f"/save {'a' * 300}", "cannot write"),
        ("/load a\0b", "cannot read"),
        ("/save a\0b", "cannot write"),
        ("/load \ud800", "cannot read"),
        ("/save \ud800", "cannot write"),
    ],
)
def test_what_is_no_file_is_an_error_of_ours(chat: Chat, line: str, said: str) -> None:
    chat.say("hello")
    answer = chat.say(line)
    assert said in answer
    assert "unexpected" not in answer
    assert chat.history == ["hello", "You said: hello"]


@pytest.mark.skipif(os.geteuid() == 0 if hasattr(os, "geteuid") else True, reason="root may read everything")
def test_a_folder_that_may_not_be_read(chat: Chat, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir()
    closed.chmod(0)
    try:
        assert "cannot read" in chat.say(f"/load {closed}/a.json")
        assert "cannot write" in chat.say(f"/save {closed}/a.json")
    finally:
        closed.chmod(0o700)


def test_a_name_may_stand_in_quotes(chat: Chat) -> None:
    chat.say("hello")
    assert "it's.json" in chat.say('/save "it\'s"')
    assert "a b.json" in chat.say("/save 'a b'")


def test_an_error_that_nobody_foresaw_does_not_end_the_chat(
    chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat.say("hello")

    def broken(*values: object, **more: object) -> None:
        raise ZeroDivisionError("by nothing")

    monkeypatch.setattr(chat.partner.conversation, "stream", broken)
    assert "unexpected ZeroDivisionError: by nothing" in chat.say("again")
    assert chat.history == ["hello", "You said: hello"]


# -- the answer again, and for the clipboard


def streamed(text: str) -> Reply:
    return Reply.stream(answer_events([text]))


def test_an_answer_again_that_fails_leaves_the_one_before(behind_server: Begin) -> None:
    chat = behind_server(streamed("one"), streamed("two"), Reply.error(500, "broken"), streamed("three"))
    chat.say("first")
    chat.say("second")
    said = chat.say("/regenerate")
    assert "broken" in said
    assert "the answer before stays" in said
    assert chat.history == ["first", "one", "second", "two"]
    assert "three" in chat.say("/regenerate")
    assert chat.history == ["first", "one", "second", "three"]


def test_an_answer_again_that_is_stopped_before_its_first_word(
    chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.cli.fake_engine import FakeLLM

    chat.say("hello")

    def stopped(*values: object) -> Iterator[object]:
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(FakeLLM, "_chunks", stopped)
    assert "the answer before stays" in chat.say("/regenerate")
    assert chat.history == ["hello", "You said: hello"]


def copied(chat: Chat) -> str:
    [sent] = re.findall(r"\x1b\]52;c;([A-Za-z0-9+/=]*)\x07", chat.say("/copy"))
    return base64.b64decode(sent).decode()


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("<think>hm</think>\n\nYes.", "Yes."),
        ("\n<think>\nhm\n</think>Write </think> at the end.", "Write </think> at the end."),
        ("Between <think> and </think> it thinks.", "Between <think> and </think> it thinks."),
        ("The tag </think> ends it.", "The tag </think> ends it."),
        ("<think>a</think>b <think>c</think> d", "b <think>c</think> d"),
    ],
)
def test_of_a_servers_answer_only_what_it_begins_with_are_thoughts(
    behind_server: Begin, answer: str, text: str
) -> None:
    chat = behind_server(streamed(answer))
    chat.say("hello")
    assert copied(chat) == text


def test_copy_leaves_out_thoughts_and_nothing_else(chat: Chat) -> None:
    chat.say("hello")
    for answer, text in [
        # As it is shown: such a mark is none of the text, and what stands before it is.
        ("Say </think> and so on.", "Say  and so on."),
        ("<think>hm</think>Yes.", "Yes."),
        ("a <think>hm</think> b", "a\n\nb"),
    ]:
        said = [{"role": "user", "content": "x"}, {"role": "assistant", "content": answer}]
        chat.partner.conversation.restore(said)
        assert copied(chat) == text
    said[1]["content"] = "<think>hm"
    chat.partner.conversation.restore(said)
    assert "only thoughts" in chat.say("/copy")


def test_copy_knows_thoughts_that_the_prompt_began(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.cli.fake_engine import FakeLLM

    monkeypatch.setattr(FakeLLM, "render_chat", lambda llm, messages: Rendered("<assistant><think>\n", {}))
    said = [{"role": "user", "content": "x"}, {"role": "assistant", "content": "Hm.\n</think>\nYes."}]
    chat.partner.conversation.restore(said)
    assert copied(chat) == "Yes."


def test_halves_of_characters_are_copied_and_saved(chat: Chat) -> None:
    said = [{"role": "user", "content": "x\ud83d"}, {"role": "assistant", "content": "a\udc00b"}]
    save_conversation(said, place_of("halves"), model="qwen")
    assert "unexpected" not in chat.say("/load halves")
    assert copied(chat) == "a?b"
    chat.say("/save")
    assert json.loads(place_of("halves").read_bytes().decode())["messages"] == said


# -- what a server is told


def test_what_another_vendors_server_is_not_sent_is_its_choice(behind_server: Begin) -> None:
    chat = behind_server(*[streamed("Hm.")] * 3)

    def sent() -> Any:
        return chat.server.requests[-1].body

    assert "temperature the server's choice" in chat.say("/params")
    chat.say("hello")
    assert "temperature" not in sent()
    assert "temperature: 0.2" in chat.say("/set temperature 0.2")
    assert "temperature 0.2" in chat.say("/params")
    chat.say("hello")
    assert sent()["temperature"] == 0.2
    assert "temperature: the server's choice" in chat.say("/set temperature")
    chat.say("hello")
    assert "temperature" not in sent()


def test_what_is_recommended_is_shown_and_taken_back_to(
    model: str, capsys: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeLLM, "recommended", Recommended(system_prompt="", temperature=0.2))
    local = LocalOptions(engine=EngineOptions(settings=EngineSettings()), adapters=AdapterOptions())
    with LocalPartner(model, local, None, ChosenSampling(options=SamplingOptions()), quiet=True) as partner:
        chat = Chat(partner, capsys)
        told = "recommended temperature 0.2, system prompt '' (empty"
        assert "temperature 0.2" in chat.say("/params")
        assert told in chat.say("/params")
        assert "system prompt: none; recommended: temperature 0.2" in chat.say("/system")
        assert chat.say("/system Be brief.").endswith("system prompt: Be brief.")
        partner.conversation.system_prompt = ""
        assert chat.say("/system").endswith("system prompt: (empty)")
        assert "system prompt: none; recommended" in chat.say("/system none")
        chat.say("/system Be brief.")
        assert "temperature: 0.9" in chat.say("/set temperature 0.9")
        assert "recommended" not in chat.say("/params")
        assert "temperature: 0.2" in chat.say("/set temperature")
        # Another model has its own.
        monkeypatch.setattr(FakeLLM, "recommended", NOTHING)
        chat.say("/set repetition_penalty 1.3")
        chat.say(f"/model {model}")
        shown = chat.say("/params")
        assert "temperature 0.7" in shown
        assert "repetition_penalty 1.3" in shown


def test_what_our_own_server_is_sent_is_shown(behind_server: Begin) -> None:
    chat = behind_server(owner="ruvllm")
    assert "temperature 0.7" in chat.say("/params")


def test_tab_does_not_wait_for_a_server_that_is_silent(behind_server: Begin) -> None:
    chat = behind_server(listing=8.0)
    completer = ChatCompleter(lambda: chat.terminal._commands.table)
    begun = time.monotonic()
    assert [*completer.get_completions(Document("/model o"), CompleteEvent())] == []
    assert time.monotonic() - begun < 6


def test_the_prompt_completes_in_a_thread_of_its_own(
    behind_server: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prompt_toolkit.input import create_pipe_input
    from prompt_toolkit.output import DummyOutput

    chat = behind_server()
    threads: list[threading.Thread] = []
    names = chat.partner.models

    def listened(**terms: float | None) -> list[str]:
        threads.append(threading.current_thread())
        return names(**terms)

    monkeypatch.setattr(chat.partner, "models", listened)
    with create_pipe_input() as keys:
        reader = chat.terminal._reader()
        reader.app.input, reader.app.output = keys, DummyOutput()
        threading.Timer(1.0, lambda: keys.send_text("\r")).start()
        keys.send_text("/model o\t")
        line = reader.prompt("> ")
    assert line == "/model one"
    assert threading.main_thread() not in threads
    assert threads
