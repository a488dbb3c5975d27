"""What is measured of two engines in turn, and how: a prompt, or tokens one by one after a context."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import fmean

from benches.peers.engine import Engine
from benches.peers.report import Measured
from benches.workloads import token_ids
from ruvllm.observability.peaks import MachinePeaks, measure_peaks

__all__ = ["STREAMS", "Bound", "Limits", "Task", "rates"]

Bound = Callable[[MachinePeaks], "float | None"]

# An engine's threads look for work a while before they sleep; the other one must not feel that.
SETTLE_SECONDS = 0.3
STREAMS = 16


@dataclass(frozen=True, slots=True)
class Task:
    """One thing to measure.

    Attributes:
        kind: `prefill` of the prompt; `decode` after it; `deep`, which is `decode` where what was computed of
            the prompt may be used again; `streams`, sixteen prompts and their answers together.
        prompt_tokens: Of a prompt.
        generate: Tokens to make after it; none in `prefill`.
    """

    kind: str
    prompt_tokens: int
    generate: int = 0

    @property
    def name(self) -> str:
        """As in a table's head."""
        return {
            "prefill": f"pp{self.prompt_tokens}",
            "decode": f"tg{self.generate}",
            "deep": f"tg{self.generate}@{self.prompt_tokens}",
            "streams": f"{STREAMS} x {self.prompt_tokens}+{self.generate}",
        }[self.kind]

    @property
    def num_tokens(self) -> int:
        """How many tokens the time is for."""
        if self.kind == "prefill":
            return self.prompt_tokens
        return self.generate * (STREAMS if self.kind == "streams" else 1)

    def token_ids(self, vocab_size: int) -> list[int]:
        """Its prompt, or its prompts one after the other."""
        return token_ids(self.prompt_tokens * (STREAMS if self.kind == "streams" else 1), vocab_size)


@dataclass(slots=True)
class Limits:
    """What the machine can do at most, measured before and after every pair of runs.

    What a shared machine's memory gives changes by half within a second: a figure from another moment would
    say more of its neighbours than of the engines. Each pair begins with caches that hold nothing of either.

    Attributes:
        threads: Of both engines.
        seen: Everything that was measured.
    """

    threads: int
    seen: list[MachinePeaks] = field(default_factory=list)

    def measure(self) -> MachinePeaks:
        """Those of this moment."""
        self.seen.append(measure_peaks(self.threads))
        return self.seen[-1]


def rates(
    engines: tuple[Engine, Engine],
    task: Task,
    repeat: int,
    limits: Limits | None = None,
    bound: Bound | None = None,
) -> Measured:
    """Tokens a second of both, run by run, and what `bound` says that the limits allow."""
    prompt = task.token_ids(engines[0].ready["vocab_size"])
    measured: tuple[list[float], list[float]] = ([], [])
    allowed: list[list[float]] = []
    for run in range(repeat + 1):
        # Who goes first changes, so that a drifting clock favours neither; the first round warms up.
        for index in (0, 1) if run % 2 else (1, 0):
            time.sleep(SETTLE_SECONDS)
            seconds = engines[index].seconds(task.kind, prompt, task.generate)
            if run:
                measured[index].append(task.num_tokens / seconds)
        if limits and bound:
            time.sleep(SETTLE_SECONDS)
            most = bound(limits.measure())
            allowed.append([most] if most else [])
    moments = [before + after for before, after in pairwise(allowed)]
    bounds = [fmean(both) for both in moments] if all(moments) else []
    return Measured(name=task.name, ours=measured[0], peer=measured[1], bounds=bounds)
