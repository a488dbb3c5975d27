"""What tenants' requests take from learning: adapters, one before the head, and whether answers are kept.

Learning publishes here, and whoever makes a task looks here: once, when the request is made, so that it keeps
what it began with. A tenant that nobody learns for has no entry, and its requests are as without learning.
"""

import threading
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import ruvllm._native as _native
    from ruvllm.adapters.registry import ChosenAdapters

__all__ = ["Capture", "Learned", "LearnedHeads", "Taken"]


class Capture(NamedTuple):
    """Where what is learned from is kept, under which name, and where given tokens begin to be an answer."""

    captures: "_native.Captures"
    completion_id: str
    first: int = 0


class Taken(NamedTuple):
    """What one request has taken, and keeps to its end; the fields are a task's."""

    adapters: "ChosenAdapters" = ()
    head: "_native.HeadAdapter | None" = None
    capture: Capture | None = None


@dataclass(frozen=True, slots=True)
class Learned:
    """What a tenant's requests take; `None` for nothing.

    Attributes:
        head: The adapter before the head, of the instant loop.
        captures: Where answers are kept.
        adapters: Those of the deep loop, for requests that name none.
        asked: Told under which name the answer to which tokens will be kept.
    """

    head: "_native.HeadAdapter | None" = None
    captures: "_native.Captures | None" = None
    adapters: "ChosenAdapters" = ()
    asked: Callable[[str, Sequence[int]], None] | None = None


class LearnedHeads:
    """What is learned for each tenant, for any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_tenant: dict[str, Learned] = {}

    def publish(self, tenant: str, learned: Learned | None) -> None:
        """Let the tenant's next requests take this; `None`: nothing any more."""
        with self._lock:
            if learned is None:
                self._by_tenant.pop(tenant, None)
            else:
                self._by_tenant[tenant] = learned

    def adapters(self, tenant: str, named: "ChosenAdapters") -> "ChosenAdapters":
        """The adapters of a tenant's request: those that it names, else what was learned."""
        learned = self._by_tenant.get(tenant)
        return named if named or learned is None else learned.adapters

    def of_evaluation(self, tenant: str, named: "ChosenAdapters") -> Taken:
        """What an evaluation takes that names these adapters."""
        learned = self._by_tenant.get(tenant)
        return Taken(named) if learned is None else Taken(named or learned.adapters, learned.head)

    def of_generation(self, tenant: str, named: "ChosenAdapters", tokens: Sequence[int]) -> Taken:
        """The same of what goes on from these tokens; the answer is kept under a name that no other has."""
        learned = self._by_tenant.get(tenant)
        if learned is None:
            return Taken(named)
        capture = None
        if learned.captures is not None:
            capture = Capture(learned.captures, f"completion-{uuid.uuid4().hex}")
            # With adapters of its own it says nothing of what the model says without them.
            if learned.asked is not None and not named:
                learned.asked(capture.completion_id, tokens)
        return Taken(named or learned.adapters, learned.head, capture)
