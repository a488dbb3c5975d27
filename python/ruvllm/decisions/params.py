"""How questions are decided."""

import os
from dataclasses import dataclass

from ruvllm._checks import Interval, check_number
from ruvllm.decisions.calibration import Calibration
from ruvllm.decisions.orders import Orders, check_orders

__all__ = ["DecisionParams"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionParams:
    """One request's choices.

    >>> DecisionParams(orders="all", abstain_below=0.6).abstain_below
    0.6

    Attributes:
        orders: In how many orders options are shown, whose mean is taken, or `all` of them. With 1 it is the
            order of the question; with more the answer does not depend on it. Levels of a score, and yes and
            no, have two: forwards and backwards.
        calibration: The temperatures to use, or the file that holds them; `None` takes what the model says.
        abstain_below: Answers of less confidence are marked as abstained from.
    """

    orders: Orders = 1
    calibration: Calibration | str | os.PathLike[str] | None = None
    abstain_below: float = 0.0

    def __post_init__(self) -> None:
        check_orders(self.orders)
        check_number("abstain_below", self.abstain_below, Interval(0.0, 1.0))
        if self.calibration is not None and not isinstance(self.calibration, Calibration):
            object.__setattr__(self, "calibration", Calibration.load(self.calibration))

    @property
    def temperatures(self) -> Calibration:
        """The calibration, read; one that changes nothing where there is none."""
        return self.calibration if isinstance(self.calibration, Calibration) else Calibration()
