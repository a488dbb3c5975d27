"""What an update says of the probabilities that it made, against NumPy in f64.

The update measures each length that it tries along a line, without any product of a state and a row; here the
matrices that came out are multiplied with all of them.
"""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from ruvllm import LLM
from ruvllm.learning import SonaConfig, SonaLlm, SonaLlmConfig, TenantState
from tests.conftest import FIXTURES
from tests.support.numpy_reference import Reference

PROMPT, ANSWER = [5, 17, 42, 99, 3], [203, 11, 7, 60, 11, 250, 7, 31]
TOKENS = PROMPT + ANSWER
CANDIDATES, LEAST_PROBABILITY, LEAST_WEIGHT = 64, 1e-3, 0.02

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Place:
    """A place of the answer: its state, and rows and bare logits of its candidates and of the rest."""

    state: Array
    rows: Array
    logits: Array
    cap: float | None

    def log_probs(self, state: TenantState) -> Array:
        """Of the candidates, the one that was said first, and of the rest, which is not capped."""
        a, b = state.a.astype("f8"), state.b.astype("f8")
        logits = self.logits + state.scale * (self.rows @ b.T) @ (a @ self.state)
        if self.cap is not None:
            logits[:-1] = self.cap * np.tanh(logits[:-1] / self.cap)
        logits = logits - logits.max()
        logs: Array = logits - np.log(np.exp(logits).sum())
        return logs


def places(reference: Reference, state: TenantState) -> list[Place]:
    """What a model that has learned `state` says of the answer, and what of it an update looks at."""
    cap, head = reference.settings.final_cap, reference.head()
    hidden = reference.hidden(TOKENS)[len(PROMPT) - 1 : -1]
    a, b = state.a.astype("f8"), state.b.astype("f8")
    states = hidden.astype("f2").astype("f8")
    logits = reference.logits_of(hidden + state.scale * (hidden @ a.T) @ b)
    totals = np.log(np.exp(logits).sum(axis=1))
    chosen, weights = [], np.zeros(len(head))
    for row, total, said in zip(logits, totals, ANSWER, strict=True):
        probabilities = np.exp(row - total)
        best = np.argsort(-row)[:CANDIDATES]
        likely = [token for token in best if probabilities[token] >= LEAST_PROBABILITY]
        weights[likely] += probabilities[likely]
        weights[said] += len(TOKENS)
        chosen.append([said, *(token for token in likely if token != said)])
    found = []
    for state_here, row, total, tokens in zip(states, logits, totals, chosen, strict=True):
        kept = [token for token in tokens if weights[token] >= LEAST_WEIGHT]
        of_rest = np.log1p(-np.exp(row[kept] - total).sum()) + total
        raw = row[kept] if cap is None else cap * np.arctanh(row[kept] / cap)
        rows = np.vstack([head[kept], head.mean(axis=0)])
        moved = state.scale * (rows @ b.T) @ (a @ state_here)
        found.append(Place(state_here, rows, np.append(raw, of_rest) - moved, cap))
    return found


def divergence(found: list[Place], before: TenantState, after: TenantState) -> float:
    """The mean over the places of the Kullback-Leibler divergence."""
    pairs = [(place.log_probs(before), place.log_probs(after)) for place in found]
    return float(np.mean([(np.exp(was) * (was - now)).sum() for was, now in pairs]))


def said(found: list[Place], state: TenantState) -> float:
    """The mean log-probability of the answer."""
    return float(np.mean([place.log_probs(state)[0] for place in found]))


@pytest.mark.parametrize("rank", [1, 2])
@pytest.mark.parametrize("feedback", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("has_learned", [False, True], ids=["fresh", "learned"])
def test_an_update_says_what_it_made_of_the_probabilities(
    llm: LLM, name: str, rank: int, feedback: float, *, has_learned: bool
) -> None:
    reference = Reference.open(FIXTURES / "models" / name)
    config = SonaLlmConfig(sona=SonaConfig(micro_lora_rank=rank, baseline_rate=0.0, max_drift=5.0))
    sona = SonaLlm(llm, config, tenant=f"trials {rank} {feedback} {has_learned}")
    nothing = sona.state
    if has_learned:
        numbers = np.random.default_rng(3)
        shape = nothing.a.shape
        a, b = (np.float32(0.2) * numbers.standard_normal(shape, dtype=np.float32) for _ in range(2))
        fisher = np.float32(0.5) * numbers.random(shape, dtype=np.float32)
        held = {"fisher_a": fisher, "fisher_b": fisher, "anchor_a": a, "anchor_b": b}
        start = replace(nothing, generation=7, a=a, b=b, scale=0.5, **held)
        sona.learner.restore(start)
    before = sona.state
    found = places(reference, before)
    # Not what was said and the rest alone.
    assert sum(len(place.logits) > 2 for place in found) >= len(ANSWER) // 2
    result = sona.learner.adapt(llm.learning.captured(sona.tenant, PROMPT, ANSWER), "one", feedback)
    after = sona.state
    assert result.applied
    for measured, exact in (
        (result.divergence, divergence(found, before, after)),
        (result.logprob_change, said(found, after) - said(found, before)),
        (result.drift, divergence(found, nothing, after)),
    ):
        assert measured == pytest.approx(exact, rel=0.01, abs=2e-5)
    # It goes as far as it may, about, where nothing holds it: the trials found where that is.
    allowed = config.instant_lr * (feedback - 0.5) ** 2
    assert result.divergence <= allowed
    assert has_learned or result.divergence > 0.3 * allowed
    # Nothing of it is by chance.
    again = SonaLlm(llm, config, tenant=f"again {sona.tenant}")
    again.learner.restore(replace(before, tenant=again.tenant))
    again.learner.adapt(llm.learning.captured(again.tenant, PROMPT, ANSWER), "one", feedback)
    assert np.array_equal(again.state.a, after.a)
    assert np.array_equal(again.state.b, after.b)
