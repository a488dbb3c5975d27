"""Flags of the samplers that have settings of their own, named and read as llama.cpp does."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Annotated, Any

from ruvllm.cli.command import flag
from ruvllm.errors import ConfigError

__all__ = ["NO_BREAKERS", "SamplerOptions"]

NO_BREAKERS = "none"
_SWITCHES = MappingProxyType(
    {
        "dry_": ("dry_multiplier", "0.8"),
        "xtc_": ("xtc_probability", "0.5"),
        "dynatemp_": ("dynatemp_range", "0.5"),
        "mirostat_": ("mirostat", "2"),
    }
)
"""How a sampler's settings begin, the one by which it is on, and a usual value of that."""

_ESCAPE = re.compile(rb"\\(?:x([0-9A-Fa-f]{2})|([nrt'\"\\]))")
_ESCAPED = MappingProxyType({b"n": b"\n", b"r": b"\r", b"t": b"\t"})


def _flag(name: str, **settings: Any) -> Any:
    return flag(name, rich_help_panel="More samplers", **settings)


def _setting(name: str, **settings: Any) -> Any:
    """Of a sampler that another flag turns on: who looks for one does not look for these yet."""
    return flag(name, rich_help_panel="Settings of samplers", **settings)


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplerOptions:
    """Samplers that are off unless their first flag is given."""

    typical_p: Annotated[
        float | None,
        _flag("--typical-p", help="Only tokens about as surprising as expected.", min=0, max=1),
    ] = None
    top_n_sigma: Annotated[
        float | None,
        _flag("--top-n-sigma", help="Only logits so many standard deviations from the best.", max=100),
    ] = None
    dry_multiplier: Annotated[
        float | None,
        _flag("--dry-multiplier", help="DRY: holds repetitions back; 0.8 is usual.", min=0, max=100),
    ] = None
    dry_base: Annotated[
        float | None,
        _setting("--dry-base", help="By what each further token costs more; 1.75.", min=1, max=100),
    ] = None
    dry_allowed_length: Annotated[
        int | None, _setting("--dry-allowed-length", help="Shorter repetitions cost nothing; 2.", min=1)
    ] = None
    dry_penalty_last_n: Annotated[
        int | None,
        _setting("--dry-penalty-last-n", help="So many of the last tokens; -1 is all, 0 none.", min=-1),
    ] = None
    dry_sequence_breakers: Annotated[
        list[str] | None,
        _setting(
            "--dry-sequence-breaker",
            help=r"No repetition goes on across it (\n is a line break); may be given again; none is none.",
        ),
    ] = None
    xtc_probability: Annotated[
        float | None,
        _flag("--xtc-probability", help="XTC: how often the likeliest are left out.", min=0, max=1),
    ] = None
    xtc_threshold: Annotated[
        float | None, _setting("--xtc-threshold", help="What is likely enough for that; 0.1.", min=0, max=1)
    ] = None
    dynatemp_range: Annotated[
        float | None,
        _flag("--dynatemp-range", help="The temperature goes so far up and down.", min=0, max=100),
    ] = None
    dynatemp_exponent: Annotated[
        float | None, _setting("--dynatemp-exponent", help="Above 1 it stays low for longer; 1.", max=100)
    ] = None
    mirostat: Annotated[
        int | None, _flag("--mirostat", help="2 makes answers as surprising as is asked for.", min=0, max=2)
    ] = None
    mirostat_tau: Annotated[
        float | None, _setting("--mirostat-tau", help="Bits of surprise a token; 5.", min=0, max=100)
    ] = None
    mirostat_eta: Annotated[
        float | None, _setting("--mirostat-eta", help="How fast that is followed; 0.1.", min=0, max=1)
    ] = None

    def told(self) -> dict[str, Any]:
        """What was given, under the names of a request's fields; what was not is `None`."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        if self.dry_sequence_breakers is not None:
            values["dry_sequence_breakers"] = _breakers(self.dry_sequence_breakers)
        return values

    def sampler_params(self) -> dict[str, Any]:
        """The fields of the library's parameters that these come to."""
        from ruvllm.samplers import under_llama_names

        told = self.told()
        return under_llama_names({one.name: told[one.name] for one in fields(SamplerOptions)})

    def without_effect(self, name: str) -> tuple[str, str] | None:
        """What would turn the sampler of a setting on, and a value for that, where nothing was said of it.

        Whoever says 0 there has turned it off.
        """
        for beginning, (switch, value) in _SWITCHES.items():
            is_setting = name.startswith(beginning) and name != switch
            if is_setting and getattr(self, name) is not None and getattr(self, switch) is None:
                return switch, value
        return None

    def refuse_what_has_no_effect(self) -> None:
        """`ConfigError` for settings of a sampler that nothing turns on."""
        for one in fields(SamplerOptions):
            if needed := self.without_effect(one.name):
                switch, value = needed
                raise ConfigError(
                    f"{_flag_of(one.name)} needs {_flag_of(switch)} {value}: it is off by itself"
                )


def _flag_of(name: str) -> str:
    """A flag that may be given again names one of its texts."""
    return "--" + name.removesuffix("s").replace("_", "-")


def _breakers(texts: Sequence[str]) -> list[str]:
    """The texts that are meant, where escapes and a word for none are as llama.cpp has them."""
    if NO_BREAKERS not in texts:
        return [_unescaped(text) for text in texts]
    if len(texts) > 1:
        raise ConfigError(f"{_flag_of('dry_sequence_breakers')} is {NO_BREAKERS} and others; give it alone")
    return []


def _unescaped(text: str) -> str:
    """An escape that there is not stays as it is."""

    def meant(escape: re.Match[bytes]) -> bytes:
        code, character = escape.groups()
        return bytes.fromhex(code.decode()) if code else _ESCAPED.get(character, character)

    try:
        return _ESCAPE.sub(meant, text.encode()).decode()
    except UnicodeError:
        raise ConfigError(f"{_flag_of('dry_sequence_breakers')} is {text!r}, which is no UTF-8") from None
