"""The interactive chat: prompt_toolkit reads, rich writes. Ctrl-C stops the answer, not the program."""

from asyncio import CancelledError

from prompt_toolkit import PromptSession
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

import ruvllm.whole_file as whole_file
from ruvllm.cli import terminal
from ruvllm.cli.chat_commands import EXITS, ChatCommands
from ruvllm.cli.chat_completer import ChatCompleter
from ruvllm.cli.partner import Partner
from ruvllm.cli.showing import show_answer
from ruvllm.cli.streaming import Answer
from ruvllm.errors import RuvLLMError
from ruvllm.hub import state_folder

__all__ = ["ChatTerminal"]

# What the greeting says beside the name, the first that there is room for.
HINTS = ("/help lists the commands, Ctrl-D ends", "/help, Ctrl-D ends", "/help")
LEAST_TITLE = 12


class ChatTerminal:
    """One chat session; `run` returns when the user ends it."""

    def __init__(self, partner: Partner) -> None:
        self._partner = partner
        self._answers: list[Answer] = []
        self._commands = ChatCommands(partner, self._answers, self._answer, _agrees)

    def run(self, *, resume: bool = False) -> None:
        """Read and answer until Ctrl-D or /exit; with `resume` go on with the chat that was saved last."""
        terminal.note(_greeting(self._partner.title))
        if resume:
            self._commands.resume()
        reader = self._reader()
        while True:
            try:
                line = reader.prompt(FormattedText([("bold", "> ")])).strip()
            # Where the key comes before the prompt listens, asyncio makes a cancellation of the signal.
            except (KeyboardInterrupt, CancelledError):
                terminal.note("Ctrl-D or /exit ends the chat")
                continue
            except EOFError:
                return
            if line and not self._handle(line):
                return

    def _handle(self, line: str) -> bool:
        """Do what a line asks for; false ends the chat."""
        try:
            if not line.startswith("/"):
                self._answer(line)
            elif line.split(maxsplit=1)[0] in EXITS:
                return False
            else:
                self._commands.run(line)
        except RuvLLMError as error:
            terminal.error(str(error))
        except Exception as error:  # noqa: BLE001  shown, and what was said is not lost
            terminal.error(f"unexpected {type(error).__name__}: {error}")
        except KeyboardInterrupt:
            # While a server is silent; in the middle of an answer it is the answer that stops.
            terminal.note("stopped")
        return True

    def _answer(self, question: str) -> None:
        conversation = self._partner.conversation
        dropped = conversation.dropped_turns
        answer = show_answer(lambda: conversation.stream(question), self._partner.parser, for_editor=True)
        self._answers.append(answer)
        terminal.note(answer.summary())
        now = conversation.dropped_turns
        if now > dropped:
            terminal.note(f"the context is full: the model no longer sees the first {now} turns")

    def _reader(self) -> "PromptSession[str]":
        bindings = KeyBindings()

        @bindings.add("escape", "enter")
        def _(event: KeyPressEvent) -> None:
            event.current_buffer.insert_text("\n")

        return PromptSession(
            history=_history(),
            key_bindings=bindings,
            completer=ChatCompleter(lambda: self._commands.table),
            complete_while_typing=False,
            complete_in_thread=True,  # a server may be asked
            enable_open_in_editor=True,
        )


def _greeting(title: str) -> str:
    """Who answers and what to do, in one line: of a title that is too long for it, the end is left out."""
    width = terminal.err().width
    needed = min(len(title), LEAST_TITLE)
    hint = next((one for one in HINTS if width - len(f". {one}.") >= needed), HINTS[-1])
    room = max(1, width - len(f". {hint}."))
    shown = title if len(title) <= room else f"{title[: room - 1]}…"
    return f"{shown}. {hint}."


def _agrees(question: str) -> bool:
    """Ask whoever sits there; no answer is none."""
    try:
        said: str = PromptSession[str](history=InMemoryHistory()).prompt(f"{question} [y/N] ")
    except (KeyboardInterrupt, CancelledError, EOFError):
        return False
    return said.strip().lower() in ("y", "yes")


def _history() -> History:
    path = state_folder() / "chat_history"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        whole_file.open_regular(path).close()  # it is waited for below
    except OSError as error:
        terminal.note(f"no history: {error}")
        return InMemoryHistory()
    return FileHistory(path)
