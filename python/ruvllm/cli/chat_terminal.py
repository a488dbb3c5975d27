"""The interactive chat: prompt_toolkit reads, rich writes. Ctrl-C stops the answer, not the program."""

import os
import shlex
import time
from asyncio import CancelledError
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import WordCompleter
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

import ruvllm.whole_file as whole_file
from ruvllm.cli import terminal
from ruvllm.cli.partner import Command, Partner
from ruvllm.cli.saved_chats import save_conversation
from ruvllm.cli.streaming import Answer, stream_answer
from ruvllm.errors import RuvLLMError
from ruvllm.hub import state_folder

__all__ = ["ChatTerminal"]

_ANSWER_STYLE = "cyan"
_EXITS = ("/exit", "/quit", "/bye")


class ChatTerminal:
    """One chat session; `run` returns when the user ends it."""

    def __init__(self, partner: Partner) -> None:
        self._partner = partner
        self._session = partner.conversation
        self._answers: list[Answer] = []
        self._saved: set[Path] = set()
        self._commands: dict[str, Command] = {
            "/help": ("this list", self._help),
            "/clear": ("forget what was said", self._clear),
            "/system": ("[TEXT] show or set the system prompt", self._system),
            "/regenerate": ("answer the last question again", self._regenerate),
            "/stats": ("tokens, speed, memory", self._stats),
            "/save": ("FILE write the conversation as JSON", self._save),
            **partner.commands,
        }

    def run(self) -> None:
        """Read and answer until Ctrl-D or /exit."""
        terminal.note(
            f"{self._partner.name}. Enter sends, Alt-Enter: new line, Ctrl-C stops an answer, /help, "
            "Ctrl-D ends."
        )
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
                return True
            name, _, rest = line.partition(" ")
            if name in _EXITS:
                return False
            self._command(name, rest.strip())
        except RuvLLMError as error:
            terminal.error(str(error))
        except KeyboardInterrupt:
            # While a server is silent; in the middle of an answer it is the answer that stops.
            terminal.note("stopped")
        return True

    def _command(self, name: str, rest: str) -> None:
        if name in self._commands:
            self._commands[name][1](rest)
        else:
            terminal.note(f"no command {name}; there are {' '.join([*self._commands, _EXITS[0]])}")

    def _answer(self, question: str) -> None:
        dropped = self._session.dropped_turns
        answer = stream_answer(
            self._session.stream(question),
            write=lambda text: terminal.print_text(text, style=_ANSWER_STYLE),
        )
        terminal.print_text("\n")
        self._answers.append(answer)
        terminal.note(answer.summary())
        now = self._session.dropped_turns
        if now > dropped:
            terminal.note(f"the context is full: the model no longer sees the first {now} turns")

    def _help(self, rest: str) -> None:
        texts = [(name, text) for name, (text, _) in self._commands.items()]
        terminal.show_pairs([*texts, (_EXITS[0], "end the chat")])

    def _clear(self, rest: str) -> None:
        self._session.reset()
        terminal.note("forgotten")

    def _system(self, rest: str) -> None:
        if rest:
            self._session.system_prompt = rest
        terminal.note(f"system prompt: {self._session.system_prompt or 'none'}")

    def _regenerate(self, rest: str) -> None:
        if self._session.history and self._session.history[-1]["role"] == "assistant":
            self._answer(self._session.undo())
        else:
            terminal.note("nothing was asked yet")

    def _stats(self, rest: str) -> None:
        done = [answer for answer in self._answers if answer.usage and answer.timings]
        made = sum(answer.usage.completion_tokens for answer in done if answer.usage)
        read = sum(answer.usage.prompt_tokens for answer in done if answer.usage)
        seconds = sum(answer.timings.total_seconds for answer in done if answer.timings)
        terminal.show_pairs(
            [
                ("answers", str(len(self._answers))),
                ("prompt tokens", str(read)),
                ("answer tokens", str(made)),
                ("tokens/s, prompts included", f"{made / seconds:.1f}" if seconds else "-"),
                *self._partner.memory(),
            ]
        )

    def _save(self, rest: str) -> None:
        name = (shlex.split(rest) if rest.startswith(("'", '"')) else [rest])[0] if rest else ""
        if not name:
            name = time.strftime("chat-%Y%m%d-%H%M%S.json")
        path = Path(name).expanduser().absolute()
        if os.path.lexists(path) and path not in self._saved:
            terminal.error(f"{str(path)!r} exists; give another name")
            return
        save_conversation(self._session.history, path)
        self._saved.add(path)
        terminal.note(f"saved to {path}")

    def _reader(self) -> "PromptSession[str]":
        bindings = KeyBindings()

        @bindings.add("escape", "enter")
        def _(event: KeyPressEvent) -> None:
            event.current_buffer.insert_text("\n")

        return PromptSession(
            history=_history(),
            key_bindings=bindings,
            completer=WordCompleter([*self._commands, _EXITS[0]], sentence=True),
            complete_while_typing=False,
            enable_open_in_editor=True,
        )


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
