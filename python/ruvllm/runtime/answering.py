"""What one prompt comes to: a task for each of its answers, and one that scores it where that is asked for.

The engine computes what the answers have in common once, as it does for any prompts that begin alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias, cast

from ruvllm.outputs import Completion, TokenLogprob
from ruvllm.runtime.request import EvaluationTask, GenerationTask, Task

__all__ = ["Answering", "Part", "Scores"]

Scores: TypeAlias = tuple[TokenLogprob, ...]
"""How likely each token of a prompt but the first was."""
Part: TypeAlias = Completion | Scores
"""What comes of one task."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answering:
    """A prompt that is to be answered.

    Attributes:
        choices: The answers, in their order.
        scores_prompt: Whether it is told how likely the prompt's tokens are.
        scoring: What computes that; `None` also for a prompt of one token, which nothing stands before.
    """

    choices: tuple[GenerationTask, ...]
    scores_prompt: bool = False
    scoring: EvaluationTask | None = None

    @property
    def tasks(self) -> tuple[Task, ...]:
        """All that is to be computed."""
        return self.choices if self.scoring is None else (*self.choices, self.scoring)

    def completion(self, parts: Sequence[Part]) -> Completion:
        """The one answer that is made of what came of the tasks, in their order."""
        made = cast("list[Completion]", list(parts[: len(self.choices)]))
        if self.scores_prompt:
            scores = () if self.scoring is None else cast("Scores", parts[-1])
            made = [replace(one, prompt_logprobs=(None, *scores)) for one in made]
        return replace(made[0], other_choices=tuple(made[1:])) if len(made) > 1 else made[0]
