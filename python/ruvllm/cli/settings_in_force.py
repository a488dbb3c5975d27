"""Which settings hold for a command, and where each comes from: a flag, a variable, a file, or nowhere.

A file of settings is taken before the command line is read: what it says stands in the place of defaults.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import typer

from ruvllm._settings import SettingInForce
from ruvllm.cli import terminal
from ruvllm.cli.config_file import Commands, ConfigFile, setting_names
from ruvllm.errors import ConfigError

__all__ = ["file_of", "in_force", "naming_the_file", "take_file", "tell_of_file"]

_FILE = "ruvllm.config_file"
_HIDDEN = "(set)"


def take_file(context: Any, arguments: Sequence[str]) -> None:
    """Have a command's defaults be what a file says; ends the command where that cannot be."""
    try:
        file = ConfigFile.found(arguments, os.environ)
        if file is None:
            return
        words, parameters = _words(context), context.command.params
        commands: Commands = context.obj
        tables = [
            one
            for one in file.tables()
            if one[0] not in commands.names or (len(one) > len(words) and list(one[: len(words)]) == words)
        ]
        wrong = [file.wrong_table(one, [[name] for name in sorted(commands.names)]) for one in tables]
        wrong += file.wrong_keys(words, parameters)
        own = setting_names(parameters)
        if strange := [key for key in file.common_keys() if key not in own]:
            # It may be a setting of another command: only then all of them are looked at.
            known = commands.common_settings()
            wrong += [file.wrong_common_key(key, known) for key in strange if key not in known]
        if wrong:
            raise ConfigError("; ".join(wrong))
        context.default_map = file.settings_for(words, parameters)
        context.meta[_FILE] = file
    except ConfigError as error:
        context.fail(error.message.removeprefix(f"{error.prefix}: "))


@contextmanager
def naming_the_file(context: Any) -> Iterator[None]:
    """What is wrong with a value says where it stands, where that is a file."""
    try:
        yield
    except typer.BadParameter as error:
        file, parameter = file_of(context), error.param
        if file is not None and parameter is not None and _is_from_file(context, parameter):
            error.message += f" (in {file.path})"
        raise


def tell_of_file(context: Any) -> None:
    """Say that a file counts which nobody named: it may lie there by chance."""
    file = file_of(context)
    if file is None or file.is_named or context.params.get("quiet"):
        return
    if told := [one.name for one in in_force(context) if one.source == str(file.path)]:
        terminal.note(f"{file.path} in this folder says {', '.join(told)}")


def file_of(context: Any) -> ConfigFile | None:
    """The file that a command was told."""
    file: ConfigFile | None = context.meta.get(_FILE)
    return file


def in_force(context: Any) -> list[SettingInForce]:
    """The settings of a command that runs, in the order of its flags; keys are not shown."""
    return list(_in_force(context))


def _words(context: Any) -> list[str]:
    """The words that call a command, without the program's name."""
    words: list[str] = []
    while context is not None and context.parent is not None:
        words.insert(0, context.info_name or "")
        context = context.parent
    return words


def _in_force(context: Any) -> Iterator[SettingInForce]:
    for parameter in context.command.params:
        name = parameter.opts[0]
        if name in ("--help", "--config"):
            continue
        value = context.params.get(parameter.name)
        if value is not None and name.endswith("-key"):
            value = _HIDDEN
        yield SettingInForce(name.removeprefix("--"), value, _source(context, parameter))


def _source(context: Any, parameter: Any) -> str:
    source = context.get_parameter_source(parameter.name)
    if source is not None and source.name == "ENVIRONMENT":
        return str(parameter.envvar)
    if (file := file_of(context)) is not None and _is_from_file(context, parameter):
        return str(file.path)
    return "flag" if source is not None and source.name == "COMMANDLINE" else "default"


def _is_from_file(context: Any, parameter: Any) -> bool:
    source = context.get_parameter_source(parameter.name)
    return source is not None and source.name == "DEFAULT_MAP"
