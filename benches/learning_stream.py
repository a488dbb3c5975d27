"""Streams of requests with feedback, and how many answers are right meanwhile: for `learning_curve`.

A tenant asks, gets an answer that was drawn, and says what it is worth by the rule. Every 25 requests, the
held-out ones are answered greedily and counted; nothing is said about those. Its control is another tenant
who asks the same requests with the same draws, and says the same numbers in an order of chance.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean

from benches import learning_reviews as reviews
from ruvllm import LLM, GenerateParams, SonaLlm

__all__ = ["EVERY", "Curve", "Pair", "gain", "run_pair"]

EVERY = 25
FIRST = 50
# An answer ends with its line; three tokens are enough to see that it is something else.
MAX_TOKENS = 3


@dataclass(slots=True)
class Curve:
    """How one stream went.

    Attributes:
        held_out: The share of right answers on held-out requests, before the first request and every 25.
        answered: Whether each answer of the stream was right.
        feedback: What was said of each.
        applied: How many of those changed the adapter.
    """

    held_out: list[float] = field(default_factory=list)
    answered: list[bool] = field(default_factory=list)
    feedback: list[float] = field(default_factory=list)
    applied: int = 0


@dataclass(frozen=True, slots=True)
class Pair:
    """A stream and its control."""

    real: Curve
    shuffled: Curve


def gain(curves: Sequence[Curve]) -> float:
    """How much larger the share of right answers is at the end than at the beginning, on the mean of streams.

    The beginning is before anything was said, or the mean of the first 50 requests: whichever is the larger.
    """
    means = [fmean(shares) for shares in zip(*(curve.held_out for curve in curves), strict=True)]
    return means[-1] - max(means[0], fmean(means[: FIRST // EVERY + 1]))


def run_pair(
    llm: LLM, question: reviews.Question, seed: int, *, num_requests: int = 200, every: int = EVERY
) -> Pair:
    """A stream of a seed's, and its control; held-out requests are asked before, every so many, and after."""
    asked = reviews.stream(num_requests, seed)
    plan = _Plan(question, asked, seed, every)
    real = _run(llm, SonaLlm(llm, tenant=f"rule {seed}"), plan, None)
    said = list(real.feedback)
    random.Random(seed + 1).shuffle(said)
    return Pair(real, _run(llm, SonaLlm(llm, tenant=f"shuffled {seed}"), plan, said))


@dataclass(frozen=True, slots=True)
class _Plan:
    """What a stream and its control have in common."""

    question: reviews.Question
    asked: Sequence[reviews.Review]
    seed: int
    every: int


def _run(llm: LLM, sona: SonaLlm, plan: _Plan, said: Sequence[float] | None) -> Curve:
    """Ask all, and say what the rule says, or what is given."""
    curve, question = Curve(), plan.question
    for index, review in enumerate(plan.asked):
        if index % plan.every == 0:
            curve.held_out.append(_share_right(llm, question, sona.tenant))
        answer = sona.generate(question.prompt(review), _params(1.0, plan.seed * 1_000_003 + index))
        feedback = question.feedback(review, answer.text) if said is None else said[index]
        curve.answered.append(question.is_right(review, answer.text))
        curve.feedback.append(feedback)
        curve.applied += sona.feedback(answer.completion_id, feedback).applied
    curve.held_out.append(_share_right(llm, question, sona.tenant))
    sona.reset()
    return curve


def _share_right(llm: LLM, question: reviews.Question, tenant: str) -> float:
    """Of the held-out requests, with what the tenant has taught."""
    asked = reviews.held_out()
    answers = llm.generate([question.prompt(review) for review in asked], _params(0.0, 0), tenant=tenant)
    pairs = zip(asked, answers, strict=True)
    return fmean(question.is_right(review, answer.text) for review, answer in pairs)


def _params(temperature: float, seed: int) -> GenerateParams:
    return GenerateParams(
        max_tokens=MAX_TOKENS,
        temperature=temperature,
        top_p=1.0,
        top_k=0,
        repetition_penalty=1.0,
        stop_sequences=("\n",),
        seed=seed,
    )
