"""Conversations as files: in a folder of their own by a name, or anywhere by a path."""

import json
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ruvllm.whole_file as whole_file
from ruvllm.errors import ConfigError, IoError, NotFoundError
from ruvllm.hub import state_folder

__all__ = [
    "SavedChat",
    "found",
    "load_conversation",
    "newest",
    "place_of",
    "place_of_new",
    "save_conversation",
    "saved",
]

ENDING = ".json"
# Far above what people write; a file that is larger is something else.
MAX_BYTES = 64 * 1024**2


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedChat:
    """What a file holds: the messages, and the model that they were with, where it says so.

    What `save_conversation` wrote says so; a list from elsewhere does not.
    """

    messages: Sequence[Mapping[str, Any]]
    model: str | None


def place_of(name: str) -> Path:
    """The file of a name: in the folder of saved chats, or where a path says."""
    if Path(name).name != name or name.startswith("~"):
        return _whole_path(name)
    return _folder() / (name if name.endswith(ENDING) else f"{name}{ENDING}")


def found(name: str) -> Path:
    """The file of a name where there is one, and else what is called so in the folder one is in."""
    path = place_of(name)
    return path if os.path.exists(path) else _whole_path(name)


def place_of_new() -> Path:
    """A file for a chat that has no name."""
    return _folder() / time.strftime(f"chat-%Y%m%d-%H%M%S{ENDING}")


def saved() -> list[str]:
    """The names in the folder of saved chats, the newest first."""
    return [path.stem for path in _newest_first()]


def newest() -> Path:
    """The chat that was saved last, of those in the folder."""
    for path in _newest_first():
        return path
    raise NotFoundError(f"no chat is saved in {str(_folder())!r}; in a chat, /save does it")


def save_conversation(messages: Sequence[Mapping[str, Any]], path: Path, *, model: str) -> None:
    """Write the messages as JSON, into a file of the user's own."""
    text = json.dumps({"model": model, "messages": list(messages)}, ensure_ascii=False, indent=2)
    try:
        if path.parent == _folder():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with whole_file.replacing(path) as file:
            # Halves of characters, which UTF-8 has not, become escapes of JSON.
            file.write(f"{text}\n".encode(errors="backslashreplace"))
    except (OSError, ValueError) as error:
        raise IoError(f"cannot write {str(path)!r}: {_why(error)}") from error


def load_conversation(path: Path) -> SavedChat:
    """Read what `save_conversation` wrote; a list of messages alone will do."""
    try:
        with whole_file.open_regular(path) as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise IoError(f"cannot read {str(path)!r}: {_why(error)}") from error
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{str(path)!r} is no saved chat: it has more than {MAX_BYTES} bytes")
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{str(path)!r} is no saved chat: {error}") from error
    fields = {"messages": value} if isinstance(value, list) else value
    messages = fields.get("messages") if isinstance(fields, dict) else None
    if not isinstance(messages, list):
        raise ConfigError(f"{str(path)!r} is no saved chat: there is no list of messages in it")
    model = fields.get("model")
    return SavedChat(messages=messages, model=model if isinstance(model, str) else None)


def _folder() -> Path:
    return state_folder() / "chats"


def _whole_path(name: str) -> Path:
    try:
        return Path(name).expanduser().absolute()
    except (OSError, RuntimeError) as error:  # no such user, or the folder one is in is gone
        raise ConfigError(f"{name!r} leads nowhere: {error}") from error


def _why(error: OSError | ValueError) -> str:
    """What the system says; a name with a zero or half a character in it never gets so far."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _newest_first() -> list[Path]:
    times: dict[Path, float] = {}
    with suppress(OSError):  # there is no folder yet
        for path in _folder().iterdir():
            with suppress(OSError):  # a link to nothing is no chat, and the others are
                if path.suffix == ENDING:
                    times[path] = path.stat().st_mtime
    return sorted(times, key=lambda path: times[path], reverse=True)
