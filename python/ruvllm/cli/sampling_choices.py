"""The sampling flags as what a chat may set and show: their names, and texts as their values."""

import shlex
from collections.abc import Collection, Mapping
from dataclasses import fields, replace
from types import MappingProxyType, NoneType
from typing import Any, get_args, get_type_hints

from ruvllm.cli.options import SamplingOptions
from ruvllm.cli.partner import MAX_TOKENS
from ruvllm.cli.samplers import NO_BREAKERS
from ruvllm.errors import ConfigError
from ruvllm.samplers import Dry

__all__ = ["changed", "choice_named", "choices", "completions", "shown"]

NONE = "none"
SERVERS = "the server's choice"
_SWITCHES: Mapping[str, bool] = MappingProxyType({"on": True, "true": True, "off": False, "false": False})
_DEFAULT = SamplingOptions()
_BREAKERS = "dry_sequence_breakers"
# Escapes as which they are shown, and by which they are read again.
_SHOWN_AS = MappingProxyType({"\n": r"\n", "\r": r"\r", "\t": r"\t"})


def choices() -> list[str]:
    """The names, as the library has them."""
    return [field.name for field in fields(SamplingOptions)]


def completions(begun: str) -> list[str]:
    """What could stand behind `/set`: a name, or a name and a value that is no number."""
    name, blank, _ = begun.partition(" ")
    if not blank:
        return choices()
    kinds = _kinds().get(name, ())
    words = [*((NONE,) if NoneType in kinds else ()), *(_SWITCHES if bool in kinds else ())]
    return [f"{name} {word}" for word in words]


def choice_named(text: str) -> str:
    """The name that is meant; flags are, too: `--top-p` is `top_p`."""
    name = text.lstrip("-").replace("-", "_")
    if name not in choices():
        raise ConfigError(f"nothing is called {text!r}; there are {', '.join(choices())}")
    return name


def shown(sampling: SamplingOptions, unsaid: Collection[str] = ()) -> list[tuple[str, str]]:
    """Each choice with its value, as `changed` takes it; those about which nothing is said have none."""
    breakers = (
        Dry().sequence_breakers if sampling.dry_sequence_breakers is None else sampling.dry_sequence_breakers
    )
    holds = {
        "top_p": sampling.share,
        "max_tokens": sampling.max_tokens or MAX_TOKENS,
        _BREAKERS: [_with_escapes(text) for text in breakers],
    }
    values = {name: _text_of(holds.get(name, getattr(sampling, name))) for name in choices()}
    return [(name, SERVERS if name in unsaid else text) for name, text in values.items()]


def changed(sampling: SamplingOptions, name: str, text: str) -> SamplingOptions:
    """The same with another value; an empty text is the value that it has by itself."""
    kinds = _kinds()[name]
    value = _value(name, text, kinds) if text else getattr(_DEFAULT, name)
    options = replace(sampling, **{name: value})
    options.params(max_tokens=MAX_TOKENS)  # refuses what is outside its range
    return options


def _value(name: str, text: str, kinds: tuple[Any, ...]) -> Any:
    if text.lower() == NONE and NoneType in kinds:
        return [NO_BREAKERS] if name == _BREAKERS else None
    if bool in kinds and text.lower() in _SWITCHES:
        return _SWITCHES[text.lower()]
    try:
        for kind in (int, float):
            if kind in kinds:
                return kind(text)
        if list[str] in kinds:
            return _with_backslashes(text) if name == _BREAKERS else shlex.split(text)
    except ValueError as error:
        raise ConfigError(f"{name} is {text!r}: {error}") from None
    if str in kinds:
        return text
    raise ConfigError(f"{name} cannot be set here; give its flag when the chat begins")


def _with_escapes(text: str) -> str:
    for character, escape in _SHOWN_AS.items():
        text = text.replace(character, escape)
    return text


def _with_backslashes(text: str) -> list[str]:
    """Words as a shell has them, but that backslashes stay."""
    words = shlex.shlex(text, posix=True)
    words.whitespace_split = True
    words.commenters = words.escape = ""
    return list(words)


def _kinds() -> dict[str, tuple[Any, ...]]:
    hints = get_type_hints(SamplingOptions)
    kinds = {name: get_args(hint) if NoneType in get_args(hint) else (hint,) for name, hint in hints.items()}
    return kinds | {"top_p": (float,)}  # that there is none is only how one knows that it was not given


def _text_of(value: Any) -> str:
    if value is None:
        return NONE
    if isinstance(value, bool):
        return "on" if value else "off"
    return shlex.join(value) if isinstance(value, list) else str(value)
