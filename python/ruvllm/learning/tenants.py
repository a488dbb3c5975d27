"""The tenants of a model that learn."""

import threading
import uuid
from collections.abc import Sequence

import ruvllm._native as _native
from ruvllm._checks import check_type
from ruvllm.adapters.registry import Adapters
from ruvllm.errors import ConfigError, NotFoundError, SonaError
from ruvllm.learning.background import BackgroundLoop
from ruvllm.learning.config import SonaLlmConfig
from ruvllm.learning.deep import DeepLoop
from ruvllm.learning.deep_adapters import DeepAdapters
from ruvllm.learning.tenant_learner import TenantLearner
from ruvllm.runtime.evaluations import Evaluations
from ruvllm.runtime.learned import Capture
from ruvllm.runtime.opening import OpenModel
from ruvllm.runtime.request import Terms

__all__ = ["Learning"]


class Learning:
    """Who learns on a model; nobody, as long as nobody asks for it.

    Every method may be called from any thread.
    """

    def __init__(self, model: OpenModel, adapters: Adapters) -> None:
        self._model = model
        self.adapters = DeepAdapters(adapters)
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
                learner = TenantLearner(
                    self._model.native, self._model.learned, self.adapters, tenant, config or SonaLlmConfig()
                )
                self._learners[tenant] = learner
                self._background[tenant] = BackgroundLoop(learner, self._is_busy)
                self._deep[tenant] = DeepLoop(learner, self._model, self.adapters, self._is_busy)
            elif config is not None and config != learner.config:
                raise ConfigError(f"tenant {tenant!r} learns already, with another config; end that first")
            return learner

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
        background.stop()
        deep.stop()

    def close(self) -> None:
        """End all loops; the model's owner does so."""
        with self._lock:
            stops = [one.stop for one in (*self._background.values(), *self._deep.values())]
        for stop in stops:
            stop()

    def _is_busy(self) -> bool:
        return self._model.loop.load().running_requests > 0
