"""A tenant's generations: the present one, those to go back to, and the adapters that they stand on."""

import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import replace

from ruvllm.adapters.registry import ChosenAdapters
from ruvllm.errors import InvalidOperationError, RuvLLMError, SonaError
from ruvllm.learning.deep_adapters import DeepAdapters
from ruvllm.learning.tenant_state import MATRICES, TenantState

__all__ = ["History"]

logger = logging.getLogger(__name__)


class History:
    """Of one tenant; its owner holds a lock.

    Attributes:
        now: What is in use.
    """

    def __init__(self, new: TenantState, adapters: DeepAdapters, *, max_generations: int) -> None:
        self.now = new
        self._shape = new.a.shape
        self._earlier: deque[TenantState] = deque(maxlen=max_generations)
        self._last_number = new.generation
        self._adapters = adapters
        # Those of the generations that are kept, by their numbers.
        self._deep: dict[int, ChosenAdapters] = {}

    @property
    def earlier(self) -> tuple[TenantState, ...]:
        """What can be gone back to, the oldest first."""
        return tuple(self._earlier)

    @property
    def next_number(self) -> int:
        """A number that no generation has had."""
        return self._last_number + 1

    @property
    def adapters(self) -> ChosenAdapters:
        """The deep loop's, as requests of the present generation take them."""
        return () if self.now.deep is None else self._deep[self.now.deep]

    @property
    def num_bytes(self) -> int:
        """What the matrices take; generations share those that did not change."""
        states = (*self._earlier, self.now)
        matrices = {id(one): one for state in states for one in (getattr(state, name) for name in MATRICES)}
        return sum(one.nbytes for one in matrices.values())

    def succeed(self, state: TenantState) -> None:
        """Make it the next generation; the present one can be gone back to."""
        self._earlier.append(self.now)
        self._set(state)

    def stand_on(self, number: int, adapters: ChosenAdapters) -> None:
        """Let generations stand on an adapter of that number."""
        self._deep[number] = adapters

    def back(self, steps: int) -> TenantState:
        """Go back so many; gives what that was, which is a generation of a new number now."""
        if not 1 <= steps <= len(self._earlier):
            raise InvalidOperationError(
                f"rollback of {steps} generations; {len(self._earlier)} are kept before the present one"
            )
        for _ in range(steps):
            earlier = self._earlier.pop()
        self._set(earlier)
        return earlier

    def restore(self, state: TenantState, earlier: Sequence[TenantState]) -> None:
        """Go on from what was kept elsewhere; what has lost its adapter is left out, and said in the log."""
        for one in (*earlier, state):
            if (one.tenant, one.a.shape) != (self.now.tenant, self._shape):
                raise SonaError(
                    f"the state is tenant {one.tenant!r}'s, of matrices {one.a.shape}; this is "
                    f"{self.now.tenant!r}, of {self._shape}"
                )
        whole = [one for one in earlier if self._has_adapter(one)]
        if not self._has_adapter(state):
            # Another content, so another generation.
            state = replace(state, deep=None, generation=state.generation + 1)
        self._last_number = max(self._last_number, state.generation)
        self.now = state
        self._earlier.clear()
        self._earlier.extend(whole)

    def forget_adapters(self) -> None:
        """Let go of those that nobody can go back to."""
        needed = {state.deep for state in (*self._earlier, self.now)}
        for number in [one for one in self._deep if one not in needed]:
            del self._deep[number]
            self._adapters.forget(self.now.tenant, number)

    def unload_adapters(self) -> None:
        """Let go of all in memory; on disk they stay."""
        for number in self._deep:
            self._adapters.unload(self.now.tenant, number)

    def _set(self, state: TenantState) -> None:
        self._last_number += 1
        self.now = replace(state, generation=self._last_number)

    def _has_adapter(self, state: TenantState) -> bool:
        """Whether requests can take the adapter of a state; got where it is not at hand."""
        if state.deep is None or state.deep in self._deep:
            return True
        try:
            self._deep[state.deep] = self._adapters.restore(state.tenant, state.deep)
        except (RuvLLMError, OSError) as error:
            logger.error(
                "generation %d of %r has lost its adapter: %s", state.generation, state.tenant, error
            )
            return False
        return True
