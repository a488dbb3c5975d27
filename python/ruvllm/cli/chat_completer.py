"""What TAB completes in a chat: commands, and what stands behind them."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document

from ruvllm.cli.chat_commands import EXITS, Command
from ruvllm.errors import RuvLLMError

__all__ = ["ChatCompleter"]

# Behind these a file may stand.
WITH_FILES = ("/load", "/save")


class ChatCompleter(Completer):
    """Completes the line up to the cursor."""

    def __init__(self, commands: Callable[[], Mapping[str, Command]]) -> None:
        self._commands = commands
        self._paths = PathCompleter(expanduser=True)

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """What could stand at the cursor."""
        line = document.text_before_cursor
        if not line.startswith("/") or "\n" in line:
            return
        name, blank, rest = line.partition(" ")
        commands = self._commands()
        if not blank:
            meanings = {known: command.does for known, command in commands.items()} | {EXITS[0]: ""}
            for known, does in meanings.items():
                if known.startswith(name):
                    yield Completion(known, -len(name), display_meta=does)
            return
        if name not in commands:
            return
        for value in _values(commands[name], rest):
            if value.startswith(rest):
                yield Completion(value, -len(rest))
        if name in WITH_FILES and Path(rest).name != rest:
            yield from self._paths.get_completions(Document(rest), complete_event)


def _values(command: Command, begun: str) -> Iterable[str]:
    try:
        return list(command.values(begun))
    except RuvLLMError:  # a server that is gone offers no models
        return []
