"""Labels of several tokens: which candidates stand at which places, and what they say of each label.

The labels of a question make a tree of tokens. Where it forks, or goes on, the model is asked for the
log-probabilities of the tokens that are next; the sum of those on the way to a label is the label's. Each
way through the tree is computed once: what goes along it asks at all places that no other way asks at.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ruvllm.runtime.request import Place

__all__ = ["LabelTree", "Way"]

Tokens = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Way:
    """Tokens of labels, the last ones left out, and at which places of them what is asked.

    A place is how many of the tokens stand before it.
    """

    tokens: Tokens
    asked: tuple[tuple[int, tuple[int, ...]], ...]

    def places(self, prompt_tokens: int) -> tuple[Place, ...]:
        """The same as places behind a prompt of so many tokens."""
        return tuple((prompt_tokens - 1 + depth, candidates) for depth, candidates in self.asked)


@dataclass(frozen=True, slots=True)
class LabelTree:
    """The tokens of all labels of a question; none is empty, no two are equal.

    A label that is the beginning of another one is told apart from it by the token that ends an answer.
    """

    labels: tuple[Tokens, ...]
    ways: tuple[Way, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ways", tuple(_ways(self.labels)))

    @classmethod
    def of(cls, labels: Sequence[Tokens], end: int | None) -> "LabelTree":
        """The tree of labels; `end` is the token that ends an answer, if the model has one."""

        def goes_on(label: Tokens) -> bool:
            return any(len(other) > len(label) and other[: len(label)] == label for other in labels)

        return cls(tuple((*one, end) if end is not None and goes_on(one) else one for one in labels))

    def logprobs(self, of_ways: Sequence[NDArray[np.float32]]) -> list[float]:
        """The log-probability of each label, out of what was measured along each way."""
        known: dict[Tokens, float] = {}
        for way, measured in zip(self.ways, of_ways, strict=True):
            values = iter(measured.tolist())
            for depth, candidates in way.asked:
                for token, value in zip(candidates, values, strict=False):
                    node = (*way.tokens[:depth], token)
                    known[node] = value
        return [sum(known[label[: depth + 1]] for depth in range(len(label))) for label in self.labels]


def _ways(labels: Sequence[Tokens]) -> Iterator[Way]:
    nexts: dict[Tokens, dict[int, None]] = {}
    for label in labels:
        for depth, token in enumerate(label):
            nexts.setdefault(label[:depth], {}).setdefault(token)
    asked: set[Tokens] = set()
    for inner in nexts:
        if any((*inner, token) in nexts for token in nexts[inner]):
            continue  # a longer way goes along this one
        yield Way(inner, tuple(_asked_on(inner, nexts, asked)))


def _asked_on(
    way: Tokens, nexts: Mapping[Tokens, Mapping[int, None]], asked: set[Tokens]
) -> Iterator[tuple[int, tuple[int, ...]]]:
    for depth in range(len(way) + 1):
        node = way[:depth]
        if node not in asked:
            asked.add(node)
            yield depth, tuple(nexts[node])
