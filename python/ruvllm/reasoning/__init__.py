"""The reasoning bank: what was tried for which request and how it went, found again by similarity."""

from ruvllm.reasoning.bank import ReasoningBank
from ruvllm.reasoning.context import BankContext
from ruvllm.reasoning.figures import BankStats
from ruvllm.reasoning.patterns import Pattern
from ruvllm.reasoning.trajectory import Match, Step, Trajectory, Verdict

__all__ = [
    "BankContext",
    "BankStats",
    "Match",
    "Pattern",
    "ReasoningBank",
    "Step",
    "Trajectory",
    "Verdict",
]
