"""What Prometheus reads at `/metrics`: vLLM's names and meanings, under `ruvllm:` or another prefix.

Requests are observed as their tokens pass; what the engine knows itself is asked of it once a scrape.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from contextlib import suppress
from itertools import accumulate

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from ruvllm.errors import RuvLLMError
from ruvllm.learning.values import LearningMemory, LearningTurns
from ruvllm.outputs import Chunk
from ruvllm.serve.asked_model import AskedModel
from ruvllm.serve.errors import ApiError
from ruvllm.serve.learning_metrics import LearningMetrics
from ruvllm.serve.model_learning import ModelLearning
from ruvllm.serve.models import ServedModel
from ruvllm.serve.served_models import ServedModels

__all__ = ["Metrics", "RequestWatch"]

_FIRST = (
    0.001,
    0.005,
    0.01,
    0.02,
    0.04,
    0.06,
    0.08,
    0.1,
    0.25,
    0.5,
    0.75,
    1,
    2.5,
    5,
    7.5,
    10,
    20,
    40,
    80,
)
_BETWEEN = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.075,
    0.1,
    0.15,
    0.2,
    0.3,
    0.4,
    0.5,
    0.75,
    1,
    2.5,
)
_TOTAL = (0.05, 0.1, 0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480)
_TOKENS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000)
_LABEL = ["model_name"]
# A counter of prometheus_client takes a few microseconds, whatever it counts.
COUNTED_TOGETHER = 16
# So many adapters are counted by their names, the first ones that are asked for; no name has a space.
COUNTED_ADAPTERS = 100
OTHER_ADAPTERS = "all others"


class Metrics:
    """The counters and histograms of one server."""

    def __init__(self, models: ServedModels, *, prefix: str = "ruvllm") -> None:
        registry = self._registry = CollectorRegistry()

        def histogram(name: str, what: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(f"{prefix}:{name}", what, _LABEL, buckets=buckets, registry=registry)

        def counter(name: str, what: str, labels: list[str]) -> Counter:
            return Counter(f"{prefix}:{name}", what, labels, registry=registry)

        self.first_token = histogram("time_to_first_token_seconds", "Submission to first token.", _FIRST)
        self.total = histogram("e2e_request_latency_seconds", "Submission to the last token.", _TOTAL)
        self.prompt_length = histogram("request_prompt_tokens", "Tokens of a prompt.", _TOKENS)
        self.answer_length = histogram("request_generation_tokens", "Tokens of an answer.", _TOKENS)
        self.prompt_tokens = counter("prompt_tokens", "Prompt tokens, the cached ones included.", _LABEL)
        self.generation_tokens = counter("generation_tokens", "Tokens made.", _LABEL)
        self.success = counter("request_success", "Answers that ended, by how.", [*_LABEL, "finished_reason"])
        self.http = counter("http_requests", "Requests by route and status.", ["method", "route", "status"])
        self.unknown_fields = counter("unknown_fields", "Fields of requests that no API knows.", ["route"])
        self._adapter_requests = counter("lora_requests", "Requests by adapter.", [*_LABEL, "lora_name"])
        self.learning = LearningMetrics(registry, prefix)
        self._counted_adapters: set[tuple[str, str]] = set()
        self._of_models: dict[str, _OfModel] = {}
        registry.register(_GapsOfModels(self._of_models, prefix))
        registry.register(_Engines(models, prefix))

    def watch(self, model_name: str, prompt_tokens: int, started: float) -> "RequestWatch":
        """Observe one answer from now on."""
        if model_name not in self._of_models:
            self._of_models[model_name] = _OfModel(self, model_name)
        return RequestWatch(self._of_models[model_name], prompt_tokens, started)

    def asked(self, model: AskedModel) -> None:
        """Count a request that asks for an adapter; of more adapters than a scrape should hold, together."""
        if model.adapter is None:
            return
        both = (model.served.name, model.adapter)
        if both not in self._counted_adapters and len(self._counted_adapters) >= COUNTED_ADAPTERS:
            both = (model.served.name, OTHER_ADAPTERS)
        else:
            self._counted_adapters.add(both)
        self._adapter_requests.labels(*both).inc()

    def text(self) -> bytes:
        """The page for a scrape."""
        return generate_latest(self._registry)


class _OfModel:
    """What is counted of one model; to look a label up takes longer than to count."""

    def __init__(self, metrics: Metrics, name: str) -> None:
        self.gaps = _Gaps()
        self.first_token = metrics.first_token.labels(name)
        self.total = metrics.total.labels(name)
        self.prompt_length = metrics.prompt_length.labels(name)
        self.answer_length = metrics.answer_length.labels(name)
        self.prompt_tokens = metrics.prompt_tokens.labels(name)
        self.generation_tokens = metrics.generation_tokens.labels(name)
        self._success = metrics.success
        self._name = name

    def ended(self, reason: str) -> None:
        """An answer ended in this way."""
        self._success.labels(self._name, reason).inc()


class RequestWatch:
    """Observes the tokens of one answer as they pass."""

    __slots__ = ("_last", "_model", "_open", "_prompt_tokens", "_started", "_uncounted")

    def __init__(self, model: _OfModel, prompt_tokens: int, started: float) -> None:
        self._model = model
        self._prompt_tokens = prompt_tokens
        self._started = started
        self._last: float | None = None
        self._open = True
        self._uncounted = 0

    def passed(self, chunks: list[Chunk], now: float) -> None:
        """Take note of pieces that came together."""
        num_tokens = sum([len(chunk.token_ids) for chunk in chunks])
        if num_tokens:
            self._uncounted += num_tokens
            if self._uncounted >= COUNTED_TOGETHER:
                self._count()
            if self._last is None:
                self._model.first_token.observe(now - self._started)
                self._model.prompt_tokens.inc(self._prompt_tokens)
                self._last = now
                num_tokens -= 1
            if num_tokens:
                self._model.gaps.add((now - self._last) / num_tokens, num_tokens)
            self._last = now
        if chunks and chunks[-1].finish_reason is not None:
            self._ended(chunks[-1], chunks[-1].finish_reason, now)

    def _count(self) -> None:
        self._model.generation_tokens.inc(self._uncounted)
        self._uncounted = 0

    def has_read(self, now: float) -> None:
        """Its tokens were read, and it makes none: a decision, or an embedding."""
        self._open = False
        self._model.prompt_tokens.inc(self._prompt_tokens)
        self._model.prompt_length.observe(self._prompt_tokens)
        self._model.total.observe(now - self._started)
        self._model.ended("stop")

    def left(self) -> None:
        """Nobody waits for it any more; nothing where it had ended."""
        if self._open:
            self._open = False
            self._count()
            self._model.ended("abort")

    def _ended(self, last: Chunk, reason: str, now: float) -> None:
        self._open = False
        self._count()
        self._model.ended(reason)
        self._model.total.observe(now - self._started)
        if last.usage is not None:
            self._model.prompt_length.observe(last.usage.prompt_tokens)
            self._model.answer_length.observe(last.usage.completion_tokens)


class _Gaps:
    """A histogram that takes a token's time in a microsecond; prometheus_client's own takes several."""

    __slots__ = ("counts", "seconds")

    def __init__(self) -> None:
        self.counts = [0] * (len(_BETWEEN) + 1)
        self.seconds = 0.0

    def add(self, seconds: float, count: int) -> None:
        """So many tokens came, each so long after the one before. Of the event loop's thread alone."""
        self.counts[bisect_left(_BETWEEN, seconds)] += count
        self.seconds += seconds * count


class _GapsOfModels(Collector):
    """Gives them to a scrape."""

    def __init__(self, models: Mapping[str, _OfModel], prefix: str) -> None:
        self._models = models
        self._prefix = prefix

    def collect(self) -> Iterable[Metric]:
        """Give the histogram of every model that has made tokens."""
        family = HistogramMetricFamily(
            f"{self._prefix}:inter_token_latency_seconds", "One token to the next.", labels=_LABEL
        )
        bounds = [*(str(float(bound)) for bound in _BETWEEN), "+Inf"]
        for name, model in list(self._models.items()):
            buckets = list(zip(bounds, accumulate(model.gaps.counts), strict=True))
            family.add_metric([name], buckets=buckets, sum_value=model.gaps.seconds)
        yield family


class _Engines(Collector):
    """What the engines say of themselves when they are asked."""

    def __init__(self, models: ServedModels, prefix: str) -> None:
        self._models = models
        self._prefix = prefix

    def collect(self) -> Iterable[Metric]:
        """Give the figures of every model that is loaded."""
        gauges = {
            name: GaugeMetricFamily(f"{self._prefix}:{name}", what, labels=_LABEL)
            for name, what in {
                "num_requests_running": "Requests in the engine.",
                "num_requests_waiting": "Requests that wait for room.",
                "kv_cache_usage_perc": "Share of the key-value cache that requests hold; 1 is all.",
                "prefix_cache_bytes": "Bytes of key-value blocks that the prefix cache holds.",
                "resident_memory_bytes": "Memory of the whole process.",
                "lora_adapters": "Adapters that requests may ask for.",
                "lora_adapter_bytes": "Memory of those that are ready.",
                "learning_tenants": "Tenants whose feedback changes their answers.",
                "learning_bytes": "Memory of what is kept to learn from, and of what was learned.",
            }.items()
        }
        counters = {
            name: CounterMetricFamily(f"{self._prefix}:{name}", what, labels=_LABEL)
            for name, what in {
                "prefix_cache_queries": "Prompt tokens that were looked up.",
                "prefix_cache_hits": "Prompt tokens that were found.",
                "num_preemptions": "Requests that were set aside for others.",
                "spec_decode_num_draft_tokens": "Guesses of next tokens that were computed.",
                "spec_decode_num_accepted_tokens": "Guesses that came true.",
                "learning_background_turns": "Turns of the loop that makes one adapter of many.",
                "learning_deep_turns": "Turns of the loop that trains all layers.",
            }.items()
        }
        cache = self._cache_config()
        ready = [model for model in self._models if model.status == "ready"]
        for model in ready:
            # An engine that dies as it is asked gives no figures, as one that is dead; `/health` says why.
            # One that is given up then has none any more.
            with suppress(RuvLLMError, ApiError):
                for name, value in _figures(model).items():
                    (gauges.get(name) or counters[name]).add_metric([model.name], value)
                if not model.llm.supports.quotas:
                    continue
                blocks = model.kv_blocks()
                cache.add_metric([model.name, str(blocks.block_tokens), str(blocks.num_blocks)], 1)
        return [*gauges.values(), *counters.values(), cache, *_kernel_packs(ready, self._prefix)]

    def _cache_config(self) -> GaugeMetricFamily:
        """Numbers that stay, as labels: under the names that vLLM has for them, whatever the processor."""
        return GaugeMetricFamily(
            f"{self._prefix}:cache_config_info",
            "Tokens of a block of the key-value cache, and its blocks.",
            labels=[*_LABEL, "block_size", "num_gpu_blocks"],
        )


def _figures(model: ServedModel) -> dict[str, float]:
    stats = model.llm.stats()
    memory, prefixes, guesses = stats.memory, stats.prefix_cache, stats.speculation
    return {
        "num_requests_running": memory.running_requests,
        "num_requests_waiting": memory.waiting_requests,
        "kv_cache_usage_perc": memory.kv_used_bytes / max(1, memory.kv_total_bytes),
        "prefix_cache_bytes": prefixes.memory_usage_bytes,
        "resident_memory_bytes": memory.resident_bytes,
        "prefix_cache_queries": prefixes.lookup_tokens,
        "prefix_cache_hits": prefixes.reused_tokens,
        "num_preemptions": memory.preemptions,
        "spec_decode_num_draft_tokens": guesses.drafted_tokens,
        "spec_decode_num_accepted_tokens": guesses.accepted_tokens,
        "lora_adapters": len(model.adapters()),
        "lora_adapter_bytes": model.llm.adapters.memory().ready_bytes,
        **_learning(model.learning),
    }


def _learning(learning: ModelLearning | None) -> dict[str, float]:
    memory = LearningMemory(tenants=0, max_tenants=0, num_bytes=0) if learning is None else learning.memory()
    turns = LearningTurns(background=0, deep=0) if learning is None else learning.turns()
    return {
        "learning_tenants": memory.tenants,
        "learning_bytes": memory.num_bytes,
        "learning_background_turns": turns.background,
        "learning_deep_turns": turns.deep,
    }


def _kernel_packs(models: Iterable[ServedModel], prefix: str) -> list[CounterMetricFamily]:
    """Where operations ran, of the models that have a kernel pack."""
    labels = [*_LABEL, "operation"]
    calls = CounterMetricFamily(f"{prefix}:kernel_pack_calls", "Results that were the pack's.", labels=labels)
    fallbacks = CounterMetricFamily(
        f"{prefix}:kernel_pack_fallbacks",
        "Results that were native because the pack's kernel failed.",
        labels=[*labels, "reason"],
    )
    for model in models:
        packs = None if model.engine is None else model.engine.llm.kernel_packs
        if packs is None:
            continue
        stats = packs.stats()
        for operation, count in stats.calls.items():
            calls.add_metric([model.name, operation], count)
        for operation, reasons in stats.fallbacks.items():
            for reason, count in reasons.items():
                fallbacks.add_metric([model.name, operation, reason], count)
    return [calls, fallbacks]
