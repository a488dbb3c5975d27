"""Samplers with settings of their own, as fields of `GenerateParams`; docs/sampling.md has their formulas.

Each is off unless it is given. The engine checks the same ranges again.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from ruvllm._checks import Interval, check_integer, check_number, check_texts
from ruvllm.errors import ConfigError

__all__ = ["Dry", "DynamicTemperature", "Mirostat", "Xtc", "llama_names_of", "under_llama_names"]

_SHARE = Interval(0, 1)
_POSITIVE = Interval(0, 100, low_included=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dry:
    r"""Holds back what goes on with a repetition ("don't repeat yourself"), in prompt and answer.

    A token that followed once before on the `n` tokens with which the text ends loses
    `multiplier * base ** (n - allowed_length)` of its logit, where `n` is at least `allowed_length`.

    >>> Dry(multiplier=1).sequence_breakers
    ('\n', ':', '"', '*')

    Attributes:
        multiplier: What it costs to go on with a repetition of `allowed_length`; above 0, at most 100.
        base: How much more each further token costs; 1 to 100.
        allowed_length: Shorter repetitions cost nothing.
        last_tokens: So many of the last tokens are looked at; `None` is all.
        sequence_breakers: Texts that no repetition goes on across; whatever completes one costs nothing.
    """

    multiplier: float = 0.8
    base: float = 1.75
    allowed_length: int = 2
    last_tokens: int | None = None
    sequence_breakers: tuple[str, ...] = ("\n", ":", '"', "*")

    def __post_init__(self) -> None:
        check_number("dry.multiplier", self.multiplier, _POSITIVE)
        check_number("dry.base", self.base, Interval(1, 100))
        check_integer("dry.allowed_length", self.allowed_length, 1, 2**31 - 1)
        if self.last_tokens is not None:
            check_integer("dry.last_tokens", self.last_tokens, 1, 2**31 - 1)
        breakers = check_texts("dry.sequence_breakers", self.sequence_breakers)
        object.__setattr__(self, "sequence_breakers", breakers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Xtc:
    """Leaves out the likeliest tokens now and then, where others will do ("exclude top choices").

    >>> Xtc().threshold
    0.1

    Attributes:
        probability: How often; above 0, at most 1.
        threshold: All tokens at least so likely but the least likely of them are left out; above a half
            nothing ever is.
    """

    probability: float = 0.5
    threshold: float = 0.1

    def __post_init__(self) -> None:
        check_number("xtc.probability", self.probability, Interval(0, 1, low_included=False))
        check_number("xtc.threshold", self.threshold, _SHARE)


@dataclass(frozen=True, slots=True, kw_only=True)
class DynamicTemperature:
    """Lowers the temperature where the model is sure, and raises it where it is not.

    From `temperature - range`, at least 0, to `temperature + range`, by the entropy of what the filters
    have kept, over the largest that so many tokens could have, to the power of `exponent`.

    >>> DynamicTemperature(range=0.5).exponent
    1.0

    Attributes:
        range: How far below and above; above 0, at most 100.
        exponent: Above 1 it stays low for longer, below 1 it rises sooner; above 0, at most 100.
    """

    range: float
    exponent: float = 1.0

    def __post_init__(self) -> None:
        check_number("dynamic_temperature.range", self.range, _POSITIVE)
        check_number("dynamic_temperature.exponent", self.exponent, _POSITIVE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirostat:
    """Makes an answer as surprising as is asked for, token by token (version 2).

    It comes behind the other filters, among them `top_p`, which is 0.9 unless told otherwise.

    >>> Mirostat(tau=3).eta
    0.1

    Attributes:
        tau: So many bits of surprise a token, on the average; 0 to 100.
        eta: How fast the bound follows what was drawn; 0 to 1.
    """

    tau: float = 5.0
    eta: float = 0.1

    def __post_init__(self) -> None:
        check_number("mirostat.tau", self.tau, Interval(0, 100))
        check_number("mirostat.eta", self.eta, _SHARE)


class _Named(NamedTuple):
    """A sampler with its settings by llama.cpp's names; it is on where the setting `switch` is not 0."""

    field: str
    kind: type[Any]
    switch: str
    settings: Mapping[str, str]

    def made(self, told: Mapping[str, Any]) -> Any:
        """The sampler by what was told, with defaults for the rest."""
        return self.kind(**{self.settings[name]: told[name] for name in self.settings if name in told})


_NAMED = (
    _Named(
        "dry",
        Dry,
        "dry_multiplier",
        {
            "dry_multiplier": "multiplier",
            "dry_base": "base",
            "dry_allowed_length": "allowed_length",
            "dry_penalty_last_n": "last_tokens",
            "dry_sequence_breakers": "sequence_breakers",
        },
    ),
    _Named("xtc", Xtc, "xtc_probability", {"xtc_probability": "probability", "xtc_threshold": "threshold"}),
    _Named(
        "dynamic_temperature",
        DynamicTemperature,
        "dynatemp_range",
        {"dynatemp_range": "range", "dynatemp_exponent": "exponent"},
    ),
    _Named("mirostat", Mirostat, "mirostat", {"mirostat_tau": "tau", "mirostat_eta": "eta"}),
)
_SECOND_VERSION = 2


def under_llama_names(given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings under llama.cpp's names as fields of `GenerateParams`; one that is `None` was not given.

    As there, a sampler is off unless the first of its settings turns it on, and the others have defaults.
    Those of a sampler that is off are checked all the same.

    >>> under_llama_names({"xtc_probability": 0.5, "mirostat_tau": 3.0, "top_n_sigma": -1})
    {'top_n_sigma': 0.0, 'xtc': Xtc(probability=0.5, threshold=0.1)}
    """
    told = {name: value for name, value in given.items() if value is not None}
    fields: dict[str, Any] = {}
    if "typical_p" in told:
        fields["typical_p"] = told["typical_p"]
    if "top_n_sigma" in told:
        sigma = told["top_n_sigma"]
        fields["top_n_sigma"] = 0.0 if math.isfinite(sigma) and sigma < 0 else sigma
    if told.get("mirostat") == 1:
        raise ConfigError("mirostat is 1; it must be 0 or 2: the second version takes the place of the first")
    is_without_tokens = told.get("dry_penalty_last_n") == 0
    if told.get("dry_penalty_last_n") in (-1, 0):
        del told["dry_penalty_last_n"]
    for named in _NAMED:
        is_on = bool(told.get(named.switch))
        made = named.made(told if is_on else {**told, named.switch: 1})
        if is_on and not (named.kind is Dry and is_without_tokens):
            fields[named.field] = made
    return fields


def llama_names_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """The other way round: samplers as llama.cpp names them; of one that is off, only that it is.

    >>> llama_names_of({"xtc": Xtc(probability=0.5), "mirostat": None})
    {'xtc_probability': 0.5, 'xtc_threshold': 0.1, 'mirostat': 0}
    """
    told: dict[str, Any] = {}
    for named in _NAMED:
        if named.field in given:
            sampler = given[named.field]
            told[named.switch] = 0 if sampler is None else _SECOND_VERSION
            told |= {theirs: getattr(sampler, ours) for theirs, ours in named.settings.items() if sampler}
    if told.get("dry_multiplier"):
        told["dry_penalty_last_n"] = told["dry_penalty_last_n"] or -1
        told["dry_sequence_breakers"] = list(told["dry_sequence_breakers"])
    return told
