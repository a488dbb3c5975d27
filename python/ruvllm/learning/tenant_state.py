"""What a tenant has learned: plain data that never changes; each change is another generation.

The adapter acts on the last hidden state, after the output norm and before the head:
`h + scale * sum over r of b[r] * (a[r] . h)`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["MATRICES", "TenantState"]

Matrix = NDArray[np.float32]
# In the order in which an update gives them.
MATRICES = ("a", "b", "fisher_a", "fisher_b", "anchor_a", "anchor_b")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TenantState:
    """One generation of what a tenant has learned.

    All matrices are `[rank, hidden]`, B turned over: row `r` of `b` is what is added where row `r` of `a`
    meets the hidden state. They are read-only.

    Attributes:
        tenant: Whose it is.
        generation: Its number, from 0, which has learned nothing; counts up, and no other matrices have it.
        a: What the hidden state is multiplied with.
        b: What is added for that; 0 where nothing is learned.
        scale: What the sum is multiplied with.
        fisher_a: How important each number of `a` was for what was learned: a fading mean of the squares of
            its gradients.
        fisher_b: The same of `b`.
        anchor_a: Where the penalty pulls `a`: what it was when it was consolidated last.
        anchor_b: The same of `b`.
        baseline: The quality that is expected; feedback counts for what it differs from that.
        feedback: How often feedback was given until then.
        updates: How often it changed the adapter.
        deep: The number of the deep loop's adapter that the layers have; `None` is the model as it is.
    """

    tenant: str
    generation: int
    a: Matrix
    b: Matrix
    scale: float
    fisher_a: Matrix
    fisher_b: Matrix
    anchor_a: Matrix
    anchor_b: Matrix
    baseline: float
    feedback: int
    updates: int
    deep: int | None = None

    @classmethod
    def new(cls, tenant: str, *, hidden: int, rank: int, scale: float, baseline: float) -> "TenantState":
        """A state that has learned nothing."""
        nothing = np.zeros((rank, hidden), np.float32)
        nothing.flags.writeable = False
        return cls(
            tenant=tenant,
            generation=0,
            a=nothing,
            b=nothing,
            scale=scale,
            fisher_a=nothing,
            fisher_b=nothing,
            anchor_a=nothing,
            anchor_b=nothing,
            baseline=baseline,
            feedback=0,
            updates=0,
        )

    @property
    def rank(self) -> int:
        """Rows of its matrices."""
        return int(self.a.shape[0])

    @property
    def hidden(self) -> int:
        """Their columns: the model's hidden size."""
        return int(self.a.shape[1])
