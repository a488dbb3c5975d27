"""The examples of a run, encoded, and what another model must say of them before training can begin."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import ruvllm._native as _native
from ruvllm.errors import TrainingError
from ruvllm.training.base import TrainableModel
from ruvllm.training.checkpoint import Checkpoint, digest_of
from ruvllm.training.config import TrainingConfig, TrainingObjective
from ruvllm.training.encoding import Encoder, Example
from ruvllm.training.objectives import AnswerObjective, Objective, PreferenceObjective, reference_log_probs
from ruvllm.training.records import Data, read_records
from ruvllm.training.teacher import taught

__all__ = ["Material"]

REFERENCES = "references"


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """Answers, or pairs of them.

    Attributes:
        answers: Where answers are learned.
        pairs: Where one answer is preferred to another.
        config: Of the run.
    """

    answers: Sequence[Example] = ()
    pairs: Sequence[tuple[Example, Example]] = ()
    config: TrainingConfig

    @classmethod
    def of(cls, encoder: Encoder, data: Data, config: TrainingConfig) -> "Material":
        """Read and encode what the objective wants."""
        records = read_records(data)
        if config.objective is TrainingObjective.Dpo:
            found = cls(pairs=encoder.preferences(records), config=config)
        else:
            found = cls(answers=encoder.conversations(records), config=config)
        if not len(found):
            lengths = encoder.lengths
            raise TrainingError(
                f"none of the {len(records)} examples can be trained on: {lengths.left_out} are too long for "
                f"{encoder.max_tokens} tokens, {lengths.below_quality} have too low a quality"
            )
        return found

    def __len__(self) -> int:
        return len(self.answers) or len(self.pairs)

    def digest(self) -> str:
        """Changes with any of it."""
        return digest_of([*self.answers, *(one for pair in self.pairs for one in pair)])

    def objective(
        self,
        model: TrainableModel,
        training: "_native.Training",
        checkpoint: Checkpoint,
        *,
        is_resumed: bool,
    ) -> Objective:
        """What is trained for; what it takes of other models is asked once, and kept in the checkpoint."""
        kind = self.config.objective
        if kind is TrainingObjective.Supervised:
            return AnswerObjective(self.answers)
        if not is_resumed:
            checkpoint.save_prepared(self._asked(model, training))
        told = checkpoint.load_prepared()
        if kind is TrainingObjective.Distill:
            return AnswerObjective(_with_targets(self.answers, told))
        references = _found(told, REFERENCES, (len(self.pairs), 2)).astype(np.float64)
        return PreferenceObjective(self.pairs, references, self.config.beta)

    def _asked(self, model: TrainableModel, training: "_native.Training") -> dict[str, NDArray[Any]]:
        if self.config.objective is TrainingObjective.Distill:
            examples = taught(list(self.answers), model, self.config)
            return {
                "ids": np.concatenate([one.ids for one in examples]),
                "shares": np.concatenate([one.shares for one in examples]),
            }
        return {REFERENCES: reference_log_probs(training, self.pairs)}


def _with_targets(examples: Sequence[Example], told: dict[str, NDArray[Any]]) -> list[Example]:
    """The examples with a teacher's tokens, which stand one after the other."""
    total = sum(len(one.tokens) for one in examples)
    width = told["ids"].shape[-1] if "ids" in told else 0
    ids, shares = (_found(told, name, (total, width)) for name in ("ids", "shares"))
    places = np.cumsum([0, *(len(one.tokens) for one in examples)])
    return [
        Example(
            tokens=one.tokens,
            ids=ids[begin:end].astype(np.uint32),
            shares=shares[begin:end].astype(np.float32),
            answer_tokens=one.answer_tokens,
        )
        for one, begin, end in zip(examples, places[:-1], places[1:], strict=True)
    ]


def _found(told: dict[str, NDArray[Any]], name: str, shape: tuple[int, ...]) -> NDArray[Any]:
    found = told.get(name)
    if found is None or found.shape != shape:
        raise TrainingError(f"the checkpoint has no {name} of shape {list(shape)}")
    return found
