"""`{settings}` in a docstring becomes what each setting says of itself, as when the package runs.

An extension of griffe, which reads the sources and runs nothing of them.
"""

import ast
import re
from typing import Any, cast

import griffe

# A line of its own: elsewhere it is spoken of.
PLACE = re.compile(r"^(?P<indent>[ ]*)\{settings\}$", re.M)
# The groups whose settings are flags of `ruvllm serve`.
OF_COMMANDS = ("EngineSettings", "ServerSettings")


class SettingsTold(griffe.Extension):
    """Fills in docstrings once the package is read."""

    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:
        """Look at every class and function of it."""
        for one in _objects(pkg):
            if one.docstring is not None and (place := PLACE.search(one.docstring.value)):
                group = _group(one, pkg)
                # Of a class each is an attribute; of a function all are one argument, with a list of them.
                shape = "{}: {}" if one.is_class else "- `{}`: {}"
                told = [place["indent"] + shape.format(*each) for each in _settings(group)]
                told = told if one.is_class else ["", *told]
                before, after = one.docstring.value[: place.start()], one.docstring.value[place.end() :]
                one.docstring.value = before + "\n".join(told) + after


def _objects(parent: Any) -> Any:
    for member in parent.members.values():
        if not member.is_alias:
            yield member
            if member.is_module or member.is_class:
                yield from _objects(member)


def _group(one: Any, pkg: griffe.Module) -> Any:
    """The class whose settings it takes: itself, or the one that its decorator names."""
    if one.is_class:
        return one
    decorator = next(str(each.value) for each in one.decorators if "takes_settings" in str(each.value))
    name = decorator.partition("(")[2].rstrip(")")
    return pkg["engine_settings"][name] if name == "EngineSettings" else one.module[name]


def _settings(group: Any) -> list[tuple[str, str]]:
    """What each says, and which flag and variable it is: so a search finds it by any of its names."""
    found = []
    for name, member in group.members.items():
        value = str(member.value) if getattr(member, "value", None) is not None else ""
        if value.startswith("setting("):
            call = cast("ast.Call", ast.parse(value, mode="eval").body)
            told = {word.arg: word.value for word in call.keywords}
            help_text = call.args[1] if len(call.args) > 1 else told["help"]
            said = " ".join(ast.literal_eval(help_text).split())
            if group.name in OF_COMMANDS and "has_flag" not in told:
                said += f" (`--{name.replace('_', '-')}`, `RUVLLM_{name.upper()}`)"
            found.append((name, said))
    if not found:
        raise SystemExit(f"{group.path} has no settings")
    return found
