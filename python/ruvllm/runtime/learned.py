"""What tenants' requests take from learning: an adapter before the head, and whether their answers are kept.

Learning publishes here, and whoever makes a task looks here: once, when the request is made, so that it keeps
what it began with. A tenant that nobody learns for has no entry, and its requests are as without learning.
"""

import threading
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import ruvllm._native as _native

__all__ = ["Capture", "Learned", "LearnedHeads"]


class Capture(NamedTuple):
    """Where what is learned from is kept, under which name, and where given tokens begin to be an answer."""

    captures: "_native.Captures"
    completion_id: str
    first: int = 0


@dataclass(frozen=True, slots=True)
class Learned:
    """What a tenant's requests take: a head adapter, and where their answers are kept; `None` for nothing."""

    head: "_native.HeadAdapter | None" = None
    captures: "_native.Captures | None" = None


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

    def head(self, tenant: str) -> "_native.HeadAdapter | None":
        """What the tenant's hidden states go through before the head."""
        learned = self._by_tenant.get(tenant)
        return None if learned is None else learned.head

    def of_generation(self, tenant: str) -> "tuple[_native.HeadAdapter | None, Capture | None]":
        """The same, and where the answer is kept, under a name that no other answer has."""
        learned = self._by_tenant.get(tenant)
        if learned is None:
            return None, None
        if learned.captures is None:
            return learned.head, None
        return learned.head, Capture(learned.captures, f"completion-{uuid.uuid4().hex}")
