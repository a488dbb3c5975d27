"""What came of the mutants: one by one, by part, and as a whole."""

from dataclasses import dataclass, field
from typing import Any

from tests.mutants.mutant import Mutant
from tests.mutants.suites import Outcome, Verdict

__all__ = ["Report", "Trial"]


@dataclass(frozen=True, slots=True)
class Trial:
    """A mutant and what its tests said of it; `None` of one that nothing can notice, which is not run."""

    part: str
    is_drawn: bool
    mutant: Mutant
    verdict: Verdict | None
    seconds: float

    @property
    def outcome(self) -> Outcome | None:
        """What its tests said in a word."""
        return self.verdict and self.verdict.outcome

    @property
    def counts(self) -> bool:
        """Whether it is one that could be noticed."""
        return self.outcome not in (None, Outcome.UNBUILT)

    @property
    def is_noticed(self) -> bool:
        """Whether a test failed or did not end."""
        return self.outcome in (Outcome.FAILED, Outcome.ENDLESS)

    @property
    def word(self) -> str:
        """What is said of it."""
        if self.outcome is None:
            return "explained"
        if self.outcome is Outcome.UNBUILT:
            return "no mutant" if self.is_drawn else "WRONG"
        return "noticed" if self.is_noticed else "SURVIVES"

    def __str__(self) -> str:
        origin = "drawn" if self.is_drawn else "listed"
        return f"{self.word:9} {self.seconds:6.1f} s  {origin:6}  {self.part}: {self.mutant}"


@dataclass(slots=True)
class Report:
    """All trials of a run."""

    seed: int
    trials: list[Trial] = field(default_factory=list)

    def add(self, trial: Trial) -> None:
        """Count one more."""
        self.trials.append(trial)

    @property
    def exit_code(self) -> int:
        """0 where all were noticed, 1 where some survived, 2 where the list is wrong."""
        words = {trial.word for trial in self.trials}
        return 2 if "WRONG" in words else 1 if "SURVIVES" in words else 0

    def figures(self) -> dict[str, Any]:
        """The same as a value that JSON can hold."""
        parts = {name: _figures(group) for name, group in self._groups().items()}
        trials = [
            {
                "part": trial.part,
                "origin": "drawn" if trial.is_drawn else "listed",
                "path": trial.mutant.path,
                "text": trial.mutant.text,
                "replacement": trial.mutant.replacement,
                "outcome": trial.word,
                "noticed_by": trial.verdict.failed if trial.verdict else "",
                "reason": trial.mutant.equivalent,
                "seconds": round(trial.seconds, 1),
            }
            for trial in self.trials
        ]
        return {"seed": self.seed, "whole": _figures(self.trials), "parts": parts, "mutants": trials}

    def __str__(self) -> str:
        lines = [f"{'':15} {'listed':>9} {'drawn':>9} {'share':>6} {'explained':>10}"]
        for name, group in [*self._groups().items(), ("whole", self.trials)]:
            figures = _figures(group)
            pairs = ["{noticed}/{all}".format_map(figures[origin]) for origin in ("listed", "drawn")]
            share = "" if figures["share"] is None else f"{figures['share']:.0%}"
            lines.append(f"{name:15} {pairs[0]:>9} {pairs[1]:>9} {share:>6} {figures['explained']:>10}")
        return "\n".join(lines)

    def _groups(self) -> dict[str, list[Trial]]:
        groups: dict[str, list[Trial]] = {}
        for trial in self.trials:
            groups.setdefault(trial.part, []).append(trial)
        return groups


def _figures(trials: list[Trial]) -> dict[str, Any]:
    counted = [trial for trial in trials if trial.counts]
    by_origin = {
        name: {
            "noticed": sum(trial.is_noticed for trial in counted if trial.is_drawn is is_drawn),
            "all": sum(trial.is_drawn is is_drawn for trial in counted),
        }
        for name, is_drawn in (("listed", False), ("drawn", True))
    }
    noticed = sum(trial.is_noticed for trial in counted)
    return {
        **by_origin,
        "share": noticed / len(counted) if counted else None,
        "explained": sum(trial.outcome is None for trial in trials),
    }
