"""Checks that settings share: each message names the field, its value and what is allowed."""

import math
import numbers
from dataclasses import dataclass

from ruvllm.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Interval:
    """Finite numbers between two bounds, of which each may be left out."""

    low: float
    high: float
    low_included: bool = True
    high_included: bool = True

    def __contains__(self, value: float) -> bool:
        above = value >= self.low if self.low_included else value > self.low
        below = value <= self.high if self.high_included else value < self.high
        return math.isfinite(value) and above and below

    def __str__(self) -> str:
        if self.low_included and self.high_included:
            return f"between {self.low:g} and {self.high:g}"
        low = f"at least {self.low:g}" if self.low_included else f"above {self.low:g}"
        if math.isinf(self.high):
            return f"{low} and finite"
        return f"{low} and " + (f"at most {self.high:g}" if self.high_included else f"below {self.high:g}")


def check_integer(name: str, value: object, low: int, high: int | None = None) -> int:
    """The value as an integer from `low` to `high`; `ConfigError` otherwise."""
    allowed = f"an integer, {low} or more" if high is None else f"an integer from {low} to {high}"
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise ConfigError(f"{name} is {value!r}; it must be {allowed}")
    number = int(value)
    if number < low or (high is not None and number > high):
        raise ConfigError(f"{name} is {number}; it must be {allowed}")
    return number


def check_number(name: str, value: object, interval: Interval) -> float:
    """The value as a float inside the interval; `ConfigError` otherwise."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise ConfigError(f"{name} is {value!r}; it must be a number {interval}")
    try:
        number = float(value)
    except OverflowError:  # an integer of more than 308 digits
        number = math.inf
    if number not in interval:
        raise ConfigError(f"{name} is {value if math.isfinite(number) else number}; it must be {interval}")
    return number


def check_type(name: str, value: object, kind: type) -> None:
    """Raise `ConfigError` unless `value` is a `kind`."""
    if not isinstance(value, kind):
        raise ConfigError(f"{name} is {value!r}; it must be a {kind.__name__}")


def check_whole_characters(name: str, text: str) -> None:
    """Raise `ConfigError` with the place where `text` has half of a character, which no model reads."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        around = text[max(0, error.start - 20) : error.start + 20]
        raise ConfigError(f"{name} has half of a character (a surrogate) in {around!a}") from None


def check_texts(name: str, texts: object, most: int = 64) -> tuple[str, ...]:
    """Up to `most` texts, none of them empty; `ConfigError` otherwise."""
    if isinstance(texts, str) or not isinstance(texts, list | tuple):
        raise ConfigError(f"{name} is {texts!r}; it must be a list or tuple of texts")
    if len(texts) > most:
        raise ConfigError(f"{name} has {len(texts)} texts; at most {most} are allowed")
    for index, text in enumerate(texts):
        if not isinstance(text, str) or not text:
            raise ConfigError(f"{name}[{index}] is {text!r}; it must be a text that is not empty")
        check_whole_characters(f"{name}[{index}]", text)
    return tuple(texts)
