"""Which adapters requests compute with: from the moment that a request is taken in until its last event."""

import threading
from collections import Counter
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import ruvllm._native as _native

__all__ = ["AdapterUses", "ChosenAdapters"]

# What stands on a request, each with how much of it.
ChosenAdapters: TypeAlias = "tuple[tuple[_native.Adapter, float], ...]"


class AdapterUses:
    """Counts them. Every method may be called from any thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._counts: Counter[_native.Adapter] = Counter()

    def begin(self, adapters: ChosenAdapters) -> None:
        """A request was taken in."""
        self._add(adapters, 1)

    def end(self, adapters: ChosenAdapters) -> None:
        """It has ended, however it did."""
        self._add(adapters, -1)

    def count(self, adapter: "_native.Adapter") -> int:
        """How many requests use one now."""
        with self._changed:
            return self._counts[adapter]

    def wait_until_unused(self, adapter: "_native.Adapter", seconds: float | None) -> bool:
        """Wait until no request uses one; False where the time was over before."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._counts[adapter], seconds)

    def _add(self, adapters: ChosenAdapters, number: int) -> None:
        if not adapters:
            return
        with self._changed:
            for adapter, _ in adapters:
                self._counts[adapter] += number
                if not self._counts[adapter]:
                    del self._counts[adapter]
            self._changed.notify_all()
