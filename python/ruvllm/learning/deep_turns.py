"""Deep turns that are begun and looked at later: they take minutes, and nobody waits for them."""

import logging
import threading
from typing import Any

from ruvllm.errors import InvalidOperationError, RuvLLMError, SonaError
from ruvllm.learning.deep import FEWEST
from ruvllm.learning.tenants import Learning
from ruvllm.learning.values import DeepResult

__all__ = ["DeepTurns"]

logger = logging.getLogger(__name__)


class DeepTurns:
    """Those of one model's tenants, one at a time, each on a thread of its own; of all threads."""

    def __init__(self, learning: Learning) -> None:
        self._learning = learning
        self._lock = threading.Lock()
        self._running: tuple[str, threading.Thread] | None = None
        self._ended: dict[str, DeepResult | str] = {}

    def begin(self, tenant: str) -> int:
        """Train on the tenant's good answers; gives how many there are.

        `InvalidOperationError` while another turn is taken, `SonaError` where there are too few answers.
        """
        found = len(self._learning.deep(tenant).samples())
        if found < FEWEST:
            raise SonaError(f"{found} answers had good feedback and are kept; the deep loop needs {FEWEST}")
        with self._lock:
            if self._running is not None:
                raise InvalidOperationError("a deep loop trains already; one at a time does")
            thread = threading.Thread(target=self._take, args=(tenant,), name="deep learning", daemon=True)
            self._running = tenant, thread
            thread.start()
        return found

    def status(self, tenant: str) -> dict[str, Any] | None:
        """Where the tenant's turn stands, or how the last one ended; `None` where there was none."""
        with self._lock:
            is_running = self._running is not None and self._running[0] == tenant
            ended = self._ended.get(tenant)
        if is_running:
            progress = self._learning.deep(tenant).progress
            steps = (0, 0) if progress is None else (progress.step, progress.steps)
            return {"status": "running", "step": steps[0], "steps": steps[1]}
        if ended is None:
            return None
        if isinstance(ended, str):
            return {"status": "failed", "reason": ended}
        return {
            "status": "applied" if ended.applied else "unchanged",
            "reason": "; ".join(ended.notes) or None,
            "samples": ended.samples_used,
            "judged": ended.judged,
            "log_prob_before": ended.logprob_before,
            "log_prob_after": ended.logprob_after,
            "seconds": round(ended.latency_us / 1e6, 1),
            "generation": ended.generation,
        }

    @property
    def is_running(self) -> bool:
        """Whether a turn is taken."""
        with self._lock:
            return self._running is not None

    def close(self) -> None:
        """End the turn that is taken, and wait for that."""
        with self._lock:
            running = self._running
        if running is not None:
            tenant, thread = running
            self._learning.deep(tenant).stop()
            thread.join()

    def _take(self, tenant: str) -> None:
        ended: DeepResult | str = "it failed; the log says why"
        try:
            ended = self._learning.deep(tenant).optimize()
        except RuvLLMError as error:
            ended = error.message
        except Exception:
            logger.exception("the deep loop of tenant %r failed", tenant)
        finally:
            with self._lock:
                self._running = None
                self._ended[tenant] = ended
