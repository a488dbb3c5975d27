"""What is counted of learning at `/metrics`."""

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram

from ruvllm.errors import OverloadedError
from ruvllm.learning.values import AdaptationResult

__all__ = ["LearningMetrics"]

_UPDATE = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1)
_DRIFT = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1)
_LABEL = ("model_name",)


class LearningMetrics:
    """The counters and histograms of one server."""

    def __init__(self, registry: CollectorRegistry, prefix: str) -> None:
        def counter(name: str, what: str, labels: Sequence[str] = _LABEL) -> Counter:
            return Counter(f"{prefix}:learning_{name}", what, labels, registry=registry)

        def histogram(name: str, what: str, buckets: Sequence[float]) -> Histogram:
            return Histogram(f"{prefix}:learning_{name}", what, _LABEL, buckets=buckets, registry=registry)

        self._feedback = counter(
            "feedback",
            "Feedback by what it did: applied, unchanged, limited, refused.",
            [*_LABEL, "outcome"],
        )
        self._rollbacks = counter("rollbacks", "Times that something learned was undone.")
        self._seconds = histogram("update_seconds", "One update, without its way to the disk.", _UPDATE)
        self._drift = histogram("drift", "Nats a token from the model as it was loaded, by updates.", _DRIFT)

    def learned(self, model_name: str, result: AdaptationResult) -> None:
        """Feedback was taken in."""
        self._feedback.labels(model_name, "applied" if result.applied else "unchanged").inc()
        self._seconds.labels(model_name).observe(result.latency_us / 1e6)
        self._drift.labels(model_name).observe(result.drift)

    def refused(self, model_name: str, error: Exception) -> None:
        """Feedback was not."""
        outcome = "limited" if isinstance(error, OverloadedError) else "refused"
        self._feedback.labels(model_name, outcome).inc()

    def undone(self, model_name: str) -> None:
        """Something was undone."""
        self._rollbacks.labels(model_name).inc()
