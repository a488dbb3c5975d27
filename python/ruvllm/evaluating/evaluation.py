"""`evaluate`: one model, on a text, against a reference, and on questions."""

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from ruvllm.engine_settings import EngineKeywords
from ruvllm.errors import ConfigError
from ruvllm.evaluating.choices import ChoiceQuestion, ChoiceScores, read_questions, score_choices
from ruvllm.evaluating.comparison import Comparison
from ruvllm.evaluating.divergence import Divergence, compare_text
from ruvllm.evaluating.text_scores import Chunks, EvaluationParams, TextScores, score_text
from ruvllm.llm import LLM

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["AnyModel", "Evaluation", "evaluate", "opened", "refuse_unused"]

AnyModel: TypeAlias = str | os.PathLike[str] | LLM


@dataclass(frozen=True, eq=False, kw_only=True)
class Evaluation:
    """What was found of a model; `None` where it was not asked for.

    Attributes:
        model: The model's file.
        text: How likely the text was.
        divergence: How far the model is from the reference.
        choices: How many questions it answered rightly.
    """

    model: Path
    text: TextScores | None = None
    divergence: Divergence | None = None
    choices: ChoiceScores | None = None

    def compared_with(self, other: "Evaluation") -> Comparison:
        """How another model differs from this one on the same text and questions, pair by pair."""
        return Comparison.of(self, other)

    def to_json(self) -> dict[str, object]:
        """The figures for programs."""
        parts = {"text": self.text, "divergence": self.divergence, "choices": self.choices}
        found = {name: part.to_json() for name, part in parts.items() if part is not None}
        return {"model": str(self.model), **found}


def evaluate(
    model: AnyModel,
    text: str | Sequence[int] | None = None,
    *,
    choices: str | os.PathLike[str] | Sequence[ChoiceQuestion] | None = None,
    reference: AnyModel | None = None,
    params: EvaluationParams | None = None,
    progress: Callable[[int, int], None] | None = None,
    **settings: "Unpack[EngineKeywords]",
) -> Evaluation:
    """Measure how good a model is: perplexity of a text, distance from a reference, right answers.

        found = ruvllm.evaluate("smollm2-Q4_K_M.gguf", text, reference="smollm2-F16.gguf")
        print(found.text.perplexity, found.divergence.mean)

    Args:
        model: A name or path as for `LLM`, or one that is loaded.
        text: What it reads; or tokens, which are taken as they are.
        choices: Questions with choices: a JSONL file, or `ChoiceQuestion`s.
        reference: The model to compare predictions with, of the same vocabulary; most often the same model in
            16 bits. It is loaded beside the other one.
        params: How the text is read; the defaults are `EvaluationParams()`.
        progress: Called with the tokens done and in all, then with questions.
        **settings: As for `LLM`, for the models that are loaded here; refused where none is.
    """
    if text is None and choices is None:
        raise ConfigError(
            "there is nothing to evaluate on: give a text of some 100 kB of the kind that the model will "
            "read (the test part of WikiText-2 is usual), or a JSONL file of questions with choices"
        )
    if reference is not None and text is None:
        raise ConfigError("a reference is compared over a text; give one")
    refuse_unused(settings, model, reference)
    report = progress or (lambda done, total: None)
    # Before anything is loaded: a file that is none is said at once.
    questions = read_questions(Path(choices)) if isinstance(choices, str | os.PathLike) else choices
    with ExitStack() as stack:
        llm = stack.enter_context(opened(model, settings))
        scores = divergence = answered = None
        if text is not None:
            chunks = Chunks.of(llm, text, params or EvaluationParams())
            if reference is None:
                scores = score_text(llm, chunks, report)
            else:
                with opened(reference, settings) as other:
                    _check_same_tokens(chunks, Chunks.of(other, text, params or EvaluationParams()))
                    divergence = compare_text(llm, other, chunks, report)
                scores = divergence.scores
        if questions is not None:
            answered = score_choices(llm, questions, report)
        return Evaluation(model=llm.model_info.path, text=scores, divergence=divergence, choices=answered)


def opened(model: AnyModel, settings: EngineKeywords) -> "AbstractContextManager[LLM]":
    """A model that is closed afterwards where it was opened here."""
    if isinstance(model, LLM):
        return nullcontext(model)
    return LLM(model, **settings)


def refuse_unused(settings: EngineKeywords, *models: AnyModel | None) -> None:
    """An error where there are settings and nothing that would be opened with them."""
    if settings and all(model is None or isinstance(model, LLM) for model in models):
        raise ConfigError(
            f"{', '.join(sorted(settings))}: settings of an engine, but the model is loaded already; give "
            "them to LLM, or name a file here (how the text is read is said by `params`)"
        )


def _check_same_tokens(ours: Chunks, theirs: Chunks) -> None:
    if ours.token_ids.tolist() != theirs.token_ids.tolist():
        raise ConfigError("the reference reads the text in other tokens; it must be of the same vocabulary")
