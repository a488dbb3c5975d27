"""Who is in, who gives way, and what part each has in a step. Pure: no clock, engine or state."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from ruvllm.config import Limits
from ruvllm.runtime.admission import Admission
from ruvllm.runtime.plans import Decision, Running, Shares, View
from ruvllm.runtime.step_shares import share_step
from ruvllm.runtime.step_times import StepTimes

__all__ = ["Scheduler"]


@dataclass(frozen=True, slots=True)
class Scheduler:
    """The policy: what is short is shared by tenants, not by requests.

    Where it does not preempt, whoever is in stays in: others wait for a place.

    >>> from ruvllm.runtime.kv_shape import KvShape
    >>> from ruvllm.runtime.plans import Waiting
    >>> view = View(waiting=(Waiting(request_id=1, prompt_tokens=5, reserved_tokens=9),), free_blocks=4,
    ...             total_blocks=4, shape=KvShape(4))
    >>> Scheduler().decide(view).admitted
    (1,)
    """

    limits: Limits = field(default_factory=Limits)
    preempts: bool = True

    def decide(self, view: View) -> Decision:
        """Say who is in from now on."""
        return Admission(view, self.limits, preempts=self.preempts).decide()

    def share(self, running: Iterable[Running], times: StepTimes | None = None) -> Shares:
        """Give those who are in a part of each step, and say for how many steps that holds.

        Without measured times nothing is known of seconds, and tokens alone are counted.
        """
        return share_step(running, self.limits, times)
