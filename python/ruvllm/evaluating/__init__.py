"""How good a model is: perplexity, how far it is from a reference, how many questions it answers rightly."""

from ruvllm.evaluating.choices import ChoiceQuestion, ChoiceScores, read_questions
from ruvllm.evaluating.comparison import Comparison
from ruvllm.evaluating.divergence import Divergence
from ruvllm.evaluating.estimate import Estimate
from ruvllm.evaluating.evaluation import Evaluation, evaluate
from ruvllm.evaluating.importance import measure_importance
from ruvllm.evaluating.picture import picture
from ruvllm.evaluating.text_scores import EvaluationParams, TextScores

__all__ = [
    "ChoiceQuestion",
    "ChoiceScores",
    "Comparison",
    "Divergence",
    "Estimate",
    "Evaluation",
    "EvaluationParams",
    "TextScores",
    "evaluate",
    "measure_importance",
    "picture",
    "read_questions",
]
