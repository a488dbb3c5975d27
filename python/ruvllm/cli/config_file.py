"""Settings from a file: `ruvllm.toml`, in which they have the names of the flags.

    threads = 4                       # of every command that has the flag
    max-context = 8192

    [serve]                           # of `ruvllm serve` alone, and above what stands outside
    models = ["qwen2.5:1.5b"]
    api-key-file = "keys.txt"

Above the file stand variables, and above these flags. It is the one that --config or RUVLLM_CONFIG names,
else the one in the current folder. What is no setting is refused, with those that are nearly called so.
"""

import difflib
import importlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from ruvllm.errors import ConfigError

__all__ = ["CONFIG_FLAG", "CONFIG_VARIABLE", "FILE_NAME", "Commands", "ConfigFile", "setting_names"]

# The same under another name before Python 3.11.
tomllib: Any = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")

FILE_NAME = "ruvllm.toml"
CONFIG_FLAG = "--config"
CONFIG_VARIABLE = "RUVLLM_CONFIG"
MAX_BYTES = 1 << 20

# Whoever unpacks a folder of strangers and stands in it must not send them a key of his.
_ONLY_NAMED = frozenset({"url"})
# Not settings: what names the file itself, and what is answered at once.
_NEVER = frozenset({CONFIG_FLAG, "--help", "--help-all"})
# Arguments, by their names in the code, that a table may have besides flags.
_ARGUMENTS = frozenset({"model", "models"})


class Commands(NamedTuple):
    """What a file may be about.

    Attributes:
        names: The commands, by their first words.
        common_settings: Gives what may stand outside of tables, for which all commands are looked at.
    """

    names: frozenset[str]
    common_settings: Callable[[], set[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigFile:
    """A file of settings.

    Attributes:
        path: Where it lies.
        is_named: Whether somebody named it; else it was found in the current folder.
        values: What it says.
    """

    path: Path
    is_named: bool
    values: Mapping[str, Any]

    @classmethod
    def found(cls, arguments: Sequence[str], environment: Mapping[str, str]) -> "ConfigFile | None":
        """The file that holds for a command line; `ConfigError` where it cannot be read."""
        named = _named(arguments) or environment.get(CONFIG_VARIABLE)
        path = Path(named).expanduser() if named else Path(FILE_NAME)
        if not named and not path.is_file():
            return None
        return cls(path=path, is_named=bool(named), values=_read(path))

    def settings_for(self, command: Sequence[str], parameters: Iterable[Any]) -> dict[str, Any]:
        """What it says of a command, for the parameters by their names in the code.

        Args:
            command: Its words, as `["adapters", "load"]`.
            parameters: The flags and arguments that it has.
        """
        parameters = list(parameters)
        settings: dict[str, Any] = {}
        for table, known in (
            (self._common(), _keys(parameters, is_common=True)),
            (self._table(command), _keys(parameters)),
        ):
            for key, value in table.items():
                if key in known:
                    place = f"{self.path}: {self._place(command, key)}"
                    self._check_may_say(key)
                    settings[known[key].name] = _as_given(value, known[key], place)
        return settings

    def wrong_keys(self, command: Sequence[str], parameters: Iterable[Any]) -> Iterator[str]:
        """What its table of a command has that is no setting of it, each as a sentence.

        The table of a group has settings of none: they stand in those of its commands.
        """
        for length in range(1, len(command)):
            for key in self._table(command[:length]):
                yield f"{self.path}: {self._place(command[:length], key)} is no setting: a command has some"
        known = _keys(list(parameters))
        for key in self._table(command):
            if key not in known:
                yield f"{self.path}: {self._place(command, key)} is no setting{_near(key, known)}"

    def common_keys(self) -> list[str]:
        """What stands outside of tables."""
        return list(self._common())

    def tables(self) -> Iterator[tuple[str, ...]]:
        """The commands that it has tables of, by their words."""
        waiting: list[tuple[tuple[str, ...], Any]] = [((), self.values)]
        while waiting:
            words, table = waiting.pop(0)
            inner = [((*words, key), value) for key, value in table.items() if isinstance(value, dict)]
            yield from (called for called, _ in inner)
            waiting += inner

    def wrong_common_key(self, key: str, known: Iterable[str]) -> str:
        """That no command has a flag of this name, as a sentence."""
        return f"{self.path}: {key} is no setting of any command{_near(key, known)}"

    def wrong_table(self, words: Sequence[str], known: Iterable[Sequence[str]]) -> str:
        """That no command is called as a table is, as a sentence."""
        called = [".".join(one) for one in known]
        return f"{self.path}: [{'.'.join(words)}] is no command{_near('.'.join(words), called)}"

    def _common(self) -> dict[str, Any]:
        return {key: value for key, value in self.values.items() if not isinstance(value, dict)}

    def _table(self, command: Sequence[str]) -> dict[str, Any]:
        table: Any = self.values
        for word in command:
            table = table.get(word, {})
            if not isinstance(table, dict):
                return {}
        return {key: value for key, value in table.items() if not isinstance(value, dict)}

    def _place(self, command: Sequence[str], key: str) -> str:
        return f"[{'.'.join(command)}] {key}" if key in self._table(command) else key

    def _check_may_say(self, key: str) -> None:
        if key in _ONLY_NAMED and not self.is_named:
            raise ConfigError(
                f"{self.path}: {key} is taken from a file that is named alone, since keys are sent there: "
                f"{CONFIG_FLAG} {self.path}, or {CONFIG_VARIABLE}={self.path}"
            )


def setting_names(parameters: Iterable[Any]) -> set[str]:
    """What a file may say outside of tables, of a command with these parameters."""
    return set(_keys(list(parameters), is_common=True))


def _keys(parameters: Sequence[Any], *, is_common: bool = False) -> dict[str, Any]:
    """Parameters by what a file calls them. What has a variable of its own is of one command alone."""
    known: dict[str, Any] = {}
    for one in parameters:
        flag = one.opts[0]
        if flag in _NEVER or (not flag.startswith("--") and flag not in _ARGUMENTS):
            continue
        key = flag.removeprefix("--")
        if not is_common or one.envvar == f"RUVLLM_{key.upper().replace('-', '_')}":
            known.setdefault(key, one)
            if flag.startswith("--"):  # `chat` has an argument `model` as well
                known[key] = one
    return known


def _named(arguments: Sequence[str]) -> str | None:
    """What --config says on a command line; the last one holds, as for all flags."""
    before_dashes = arguments[: arguments.index("--")] if "--" in arguments else arguments
    found = None
    for argument, following in pairwise([*before_dashes, ""]):
        if argument.startswith(f"{CONFIG_FLAG}="):
            found = argument.partition("=")[2]
        elif argument == CONFIG_FLAG:
            found = following
    return found


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"the settings of {path} cannot be read: {error.strerror or error}") from error
    if len(content) > MAX_BYTES:
        raise ConfigError(f"{path} is larger than {MAX_BYTES} bytes, and no file of settings")
    try:
        values: dict[str, Any] = tomllib.loads(content.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is no TOML: {error}") from error
    return values


def _as_given(value: Any, parameter: Any, place: str) -> Any:
    """A value as the command line would have it, so that it is read and refused alike."""
    if getattr(parameter, "is_flag", False):
        if not isinstance(value, bool):
            raise ConfigError(f"{place} is {value!r}; it must be true or false")
        return value
    takes_several = getattr(parameter, "multiple", False) or parameter.nargs != 1
    if isinstance(value, list):
        if not takes_several:
            raise ConfigError(f"{place} is a list; it takes one value")
        return [_text(one, place) for one in value]
    return [_text(value, place)] if takes_several else _text(value, place)


def _text(value: Any, place: str) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ConfigError(f"{place} is {str(value)!r}; it must be a text or a number")
    return str(value)


def _near(key: str, known: Iterable[str]) -> str:
    meant = difflib.get_close_matches(key.replace("_", "-"), list(known), n=3)
    return f": did you mean {' or '.join(map(repr, meant))}?" if meant else ""
