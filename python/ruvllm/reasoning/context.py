"""What a bank knows about a request, as a text to put before it, within a bound of tokens."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ruvllm.reasoning.trajectory import Match, Trajectory, Verdict

__all__ = ["BankContext", "write_context"]

_BREAK = "\n\n"
LEAD = "What was done for similar requests, and how it went:"
_ENDED = {
    Verdict.Success: "This was right.",
    Verdict.Failure: "This was wrong.",
    Verdict.Partial: "This was partly right.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BankContext:
    """A text to put before a request, and what it was made of.

    Attributes:
        text: The text; empty where the bank had nothing that is similar and fits.
        tokens: How many it is.
        used: The trajectories in it, the most similar first; `similarity` is to the request.
        patterns: The ids of the patterns that they are of; none where the bank has no patterns.
        left_out: How many more were similar and did not fit.
    """

    text: str
    tokens: int
    used: tuple[Match, ...]
    patterns: tuple[int, ...]
    left_out: int


def write_context(
    found: Iterable[tuple[Match, int | None]], count_tokens: Callable[[str], int], max_tokens: int
) -> BankContext:
    """As many as fit of the trajectories that were found, with their patterns: whole, else without steps."""
    text, tokens, left_out = "", 0, 0
    used: list[Match] = []
    patterns: list[int] = []
    for match, pattern in found:
        for with_steps in (True, False):
            longer = f"{text or LEAD + _BREAK}{_written(match.trajectory, with_steps=with_steps)}{_BREAK}"
            longer_tokens = count_tokens(longer)
            if longer_tokens <= max_tokens:
                break
        else:
            left_out += 1
            continue
        text, tokens = longer, longer_tokens
        used.append(match)
        if pattern is not None:
            patterns.append(pattern)
    return BankContext(
        text=text, tokens=tokens, used=tuple(used), patterns=tuple(patterns), left_out=left_out
    )


def _written(trajectory: Trajectory, *, with_steps: bool) -> str:
    lines = [f"Request: {trajectory.request.strip()}"]
    if with_steps:
        for number, step in enumerate(trajectory.steps, start=1):
            outcome = f" -> {step.outcome.strip()}" if step.outcome else ""
            lines.append(f"Step {number}: {step.action.strip()}{outcome}")
    if trajectory.response:
        lines.append(f"Answer: {trajectory.response.strip()}")
    if trajectory.verdict in _ENDED:
        lines.append(_ENDED[trajectory.verdict])
    return "\n".join(lines)
