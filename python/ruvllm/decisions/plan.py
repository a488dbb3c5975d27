"""From questions to branches, and from what was measured along them to answers.

Every question is shown in one order or several, and each time in a prompt of its own: the input, which all
have in common, and a short end. A branch is such a prompt and a way to labels.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ruvllm.decisions.answers import Decision, answer_of
from ruvllm.decisions.calibration import Example, kind_of, probabilities_of
from ruvllm.decisions.labels import LabelTree, Tokens
from ruvllm.decisions.orders import Orders, orders_of
from ruvllm.decisions.params import DecisionParams
from ruvllm.decisions.questions import Predicate, Question
from ruvllm.decisions.wording import asked_messages
from ruvllm.errors import ConfigError
from ruvllm.outputs import Usage
from ruvllm.runtime.branches import Branch, BranchLogprobs
from ruvllm.text.common_texts import common_length
from ruvllm.text.messages import MessageLike

__all__ = ["DecisionPlan", "DecisionText"]

# Prompts of one decision, and branches: each prompt is tokenized before anything is computed.
MAX_PROMPTS = 4096
MAX_BRANCHES = 16_384
# Another question than all that are asked, to see where the input ends.
_ANOTHER = Predicate("?")


class DecisionText(NamedTuple):
    """What a model does with the text of decisions: tokens of prompts, of labels, of an answer's end."""

    prompts_tokens: Callable[[Sequence[Sequence[dict[str, Any]]]], list[list[int]]]
    label_tokens: Callable[[str], Tokens]
    end: int | None


@dataclass(frozen=True, slots=True)
class _Shown:
    """A question in one order: which it is, the tree of its labels, and where its branches are."""

    question: int
    tree: LabelTree
    branches: range


class DecisionPlan:
    """What is to be computed for some questions about an input, and what it comes to.

    Attributes:
        questions: The questions.
        beginning: The tokens that all branches begin with.
        branches: What stands behind it each time.
    """

    def __init__(
        self,
        text: DecisionText,
        messages: str | Sequence[MessageLike],
        questions: Sequence[Question],
        orders: Orders = 1,
    ) -> None:
        self.questions = tuple(questions)
        listings = [(place, order) for place, one in enumerate(questions) for order in orders_of(one, orders)]
        if len(listings) > MAX_PROMPTS:
            raise ConfigError(
                f"{len(questions)} questions make {len(listings)} prompts, one for each order; at most "
                f"{MAX_PROMPTS} are asked at once"
            )
        asked = [asked_messages(messages, questions[place], order) for place, order in listings]
        *prompts, another = text.prompts_tokens([*asked, asked_messages(messages, _ANOTHER, (0, 1))])
        length = common_length([*prompts, another])
        self.beginning = another[:length]
        trees = _Trees(text)
        self._shown: list[_Shown] = []
        ends: list[tuple[Tokens, Any]] = []
        for (place, _), prompt in zip(listings, prompts, strict=True):
            tree = trees.of(questions[place].labels)
            branches = range(len(ends), len(ends) + len(tree.ways))
            self._shown.append(_Shown(place, tree, branches))
            end = tuple(prompt[length:])
            ends.extend(((*end, *way.tokens), way.places(len(prompt))) for way in tree.ways)
            if len(ends) > MAX_BRANCHES:
                raise ConfigError(
                    f"the labels of the questions make more than {MAX_BRANCHES} branches; ask fewer "
                    "questions at once, in fewer orders, or with shorter labels"
                )
        shared, self._num_tokens = _shared_lengths([end for end, _ in ends])
        self._num_tokens += length
        self.branches = tuple(
            Branch(end, places, length + both) for (end, places), both in zip(ends, shared, strict=True)
        )

    @property
    def num_tokens(self) -> int:
        """Tokens to compute where nothing is known: what branches have in common counts once."""
        return self._num_tokens

    def decision(self, measured: BranchLogprobs, params: DecisionParams) -> Decision:
        """The answers that the measured log-probabilities make."""
        calibration = params.temperatures
        answers = []
        for question, logprobs in zip(self.questions, self._of_questions(measured.logprobs), strict=True):
            probabilities = probabilities_of(logprobs, calibration.temperature(kind_of(question)))
            answers.append(answer_of(question, probabilities, params.abstain_below))
        usage = Usage(
            prompt_tokens=self.num_tokens,
            completion_tokens=0,
            cached_tokens=max(0, self.num_tokens - measured.computed_tokens),
        )
        return Decision(answers=tuple(answers), usage=usage)

    def examples(self, measured: BranchLogprobs, right: Sequence[int]) -> list[Example]:
        """The same as examples for a calibration; `right` are the places of the right labels."""
        of_questions = self._of_questions(measured.logprobs)
        return [
            Example(kind_of(question), tuple(map(tuple, logprobs)), place)
            for question, logprobs, place in zip(self.questions, of_questions, right, strict=True)
        ]

    def _of_questions(self, logprobs: Sequence[NDArray[np.float32]]) -> list[list[list[float]]]:
        """The log-probabilities of each question's labels, in its own order, each time it is shown."""
        found: list[list[list[float]]] = [[] for _ in self.questions]
        for shown in self._shown:
            of_ways = [logprobs[branch] for branch in shown.branches]
            found[shown.question].append(shown.tree.logprobs(of_ways))
        return found


class _Trees:
    """The trees of labels, each made once."""

    def __init__(self, text: DecisionText) -> None:
        self._text = text
        self._tokens: dict[str, Tokens] = {}
        self._trees: dict[tuple[str, ...], LabelTree] = {}

    def of(self, labels: tuple[str, ...]) -> LabelTree:
        """The tree of a question's labels; `ConfigError` where two of them are the same tokens."""
        tree = self._trees.get(labels)
        if tree is None:
            tokens = [self._tokens_of(label) for label in labels]
            first: dict[Tokens, str] = {}
            for label, its in zip(labels, tokens, strict=True):
                other = first.setdefault(its, label)
                if other is not label:
                    raise ConfigError(
                        f"{other!r:.80} and {label!r:.80} are the same to the model; change one"
                    )
            tree = self._trees[labels] = LabelTree.of(tokens, self._text.end)
        return tree

    def _tokens_of(self, label: str) -> Tokens:
        if label not in self._tokens:
            self._tokens[label] = self._text.label_tokens(label)
        return self._tokens[label]


def _shared_lengths(ends: Sequence[Tokens]) -> tuple[list[int], int]:
    """How many tokens each has in common with some other one, and how many there are if those count once."""
    order = sorted(range(len(ends)), key=ends.__getitem__)
    with_next = [common_length((ends[one], ends[other])) for one, other in itertools.pairwise(order)]
    shared = [0] * len(ends)
    for place, index in enumerate(order):
        around = with_next[max(0, place - 1) : place + 1]
        shared[index] = max(around, default=0)
    return shared, sum(map(len, ends)) - sum(with_next)
