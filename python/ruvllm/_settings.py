"""Settings that are spelt once: a field of a dataclass says its default, its help and its bounds.

All that tells a setting to somebody follows from its field: the check of a value, the flag of the command
line with its variable and its help, the keywords and the docstring of what takes it as `**settings`. A new
one is a new field; what does not follow by itself, a test asks for.
"""

import inspect
import os
import textwrap
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

from ruvllm._checks import Interval, check_integer, check_number, check_type
from ruvllm.errors import ConfigError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = [
    "Setting",
    "SettingInForce",
    "check_settings",
    "described",
    "of_this_machine",
    "setting",
    "settings_of",
    "takes_settings",
]

Value = TypeVar("Value")
Function = TypeVar("Function", bound=Callable[..., Any])
Class = TypeVar("Class", bound="type[DataclassInstance]")
Group = TypeVar("Group", bound="DataclassInstance")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What there is to say of one setting.

    Attributes:
        name: Its keyword; `kv_format` is also `--kv-format` and `RUVLLM_KV_FORMAT`.
        default: What holds where nothing is said; `None` leaves the choice to whoever uses it.
        annotation: Its type, as it is written.
        help: A sentence or two, for every face alike.
        short: The flag of one letter; `""` is none.
        has_flag: Whether the command line has it; what one line cannot say has none.
        bounds: The least integer, or the numbers that it may be; `None` where there is nothing to count.
        of_machine: Whether it is about the machine and not the program. Such a variable is read by the
            library itself, where the program leaves the choice open; all others are the command line's.
    """

    name: str
    default: Any
    annotation: Any
    help: str
    short: str
    has_flag: bool
    bounds: int | Interval | None
    of_machine: bool

    @property
    def flags(self) -> tuple[str, ...]:
        """Its flags, the long one first."""
        long = "--" + self.name.replace("_", "-")
        return (long, self.short) if self.short else (long,)

    @property
    def variable(self) -> str:
        """The variable of the environment that stands for the flag."""
        return f"RUVLLM_{self.name.upper()}"

    @property
    def kinds(self) -> tuple[Any, ...]:
        """The types that a value may have; `None` is not among them."""
        is_union = typing.get_origin(self.annotation) in (typing.Union, types.UnionType)
        members = typing.get_args(self.annotation) if is_union else (self.annotation,)
        return tuple(one for one in members if one is not type(None))

    @property
    def choices(self) -> tuple[str, ...]:
        """The texts that it may be; none where any may, or where the engine says which a machine has."""
        literals = [one for one in self.kinds if typing.get_origin(one) is Literal]
        return () if self.of_machine else tuple(text for one in literals for text in typing.get_args(one))

    def check(self, value: object) -> None:
        """Raise `ConfigError` where this is not a value for it."""
        kind = self.kinds[0]
        if value is None and type(None) in typing.get_args(self.annotation):
            return
        if self.choices:
            if value not in self.choices:
                raise ConfigError(f"{self.name} is {value!r}; it must be one of {', '.join(self.choices)}")
        elif isinstance(self.bounds, int):
            check_integer(self.name, value, self.bounds)
        elif self.bounds is not None:
            check_number(self.name, value, self.bounds)
        elif isinstance(kind, type) and len(self.kinds) == 1:
            check_type(self.name, value, kind)

    def of_text(self, text: str) -> Any:
        """The value that a variable's text stands for."""
        if not isinstance(self.bounds, int):
            return text
        if not (text.isascii() and text.isdecimal()) or int(text) < self.bounds:
            raise ConfigError(
                f"{self.variable} is {text!r}; a whole number of {self.bounds} or more is allowed"
            )
        return int(text)


class SettingInForce(NamedTuple):
    """A setting of what runs: its name, its value, and where that comes from.

    A source is `default`, `flag`, the name of a variable or of a file, or `program`.
    """

    name: str
    value: Any
    source: str


def setting(
    default: Value,
    help: str,
    *,
    short: str = "",
    has_flag: bool = True,
    bounds: int | Interval | None = None,
    of_machine: bool = False,
) -> Value:
    """The field of a dataclass that is a setting; `Setting` says what the arguments are."""
    said = {
        "help": help,
        "short": short,
        "has_flag": has_flag,
        "bounds": bounds,
        "of_machine": of_machine,
    }
    made: Value = field(default=default, metadata={Setting: said})
    return made


def settings_of(group: "type[DataclassInstance]") -> tuple[Setting, ...]:
    """The settings of a dataclass, in their order; fields that are none are left out."""
    hints = typing.get_type_hints(group)
    return tuple(
        Setting(name=one.name, default=one.default, annotation=hints[one.name], **one.metadata[Setting])
        for one in fields(group)
        if Setting in one.metadata
    )


def check_settings(values: Any) -> None:
    """Check every setting of an object; `ConfigError` names the first that is wrong."""
    for one in settings_of(type(values)):
        one.check(getattr(values, one.name))


def of_this_machine(values: Group) -> Group:
    """The same settings; where one leaves a choice open, what the variable says of this machine."""
    said = {
        one.name: one.of_text(text)
        for one in settings_of(type(values))
        if one.of_machine and getattr(values, one.name) is None and (text := os.environ.get(one.variable))
    }
    return replace(values, **said)


def described(group: Class) -> Class:
    """Class decorator: `{settings}` in the docstring becomes what each setting says of itself."""
    _fill_in(group, group, indent=" " * 8)
    return group


def takes_settings(group: "type[DataclassInstance]") -> Callable[[Function], Function]:
    """Decorator of a function that takes the settings of `group` as `**settings`.

    For a type checker these are the keys of a `TypedDict`. Whoever asks the function itself, as `help` does,
    is told each with its default, and `{settings}` in the docstring becomes what they say of themselves.
    """

    def decorate(function: Function) -> Function:
        signature = inspect.signature(function)
        taken = [
            inspect.Parameter(
                one.name, inspect.Parameter.KEYWORD_ONLY, default=one.default, annotation=one.annotation
            )
            for one in settings_of(group)
        ]
        own = [one for one in signature.parameters.values() if one.kind is not inspect.Parameter.VAR_KEYWORD]
        rest = [one.name for one in signature.parameters.values() if one not in own]
        function.__signature__ = signature.replace(parameters=[*own, *taken])  # type: ignore[attr-defined]
        for name in rest:
            del function.__annotations__[name]
        function.__annotations__.update({one.name: one.annotation for one in taken})
        _fill_in(function, group, indent=" " * 16)
        return function

    return decorate


def _fill_in(target: Any, group: "type[DataclassInstance]", *, indent: str) -> None:
    # There is none under `python -OO`.
    if target.__doc__ is not None:
        wrap = partial(textwrap.fill, width=110, initial_indent=indent, subsequent_indent=f"{indent}    ")
        lines = [wrap(f"{one.name}: {one.help}") for one in settings_of(group)]
        target.__doc__ = target.__doc__.replace("{settings}", "\n".join(lines).lstrip())
