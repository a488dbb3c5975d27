"""Decisions: typed questions about an input in, probabilities out, nothing generated.

The input is computed once, and of each question a short end; what the model would say is read off the
log-probabilities of the labels. See docs/decisions.md.
"""

from ruvllm.decisions.answers import Answer, ChoiceAnswer, Decision, PredicateAnswer, ScoreAnswer
from ruvllm.decisions.calibration import Calibration, Example, expected_calibration_error
from ruvllm.decisions.labelled import Labelled
from ruvllm.decisions.params import DecisionParams
from ruvllm.decisions.questions import Choice, Level, Option, Predicate, Question, Score

__all__ = [
    "Answer",
    "Calibration",
    "Choice",
    "ChoiceAnswer",
    "Decision",
    "DecisionParams",
    "Example",
    "Labelled",
    "Level",
    "Option",
    "Predicate",
    "PredicateAnswer",
    "Question",
    "Score",
    "ScoreAnswer",
    "expected_calibration_error",
]
