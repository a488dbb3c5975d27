"""Mechanical mutants that nothing can notice, each with the reason."""

from tests.mutants.mutant import Mutant

__all__ = ["EXPLAINED"]

EXPLAINED: tuple[Mutant, ...] = ()
