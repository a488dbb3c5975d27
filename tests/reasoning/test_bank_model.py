"""After any calls a bank finds what looking at everything finds, also after a restart."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ruvllm import ReasoningBank, Trajectory, Verdict
from tests.reasoning.word_vectors import word_vectors

WORDS = st.sampled_from(["paint", "bake", "sing", "house", "bread", "song", "red", "white", "loud"])
TEXTS = st.lists(WORDS, min_size=1, max_size=4).map(" ".join)
QUALITIES = st.integers(0, 10).map(lambda number: number / 10)
CAPACITY = 24


@dataclass
class Known:
    trajectory: Trajectory
    vector: np.ndarray
    uses: int = 0

    @property
    def worth(self) -> float:
        return self.trajectory.quality + 0.5 * (1 - 1 / (1 + self.uses))


class BankMachine(RuleBasedStateMachine):
    """The bank beside a dictionary, and similarities in double precision over all of it."""

    @initialize(on_disk=st.booleans())
    def begin(self, on_disk: bool) -> None:
        self.known: dict[int, Known] = {}
        self.folder = tempfile.TemporaryDirectory() if on_disk else None
        self.next_id = 1
        self.taken_of = 0
        self.mean, self.spread = 0.0, 1.0
        self.open()

    def open(self) -> None:
        self.bank = ReasoningBank(word_vectors, self.folder and Path(self.folder.name), capacity=CAPACITY)

    def teardown(self) -> None:
        if hasattr(self, "bank"):
            self.bank.close()
            if self.folder:
                self.folder.cleanup()

    def similarities(self, text: str) -> dict[int, float]:
        def direction(vector: np.ndarray) -> np.ndarray:
            rest = (vector - self.mean) / self.spread
            return rest / np.linalg.norm(rest) if np.linalg.norm(rest) > 1e-6 else rest * 0.0

        asked = direction(unit(text))
        return {number: float(asked @ direction(one.vector)) for number, one in self.known.items()}

    @rule(texts=st.lists(st.tuples(TEXTS, QUALITIES, st.sampled_from(list(Verdict))), min_size=1, max_size=9))
    def record(self, texts: list[tuple[str, float, Verdict]]) -> None:
        added = [
            Trajectory(request=text, quality=quality, verdict=verdict) for text, quality, verdict in texts
        ]
        numbers = self.bank.extend(added)
        assert numbers == list(range(self.next_id, self.next_id + len(added)))
        self.next_id += len(added)
        surplus = len(self.known) + len(added) - CAPACITY
        for number in sorted(self.known, key=lambda one: (self.known[one].worth, one))[: max(0, surplus)]:
            del self.known[number]
        self.known.update(
            {number: Known(one, unit(one.request)) for number, one in zip(numbers, added, strict=True)}
        )
        if len(self.known) >= max(8, 1.25 * self.taken_of):
            vectors = np.array([one.vector for one in self.known.values()])
            self.taken_of = len(self.known)
            self.mean = vectors.mean(axis=0)
            variance = ((vectors - self.mean) ** 2).mean(axis=0)
            self.spread = np.sqrt(variance + 3 * variance.mean()) if variance.max() > 1e-12 else 1.0

    @precondition(lambda self: self.known)
    @rule(data=st.data())
    def forget(self, data: st.DataObject) -> None:
        numbers = data.draw(st.lists(st.sampled_from(sorted(self.known)), min_size=1, max_size=5))
        self.bank.forget(*numbers)
        for number in set(numbers):
            del self.known[number]

    @rule(
        text=TEXTS,
        k=st.integers(1, 30),
        verdicts=st.sets(st.sampled_from(list(Verdict)), min_size=1),
        min_quality=QUALITIES,
    )
    def search(self, text: str, k: int, verdicts: set[Verdict], min_quality: float) -> None:
        found = self.bank.search(text, k, verdicts=verdicts, min_quality=min_quality)
        expected = {
            number: similarity
            for number, similarity in self.similarities(text).items()
            if self.known[number].trajectory.verdict in verdicts
            and self.known[number].trajectory.quality >= min_quality
        }
        assert len(found) == min(k, len(expected))
        assert len({match.id for match in found}) == len(found)
        best = sorted(expected.values(), reverse=True)
        for match, similarity in zip(found, best, strict=False):
            assert match.trajectory == self.known[match.id].trajectory
            # Of equals any may come first; both are within single precision.
            assert abs(match.similarity - similarity) < 1e-4
            assert abs(expected[match.id] - similarity) < 1e-4
            self.known[match.id].uses += 1

    @precondition(lambda self: self.folder is not None)
    @rule()
    def restart(self) -> None:
        self.bank.close()
        self.open()

    @invariant()
    def is_as_large(self) -> None:
        if hasattr(self, "bank"):
            assert len(self.bank) == len(self.known) <= CAPACITY


def unit(text: str) -> np.ndarray:
    (vector,) = word_vectors([text])
    return vector / np.linalg.norm(vector)


TestBank = BankMachine.TestCase
TestBank.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
