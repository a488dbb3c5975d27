"""A load's figures. Tokens are the server's own counts; where it gives none, there is no figure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ruvllm.client.load.exchange import Outcome, OutcomeKind
from ruvllm.client.load.runner import LoadRun
from ruvllm.errors import ConfigError

__all__ = ["LATENCIES", "Distribution", "Report", "read_service_levels"]

LATENCIES = {
    "ttft": "time to the first token",
    "tpot": "time per token after the first, a request's mean",
    "itl": "wait between two pieces of an answer",
    "e2el": "time to the end of the answer",
}
"""Names and meanings of what is measured, as in vLLM's `bench serve`."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """Milliseconds: mean and percentiles, with numpy's linear interpolation."""

    mean: float
    p50: float
    p95: float
    p99: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> "Distribution | None":
        """`None` where nothing was measured."""
        if not seconds:
            return None
        values = np.asarray(seconds) * 1000
        return cls(float(values.mean()), *(float(value) for value in np.percentile(values, (50, 95, 99))))


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a load showed.

    Attributes:
        counts: Requests by how they ended.
        failures: Why requests failed, and how many did so.
        refusals: The same for refused ones.
        wall_seconds: From the first request to the last end.
        prompt_tokens: Of the answered requests.
        cached_prompt_tokens: Those of them that the server did not compute.
        output_tokens: Of the answered requests.
        uncounted: Answers for which the server counted no tokens.
        short: Answers that ended before `max_tokens`.
        latencies: By the names of `LATENCIES`; answered requests only.
        good: Answered requests that kept every service level; `None` without levels.
        late_ms: How late the 99th of 100 requests was sent: above some, the load itself had not enough time.
    """

    counts: Mapping[OutcomeKind, int]
    failures: Mapping[str, int]
    refusals: Mapping[str, int]
    wall_seconds: float
    prompt_tokens: int
    cached_prompt_tokens: int
    output_tokens: int
    uncounted: int
    short: int
    latencies: Mapping[str, Distribution | None]
    good: int | None
    late_ms: float

    @classmethod
    def of(cls, run: LoadRun, service_levels: Mapping[str, float] | None = None) -> "Report":
        """Add up; `service_levels` are milliseconds by the names of `LATENCIES`."""
        answered = [outcome for outcome in run.outcomes if outcome.kind is OutcomeKind.OK]
        usages = [outcome.usage for outcome in answered if outcome.usage]
        late = Distribution.of([outcome.late_seconds for outcome in run.outcomes])
        return cls(
            counts={kind: sum(outcome.kind is kind for outcome in run.outcomes) for kind in OutcomeKind},
            failures=_reasons(run.outcomes, OutcomeKind.FAILED),
            refusals=_reasons(run.outcomes, OutcomeKind.REFUSED),
            wall_seconds=run.wall_seconds,
            prompt_tokens=sum(usage.prompt_tokens for usage in usages),
            cached_prompt_tokens=sum(usage.cached_tokens for usage in usages),
            output_tokens=sum(usage.completion_tokens for usage in usages),
            uncounted=len(answered) - len(usages),
            short=sum(outcome.finish_reason != "length" for outcome in answered),
            latencies={
                name: Distribution.of([second for outcome in answered for second in _seconds(outcome, name)])
                for name in LATENCIES
            },
            good=sum(_is_good(outcome, service_levels) for outcome in answered) if service_levels else None,
            late_ms=late.p99 if late else 0.0,
        )

    @property
    def answered(self) -> int:
        """Requests that were answered to the end."""
        return self.counts[OutcomeKind.OK]

    @property
    def requests_per_second(self) -> float:
        """Answered ones."""
        return self._rate(self.answered)

    @property
    def output_tokens_per_second(self) -> float | None:
        """Tokens of answers; `None` where the server did not count them all."""
        return None if self.uncounted else self._rate(self.output_tokens)

    @property
    def total_tokens_per_second(self) -> float | None:
        """Tokens of prompts and answers; `None` where the server did not count them all."""
        return None if self.uncounted else self._rate(self.prompt_tokens + self.output_tokens)

    @property
    def goodput(self) -> float | None:
        """Requests a second that kept every service level; `None` without levels."""
        return None if self.good is None else self._rate(self.good)

    def as_json(self) -> dict[str, Any]:
        """All of it, for programs; latencies are in milliseconds."""
        return {
            "requests": {kind.value: count for kind, count in self.counts.items()},
            "failures": dict(self.failures),
            "refusals": dict(self.refusals),
            "wall_seconds": self.wall_seconds,
            "requests_per_second": self.requests_per_second,
            "output_tokens_per_second": self.output_tokens_per_second,
            "total_tokens_per_second": self.total_tokens_per_second,
            "prompt_tokens": self.prompt_tokens,
            "cached_prompt_tokens": self.cached_prompt_tokens,
            "output_tokens": self.output_tokens,
            "answers_without_a_count": self.uncounted,
            "answers_shorter_than_max_tokens": self.short,
            "goodput_requests_per_second": self.goodput,
            "sent_late_p99_ms": self.late_ms,
            **{f"{name}_ms": asdict(values) if values else None for name, values in self.latencies.items()},
        }

    def _rate(self, count: int) -> float:
        return count / self.wall_seconds if self.wall_seconds > 0 else 0.0


def read_service_levels(texts: Iterable[str]) -> dict[str, float]:
    """Milliseconds by name, out of texts like `ttft:500 itl:50`.

    >>> read_service_levels(["ttft:500 itl:50"])
    {'ttft': 500.0, 'itl': 50.0}
    """
    levels = {}
    for pair in " ".join(texts).replace(",", " ").split():
        name, _, value = pair.partition(":")
        try:
            milliseconds = float(value)
        except ValueError:
            milliseconds = -1.0
        if name not in LATENCIES or not milliseconds > 0:
            raise ConfigError(
                f"goodput is {pair!r}; it must be like ttft:500, in milliseconds, of {', '.join(LATENCIES)}"
            )
        levels[name] = milliseconds
    return levels


def _reasons(outcomes: Iterable[Outcome], kind: OutcomeKind) -> dict[str, int]:
    reasons = Counter(outcome.reason or "" for outcome in outcomes if outcome.kind is kind)
    return dict(reasons.most_common())


def _seconds(outcome: Outcome, name: str) -> Sequence[float]:
    """What a request adds to a distribution."""
    if name == "itl":
        return outcome.gap_seconds
    second = {
        "ttft": outcome.first_token_seconds,
        "tpot": outcome.seconds_per_token,
        "e2el": outcome.total_seconds,
    }[name]
    return [] if second is None else [second]


def _is_good(outcome: Outcome, service_levels: Mapping[str, float]) -> bool:
    """Whether the mean of each measure keeps its level; an answer of one token has no gaps to keep."""
    for name, milliseconds in service_levels.items():
        if name == "tpot" and outcome.usage is None:
            return False  # nobody can tell
        seconds = _seconds(outcome, name)
        if seconds and sum(seconds) / len(seconds) * 1000 > milliseconds:
            return False
    return True
