"""The commands of a chat: lines that begin with a slash."""

import os
import shlex
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ruvllm.cli import sampling_choices, saved_chats, terminal
from ruvllm.cli.partner import Agrees, Partner
from ruvllm.cli.streaming import Answer
from ruvllm.errors import ConfigError

if TYPE_CHECKING:
    from ruvllm.text.response import ResponseParser

__all__ = ["EXITS", "ChatCommands", "Command"]

EXITS = ("/exit", "/quit", "/bye")
# Whoever presses TAB waits no longer for a server's list of models.
OFFERED_WITHIN_SECONDS = 2.0
KEYS = (
    ("Enter", "send; Alt-Enter begins a new line"),
    ("TAB", "complete a command, or what stands behind it"),
    ("Ctrl-C", "stop an answer"),
    ("Ctrl-D", "end the chat, as /exit does"),
)


class Command(NamedTuple):
    """What stands behind it, what it does, what does it with the rest of the line.

    `values` gives what the rest could be, for TAB, of what there is of it.
    """

    takes: str
    does: str
    run: Callable[[str], None]
    values: Callable[[str], Iterable[str]] = lambda begun: ()


class ChatCommands:
    """What the commands do; `answer` asks a question, `agrees` whoever sits there, `answers` is what came."""

    def __init__(
        self, partner: Partner, answers: list[Answer], answer: Callable[[str], None], agrees: Agrees
    ) -> None:
        self._partner = partner
        self._answers = answers
        self._answer = answer
        self._agrees = agrees
        self._file: Path | None = None
        self.table: Mapping[str, Command] = {
            "/help": Command("", "this list", self._help),
            "/model": Command("[NAME]", "show models, or go on with another", self._model, self._names),
            "/system": Command("[TEXT]", "show or set the system prompt; TEXT may be none", self._system),
            "/params": Command("", "how answers are made", self._params),
            "/set": Command(
                "NAME VALUE",
                "change one of these; without VALUE back",
                self._set,
                sampling_choices.completions,
            ),
            "/regenerate": Command("", "answer the last question again", self._regenerate),
            "/undo": Command("", "take the last question and its answer back", self._undo),
            "/clear": Command("", "forget what was said", self._clear),
            "/copy": Command("", "give the last answer to the terminal's clipboard", self._copy),
            "/save": Command("[NAME or FILE]", "keep the conversation", self._save, _saved),
            "/load": Command("NAME or FILE", "go on with one that was saved", self._load, _saved),
            "/stats": Command("", "tokens, speed, memory", self._stats),
        }

    def run(self, line: str) -> None:
        """Do what a line asks for."""
        name, _, rest = line.partition(" ")
        if name in self.table:
            self.table[name].run(rest.strip())
        else:
            terminal.note(f"no command {name}; there are {' '.join([*self.table, EXITS[0]])}")

    def resume(self) -> None:
        """Go on with the chat that was saved last; a system prompt that was given here is above its own."""
        conversation = self._partner.conversation
        given = conversation.system_prompt
        self._restore(saved_chats.newest())
        if given is not None:
            conversation.system_prompt = given

    def _help(self, rest: str) -> None:
        commands = [(f"{name} {one.takes}", one.does) for name, one in self.table.items()]
        terminal.show_pairs([*commands, (" ".join(EXITS), "end the chat"), *KEYS])

    # -- with whom, and how

    def _model(self, rest: str) -> None:
        partner = self._partner
        if rest:
            partner.change_model(rest, self._agrees)
            terminal.note(f"model: {partner.model}")
            return
        rows = [("model", partner.model), ("at hand", ", ".join(partner.models()) or "none")]
        if others := partner.others():
            rows.append(("to fetch", ", ".join(others)))
        terminal.show_pairs(rows)

    def _names(self, begun: str) -> list[str]:
        return [*self._partner.models(within_seconds=OFFERED_WITHIN_SECONDS), *self._partner.others()]

    def _system(self, rest: str) -> None:
        conversation = self._partner.conversation
        if rest:
            conversation.system_prompt = None if rest == sampling_choices.NONE else rest
        if conversation.system_prompt is not None:
            terminal.note(f"system prompt: {conversation.system_prompt or '(empty)'}")
            return
        recommended = self._partner.recommended()
        terminal.note(f"system prompt: none{f'; recommended: {recommended}' if recommended else ''}")

    def _params(self, rest: str) -> None:
        recommended = self._partner.recommended()
        rows = [("recommended", recommended)] if recommended else []
        terminal.show_pairs([*self._sampling(), *rows])

    def _set(self, rest: str) -> None:
        name, _, value = rest.partition(" ")
        if not name:
            raise ConfigError("/set takes a name and a value, as in /set temperature 0.2; /params has them")
        choice = sampling_choices.choice_named(name)
        sampling = sampling_choices.changed(self._partner.sampling, choice, value.strip())
        self._partner.set_sampling(sampling, choice, is_given=bool(value.strip()))
        terminal.note(f"{choice}: {dict(self._sampling())[choice]}")
        if needed := sampling.without_effect(choice):
            terminal.note(f"{choice} does nothing yet: /set {' '.join(needed)} turns on what it is of")

    def _sampling(self) -> list[tuple[str, str]]:
        return sampling_choices.shown(self._partner.sampling, self._partner.unsaid())

    # -- what was said

    def _regenerate(self, rest: str) -> None:
        conversation = self._partner.conversation
        before = conversation.history
        if not before or before[-1]["role"] != "assistant":
            terminal.note("nothing was asked yet")
            return
        try:
            self._answer(conversation.undo())
        finally:
            # It failed, or was stopped before the first word.
            if len(conversation.history) < len(before):
                conversation.restore(before)
                terminal.note("the answer before stays")

    def _undo(self, rest: str) -> None:
        terminal.note(f"taken back: {_short(self._partner.conversation.undo())}")

    def _clear(self, rest: str) -> None:
        self._partner.conversation.reset()
        self._file = None
        terminal.note("forgotten")

    def _copy(self, rest: str) -> None:
        last = self._partner.conversation.history[-1:]
        if not last or last[0]["role"] != "assistant":
            terminal.note("there is no answer yet")
            return
        text = _said(self._partner.parser_of_last(), last[0]["content"])
        if not text:
            terminal.note("there are only thoughts yet")
            return
        terminal.copy(text)
        inside = "; tmux passes it on with `set -g set-clipboard on`" if os.environ.get("TMUX") else ""
        terminal.note(
            f"{len(text)} characters were sent to the terminal's clipboard (OSC 52), which not every "
            f"terminal takes{inside}"
        )

    # -- files

    def _save(self, rest: str) -> None:
        name = _unquoted(rest)
        path = saved_chats.place_of(name) if name else self._file or saved_chats.place_of_new()
        if os.path.lexists(path) and path != self._file:
            terminal.error(f"{str(path)!r} exists; give another name")
            return
        history = self._partner.conversation.history
        saved_chats.save_conversation(history, path, model=self._partner.model)
        self._file = path
        terminal.note(f"saved to {path}")

    def _load(self, rest: str) -> None:
        if not rest:
            names = ", ".join(saved_chats.saved()) or "none"
            raise ConfigError(f"/load takes the name or the file of a chat that was saved; by name: {names}")
        self._restore(saved_chats.found(_unquoted(rest)))

    def _restore(self, path: Path) -> None:
        chat = saved_chats.load_conversation(path)
        conversation = self._partner.conversation
        conversation.restore(list(chat.messages))
        # A list from elsewhere is somebody else's file, and not written over.
        self._file = path if chat.model is not None else None
        questions = [one["content"] for one in conversation.history if one["role"] == "user"]
        last = f"; the last question was: {_short(questions[-1])}" if questions else ""
        terminal.note(f"{path.stem}: {_count(len(questions), 'turn')}{last}")
        if chat.model and chat.model != self._partner.model:
            terminal.note(f"it was with {chat.model}, and goes on with {self._partner.model}")

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


def _said(parser: "ResponseParser | None", text: str) -> str:
    """An answer without its thoughts; what stands before and behind some is parted as it is shown."""
    from ruvllm.text.response import Content, Reasoning

    said = [""]
    for part in [*parser.feed(text), *parser.end()] if parser else [Content(text)]:
        if isinstance(part, Content):
            said[-1] += part.text
        elif isinstance(part, Reasoning):
            said.append("")
    return "\n\n".join(filter(None, said)).strip()


def _saved(begun: str) -> list[str]:
    return saved_chats.saved()


def _unquoted(text: str) -> str:
    """A file's name that may stand in quotes."""
    if len(text) < 2 or text[0] not in "'\"" or text[-1] != text[0]:
        return text
    try:
        [name] = shlex.split(text)
    except ValueError:
        raise ConfigError(
            f"{text} is no name in quotes; leave those around it out, or write {shlex.quote(text[1:-1])}"
        ) from None
    return name


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else f"{line[:59]}…"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
