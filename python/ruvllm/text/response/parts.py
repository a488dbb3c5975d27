"""What a parser makes of an answer, in the order of the text."""

from dataclasses import dataclass
from typing import TypeAlias

__all__ = ["CallArguments", "CallBegan", "CallEnded", "Content", "Part", "Reasoning"]


@dataclass(frozen=True, slots=True)
class Content:
    """A piece of what the reader is told."""

    text: str


@dataclass(frozen=True, slots=True)
class Reasoning:
    """A piece of what the model thought before."""

    text: str


@dataclass(frozen=True, slots=True)
class CallBegan:
    """A call of a tool; calls are counted from 0."""

    index: int
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class CallArguments:
    """A piece of a call's arguments; all of them joined are JSON, where the model wrote JSON."""

    index: int
    fragment: str


@dataclass(frozen=True, slots=True)
class CallEnded:
    """A call is whole. One that was cut off, or that the model broke off, has no end."""

    index: int


Part: TypeAlias = Content | Reasoning | CallBegan | CallArguments | CallEnded
