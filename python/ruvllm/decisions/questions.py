"""Typed questions about an input: plain values, checked when they are made.

In files and bodies they are objects, as OpenAI's `/v1/decisions` has them; `question_of` reads one.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeAlias, cast

from ruvllm._checks import Interval, check_number
from ruvllm.errors import ConfigError

__all__ = [
    "Choice",
    "Level",
    "Option",
    "Predicate",
    "Question",
    "QuestionLike",
    "Score",
    "question_of",
    "questions_of",
]

MAX_OPTIONS = 255
MAX_QUESTIONS = 400
# What levels may stand for: an expected value of them is a number.
_VALUES = Interval(-1e15, 1e15)


@dataclass(frozen=True, slots=True)
class Option:
    """One answer of a choice; the text `true` and the value `True` are different ones."""

    value: str | bool
    description: str | None = None


@dataclass(frozen=True, slots=True)
class Level:
    """One level of a score, and the number that stands for it; its place, from 0, where there is none."""

    label: str
    description: str | None = None
    value: float | None = None


@dataclass(frozen=True, slots=True)
class Predicate:
    """Whether something is so; the answer is the probability that it is.

    >>> Predicate("The customer is angry.").labels
    ('Yes', 'No')

    Attributes:
        instructions: A statement about the input, or a question that yes or no answers.
        name: What the answer is called by.
        if_true: When the answer is yes, where that needs saying.
        if_false: When it is no.
    """

    instructions: str
    name: str | None = None
    if_true: str | None = None
    if_false: str | None = None

    def __post_init__(self) -> None:
        _check_texts(self, ("instructions", "name", "if_true", "if_false"))

    @property
    def labels(self) -> tuple[str, ...]:
        """What the model may say."""
        return ("Yes", "No")

    @property
    def descriptions(self) -> tuple[str | None, ...]:
        """What each of them means."""
        return (self.if_true, self.if_false)


@dataclass(frozen=True, slots=True)
class Choice:
    """Which of some options it is; the answer is the probability of each.

    >>> Choice("Which team?", ["billing", Option("support", "It does not work.")]).labels
    ('billing', 'support')

    Attributes:
        instructions: What is to be chosen.
        options: From 2 to 255, each once; a lone value is an `Option`.
        name: What the answer is called by.
    """

    instructions: str
    options: "Sequence[Option | str | bool]"
    name: str | None = None

    def __post_init__(self) -> None:
        _check_texts(self, ("instructions", "name"))
        options = tuple(one if isinstance(one, Option) else Option(one) for one in _listed(self, "options"))
        object.__setattr__(self, "options", options)
        for index, option in enumerate(options):
            if not isinstance(option.value, str | bool):
                raise ConfigError(f"options[{index}] is {option.value!r}; it must be a text, true or false")
            _check_description(f"options[{index}]", option.description)
        _check_labels("options", self.labels)

    @property
    def values(self) -> tuple[str | bool, ...]:
        """What is chosen among."""
        return tuple(option.value for option in cast("tuple[Option, ...]", self.options))

    @property
    def labels(self) -> tuple[str, ...]:
        """What the model may say; a text that reads as a value which is there too stands in quotes."""
        values = self.values
        flags = {"true" if value else "false" for value in values if isinstance(value, bool)}
        return tuple(
            str(value).lower() if isinstance(value, bool) else f'"{value}"' if value in flags else value
            for value in values
        )

    @property
    def descriptions(self) -> tuple[str | None, ...]:
        """What each of them means."""
        return tuple(option.description for option in cast("tuple[Option, ...]", self.options))


@dataclass(frozen=True, slots=True)
class Score:
    """How much of something there is; the answer is the expected value over the levels.

    >>> Score("How many stars?", range(1, 6)).values
    (1.0, 2.0, 3.0, 4.0, 5.0)

    Attributes:
        instructions: What is rated.
        levels: From 2 to 255 in rising order: labels, `Level`s, or integers that stand for themselves.
        name: What the answer is called by.
    """

    instructions: str
    levels: "Sequence[Level | str | int]"
    name: str | None = None

    def __post_init__(self) -> None:
        _check_texts(self, ("instructions", "name"))
        levels = tuple(_level(index, one) for index, one in enumerate(_listed(self, "levels")))
        object.__setattr__(self, "levels", levels)
        _check_labels("levels", self.labels)

    @property
    def values(self) -> tuple[float, ...]:
        """The number of each level."""
        levels = cast("tuple[Level, ...]", self.levels)
        return tuple(float(index if one.value is None else one.value) for index, one in enumerate(levels))

    @property
    def labels(self) -> tuple[str, ...]:
        """What the model may say."""
        return tuple(level.label for level in cast("tuple[Level, ...]", self.levels))

    @property
    def descriptions(self) -> tuple[str | None, ...]:
        """What each of them means."""
        return tuple(level.description for level in cast("tuple[Level, ...]", self.levels))


Question: TypeAlias = Predicate | Choice | Score
QuestionLike: TypeAlias = Question | Mapping[str, Any]
"""A question, or an object that says one: `{"type": "predicate", "instructions": "It is urgent."}`."""


def questions_of(given: "QuestionLike | Iterable[QuestionLike]") -> list[Question]:
    """The questions of a list, or of a lone one; `ConfigError` by the place of one that is none."""
    alone = isinstance(given, Predicate | Choice | Score | Mapping)
    anything: object = given
    if not alone and (isinstance(anything, str) or not isinstance(anything, Iterable)):
        raise ConfigError(f"questions is {given!r:.80}; it must be a question or a list of them")
    listed = [given] if alone else list(cast("Iterable[QuestionLike]", given))
    if not 1 <= len(listed) <= MAX_QUESTIONS:
        raise ConfigError(f"there are {len(listed)} questions; ask from 1 to {MAX_QUESTIONS} at once")
    return [question_of(cast("QuestionLike", one), f"questions[{place}]") for place, one in enumerate(listed)]


def question_of(given: QuestionLike, where: str = "the question") -> Question:
    """The question that an object says; `where` names it in an error."""
    if isinstance(given, Predicate | Choice | Score):
        return given
    if not isinstance(given, Mapping):
        raise ConfigError(f"{where} is a {type(given).__name__}; it must be an object with a type")
    kind = given.get("type")
    make = _KINDS.get(kind) if isinstance(kind, str) else None
    if make is None:
        raise ConfigError(f"{where} has the type {kind!r}; allowed here: {', '.join(_KINDS)}")
    try:
        return make(given)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error.message.removeprefix('Configuration error: ')}") from None


def _predicate(given: Mapping[str, Any]) -> Question:
    _check_keys(given, {field.name for field in fields(Predicate)})
    return Predicate(**_without_type(given))


def _choice(given: Mapping[str, Any]) -> Question:
    _check_keys(given, {"instructions", "name", "choices"})
    options = [_from_object(Option, "choices", one) for one in _objects(given, "choices")]
    return Choice(cast("str", given.get("instructions")), options, given.get("name"))


def _score(given: Mapping[str, Any]) -> Question:
    _check_keys(given, {"instructions", "name", "levels"})
    levels = [_from_object(Level, "levels", one) for one in _objects(given, "levels")]
    return Score(cast("str", given.get("instructions")), levels, given.get("name"))


_KINDS = {"predicate": _predicate, "choice": _choice, "score": _score}


def _without_type(given: Mapping[str, Any]) -> dict[str, Any]:
    return {"instructions": None, **{key: value for key, value in given.items() if key != "type"}}


def _objects(given: Mapping[str, Any], key: str) -> Sequence[Any]:
    listed = given.get(key)
    if not isinstance(listed, Sequence) or isinstance(listed, str):
        raise ConfigError(f"{key} is {listed!r:.80}; it must be a list")
    return listed


def _from_object(kind: type, where: str, given: object) -> Any:
    """An option or a level: as an object, or alone."""
    if not isinstance(given, Mapping):
        return given
    names = {field.name for field in fields(kind)}
    if unknown := set(given) - names:
        raise ConfigError(f"{where} has {sorted(map(str, unknown))}; known are {', '.join(sorted(names))}")
    missing = "label" if kind is Level else "value"
    if missing not in given:
        raise ConfigError(f"one of {where} has no {missing}")
    return kind(**given)


def _check_keys(given: Mapping[str, Any], known: set[str]) -> None:
    if unknown := set(given) - known - {"type"}:
        allowed = ", ".join(sorted({"type", *known}))
        raise ConfigError(f"{', '.join(sorted(map(str, unknown)))}: not known here; allowed are {allowed}")


def _check_texts(question: object, names: Iterable[str]) -> None:
    for name in names:
        value = getattr(question, name)
        if not isinstance(value, str) and (value is not None or name == "instructions"):
            raise ConfigError(f"{name} is {value!r:.80}; it must be a text")


def _listed(question: object, name: str) -> Sequence[Any]:
    given = getattr(question, name)
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise ConfigError(f"{name} is {given!r:.80}; it must be a list")
    listed = list(given)
    if not 2 <= len(listed) <= MAX_OPTIONS:
        raise ConfigError(f"there are {len(listed)} {name}; give from 2 to {MAX_OPTIONS}")
    return listed


def _level(index: int, given: Any) -> Level:
    if isinstance(given, int) and not isinstance(given, bool):
        check_number(f"levels[{index}]", given, _VALUES)
        return Level(str(given), value=given)
    level = given if isinstance(given, Level) else Level(given)
    value: Any = level.value
    if value is not None:
        check_number(f"levels[{index}].value", value, _VALUES)
    _check_description(f"levels[{index}]", level.description)
    return level


def _check_description(where: str, description: object) -> None:
    if description is not None and not isinstance(description, str):
        raise ConfigError(f"{where}.description is {description!r:.80}; it must be a text")


def _check_labels(name: str, labels: Sequence[Any]) -> None:
    for index, label in enumerate(labels):
        if not isinstance(label, str) or not label.strip():
            raise ConfigError(f"{name}[{index}] is {label!r}; it must be a text that says something")
        if any("\ud800" <= character <= "\udfff" for character in label):
            raise ConfigError(
                f"{name}[{index}] is {label!r:.80}, which has half a character (a lone surrogate)"
            )
        if label in labels[:index]:
            raise ConfigError(f"{name}[{index}] is {label!r}, which is there already; each must be another")
