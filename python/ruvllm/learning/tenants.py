"""The tenants of a model that learn."""

import threading
import uuid
from collections.abc import Sequence
from functools import partial

import ruvllm._native as _native
from ruvllm._checks import check_type
from ruvllm.adapters.registry import Adapters
from ruvllm.errors import ConfigError, NotFoundError, OverloadedError, SonaError
from ruvllm.learning.background import BackgroundLoop
from ruvllm.learning.background_thread import BackgroundThread
from ruvllm.learning.config import SonaLlmConfig
from ruvllm.learning.deep import DeepLoop
from ruvllm.learning.deep_adapters import DeepAdapters
from ruvllm.learning.tenant_learner import TenantLearner
from ruvllm.learning.values import LearningMemory, LearningTurns
from ruvllm.runtime.evaluations import Evaluations
from ruvllm.runtime.learned import Capture
from ruvllm.runtime.open_model import OpenModel
from ruvllm.runtime.request import Terms

__all__ = ["Learning"]

# Each takes up to two `capture_bytes`, `token_bytes`, and its generations.
MAX_TENANTS = 64
RETRY_SECONDS = 60.0


class Learning:
    """Who learns on a model; nobody, as long as nobody asks for it.

    Every method may be called from any thread.

    Attributes:
        adapters: What the tenants' deep loops made.
        background_thread: Takes the background turns of those for whom somebody wants that.
        max_tenants: So many may learn at once, each of whom takes memory; more are refused.
    """

    def __init__(self, model: OpenModel, adapters: Adapters) -> None:
        self._model = model
        self.adapters = DeepAdapters(adapters)
        self.max_tenants = MAX_TENANTS
        # No method of this: a model that nobody holds must go at once, and not when cycles are looked for.
        self._is_busy = partial(_is_busy, model)
        self.background_thread = BackgroundThread(self._is_busy)
        self._lock = threading.Lock()
        self._learners: dict[str, TenantLearner] = {}
        self._background: dict[str, BackgroundLoop] = {}
        self._deep: dict[str, DeepLoop] = {}

    def learner(self, tenant: str, config: SonaLlmConfig | None = None) -> TenantLearner:
        """The tenant's learner, which begins where there is none.

        One that is there keeps its config: another one is a `ConfigError`.
        """
        check_type("tenant", tenant, str)
        if not tenant:
            raise ConfigError(
                "tenant is empty; it must have a name: nothing is learned for nobody in particular"
            )
        if config is not None:
            check_type("config", config, SonaLlmConfig)
        with self._lock:
            learner = self._learners.get(tenant)
            if learner is None:
                self._check_room(tenant, len(self._learners))
                learner = TenantLearner(
                    self._model.native, self._model.learned, self.adapters, tenant, config or SonaLlmConfig()
                )
                self._learners[tenant] = learner
                self._background[tenant] = BackgroundLoop(learner)
                self._deep[tenant] = DeepLoop(learner, self._model, self.adapters, self._is_busy)
            elif config is not None and config != learner.config:
                raise ConfigError(f"tenant {tenant!r} learns already, with another config; end that first")
            return learner

    def check_room(self, tenant: str) -> None:
        """`OverloadedError` where no more tenants may learn than do."""
        with self._lock:
            self._check_room(tenant, len(self._learners))

    def _check_room(self, tenant: str, num_tenants: int) -> None:
        if num_tenants >= self.max_tenants:
            error = OverloadedError(
                f"nothing is learned for {tenant!r}: {num_tenants} tenants learn, and no more than "
                f"{self.max_tenants} may"
            )
            error.retry_after_seconds = RETRY_SECONDS
            raise error

    def memory(self) -> LearningMemory:
        """What all of them take."""
        with self._lock:
            learners = list(self._learners.values())
        return LearningMemory(
            tenants=len(learners),
            max_tenants=self.max_tenants,
            num_bytes=sum(one.num_bytes() for one in learners),
        )

    def turns(self) -> LearningTurns:
        """How often the loops behind the instant one ran, for those who learn."""
        with self._lock:
            stats = [one.stats() for one in self._learners.values()]
        return LearningTurns(
            background=sum(one.background_count for one in stats), deep=sum(one.deep_count for one in stats)
        )

    def background(self, tenant: str) -> BackgroundLoop:
        """The background loop of a tenant that learns."""
        with self._lock:
            if tenant not in self._background:
                raise NotFoundError(f"tenant {tenant!r} does not learn")
            return self._background[tenant]

    def deep(self, tenant: str) -> DeepLoop:
        """The deep loop of a tenant that learns."""
        with self._lock:
            if tenant not in self._deep:
                raise NotFoundError(f"tenant {tenant!r} does not learn")
            return self._deep[tenant]

    def captured(self, tenant: str, prompt: Sequence[int], response: Sequence[int]) -> _native.Captured:
        """What is learned from, of a response that was not generated here: one pass over it."""
        learner = self.learner(tenant)
        capture = Capture(learner.captures, f"given-{uuid.uuid4().hex}", len(prompt))
        evaluations = Evaluations(self._model, list)
        evaluations.capture([*prompt, *response], capture, Terms(tenant)).wait()
        captured = learner.captures.take(capture.completion_id)
        if captured is None:
            raise SonaError(
                f"a response of {len(response)} tokens takes more than capture_bytes = "
                f"{learner.config.sona.capture_bytes}"
            )
        return captured

    def tenants(self) -> tuple[str, ...]:
        """Those who learn."""
        with self._lock:
            return tuple(self._learners)

    def end(self, tenant: str) -> None:
        """Stop learning for a tenant: its next requests are as if it never had."""
        with self._lock:
            learner = self._learners.pop(tenant, None)
            if learner is None:
                raise NotFoundError(f"tenant {tenant!r} does not learn")
            background, deep = self._background.pop(tenant), self._deep.pop(tenant)
            learner.stop()
        self.background_thread.remove(background)
        deep.stop()

    def close(self) -> None:
        """End all loops; the model's owner does so."""
        with self._lock:
            loops = list(self._deep.values())
        self.background_thread.close()
        for deep in loops:
            deep.stop()


def _is_busy(model: OpenModel) -> bool:
    return model.loop.load().running_requests > 0
