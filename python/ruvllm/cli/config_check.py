"""All that a file of settings says, held against all commands: what `ruvllm doctor` tells of it."""

from collections.abc import Iterator
from typing import Any

from ruvllm.cli.app import commands_by_words, common_setting_names
from ruvllm.cli.config_file import ConfigFile
from ruvllm.errors import ConfigError

__all__ = ["problems_of"]


def problems_of(file: ConfigFile) -> Iterator[str]:
    """What of a file is wrong, each as a sentence."""
    common = common_setting_names()
    for key in file.common_keys():
        if key not in common:
            yield file.wrong_common_key(key, common)
    commands: dict[tuple[str, ...], Any] = commands_by_words()
    for words in file.tables():
        if words not in commands:
            yield file.wrong_table(words, commands)
            continue
        parameters = commands[words].params
        yield from file.wrong_keys(words, parameters)
        try:
            file.settings_for(words, parameters)
        except ConfigError as error:
            yield error.message.removeprefix(f"{error.prefix}: ")
