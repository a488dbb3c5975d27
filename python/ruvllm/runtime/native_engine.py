"""The native engine as the loop knows one: where the package's values become the engine's, and back.

What goes in are tasks, what comes out are events; everything else passes as it is.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import ruvllm._native as _native
from ruvllm.errors import BackendError
from ruvllm.logits_processors import LogitsProcessor, one_processor
from ruvllm.outputs import TokenLogprob
from ruvllm.params import GenerateParams
from ruvllm.runtime.events import Event, Failed, Finished, TokenMade, Values
from ruvllm.runtime.request import EvaluationKind, GenerationTask, Place, Task, ThinkingBudget
from ruvllm.samplers import Dry, DynamicTemperature, Mirostat, Xtc

if TYPE_CHECKING:
    from ruvllm.adapters.registry import ChosenAdapters
    from ruvllm.runtime.learned import Capture

__all__ = ["NativeEngine", "generation_settings", "sampling_settings", "translated"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _GenerationSettings:
    """What the engine reads of a generation besides tokens and sampling."""

    max_tokens: int
    bounds: tuple[tuple[str, ...], tuple[int, ...], int, bool, tuple[str, ...]]
    tenant: str
    cache_min_tokens: int | None
    adapters: "tuple[tuple[_native.Adapter, float], ...]"
    head: "_native.HeadAdapter | None"
    capture: "Capture | None"
    grammar: "tuple[_native.Grammar, str | None] | None"
    thinking: ThinkingBudget | None
    keep_special: tuple[str, ...]
    prediction: tuple[int, ...] | None
    processor: LogitsProcessor | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sampling:
    """What the engine reads of how tokens are chosen; samplers by their settings, in their order."""

    temperature: float
    top_k: int
    top_p: float
    min_p: float
    typical_p: float
    top_n_sigma: float
    penalties: tuple[float, float, float]
    dry: tuple[float, float, int, int | None, tuple[str, ...]] | None
    xtc: tuple[float, float] | None
    dynamic_temperature: tuple[float, float] | None
    mirostat: tuple[float, float] | None
    logit_bias: list[tuple[int, float]]
    seed: int | None
    logprobs: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _EvaluationSettings:
    """The same of an evaluation."""

    kind: EvaluationKind
    top_logprobs: int
    candidates: tuple[Place, ...]
    shared_tokens: int
    tenant: str
    adapters: "tuple[tuple[_native.Adapter, float], ...]"
    head: "_native.HeadAdapter | None"
    capture: "Capture | None"


class NativeEngine:
    """An `EngineFace` over `_native.Engine`."""

    def __init__(self, engine: _native.Engine) -> None:
        self._engine = engine
        self.advance = engine.advance
        self.preempt = engine.preempt
        self.trim = engine.trim
        self.status = engine.status
        self.start_profile = engine.start_profile
        self.take_profile = engine.take_profile
        self.cancel = engine.cancel
        self.interrupt = engine.interrupt
        self.close = engine.close

    def add(self, task: Task) -> int:
        """Put a task in; gives its sequence."""
        if not isinstance(task, GenerationTask):
            evaluation = _EvaluationSettings(
                kind=task.kind,
                top_logprobs=task.top_logprobs,
                candidates=task.candidates,
                shared_tokens=task.shared_tokens,
                tenant=task.tenant,
                adapters=_ready(task.adapters),
                head=task.head,
                capture=task.capture,
            )
            return self._engine.add_evaluation(task.token_ids, evaluation)
        settings = generation_settings(task)
        return self._engine.add_generation(task.token_ids, sampling_settings(task.params), settings)

    def events(self, timeout: float) -> list[tuple[int, Event]]:
        """Wait for events; gives each with its sequence."""
        return [(event.sequence, translated(event)) for event in self._engine.events(timeout)]


def generation_settings(task: GenerationTask) -> _GenerationSettings:
    """What an engine in Rust reads of a generation besides tokens and sampling."""
    params = task.params
    return _GenerationSettings(
        max_tokens=task.max_tokens,
        bounds=(
            params.stop_sequences,
            params.stop_token_ids,
            # Where the context ends before, so does the answer.
            min(params.min_tokens, task.max_tokens),
            params.ignore_eos,
            params.bad_words,
        ),
        tenant=task.tenant,
        cache_min_tokens=params.min_cache_tokens if params.cache_prefix else None,
        adapters=_ready(task.adapters),
        head=task.head,
        capture=task.capture,
        grammar=(task.grammar, params.grammar.after) if task.grammar and params.grammar else None,
        thinking=task.thinking,
        keep_special=params.keep_special,
        prediction=task.prediction if params.speculate else None,
        processor=one_processor(params.logits_processors),
    )


def sampling_settings(params: GenerateParams) -> _Sampling:
    """What an engine in Rust reads of how tokens are chosen."""
    return _Sampling(
        temperature=params.temperature,
        top_k=params.top_k,
        top_p=params.top_p,
        min_p=params.min_p,
        typical_p=params.typical_p,
        top_n_sigma=params.top_n_sigma,
        penalties=(params.repetition_penalty, params.presence_penalty, params.frequency_penalty),
        dry=_settings(params.dry),
        xtc=_settings(params.xtc),
        dynamic_temperature=_settings(params.dynamic_temperature),
        mirostat=_settings(params.mirostat),
        logit_bias=list(params.logit_bias.items()),
        seed=params.seed,
        logprobs=params.logprobs,
    )


def _settings(sampler: Dry | Xtc | DynamicTemperature | Mirostat | None) -> Any:
    """The settings of a sampler in their order, which is the engine's too."""
    return None if sampler is None else tuple(getattr(sampler, one.name) for one in fields(sampler))


def _ready(adapters: "ChosenAdapters") -> "tuple[tuple[_native.Adapter, float], ...]":
    """As the engine takes them; the request holds them, so that they are ready."""
    return tuple((generation.ready(), scale) for generation, scale in adapters)


def translated(event: "_native.Event") -> Event:
    """An engine's event as a plain value; `BackendError` for one that this package does not know."""
    translate = _TRANSLATIONS.get(type(event))
    if translate is None:
        raise BackendError(f"the engine said {event!r}, which means nothing here; it is of another version")
    return translate(event)


def _token(event: _native.TokenEvent) -> Event:
    logprob = event.logprob
    if logprob is None:
        return TokenMade(token_id=event.token, text=event.text)
    entry = TokenLogprob(token_id=event.token, logprob=logprob, top_logprobs=tuple(event.top_logprobs or ()))
    return TokenMade(token_id=event.token, text=event.text, logprob=entry)


def _scores(event: _native.ScoresEvent) -> Event:
    return Values(
        values=tuple(
            TokenLogprob(token_id=token, logprob=logprob, top_logprobs=tuple(top))
            for token, logprob, top in event.scores
        )
    )


def _finished(event: _native.FinishedEvent) -> Event:
    stop_index, stop_token = event.stopped_at or (None, None)
    return Finished(
        reason=event.reason,
        stop_index=stop_index,
        stop_token=stop_token,
        text=event.text,
        prompt_tokens=event.prompt_tokens,
        completion_tokens=event.completion_tokens,
        cached_tokens=event.cached_tokens,
        cache_miss=event.cache_miss,
        drafted_tokens=event.drafted_tokens,
        accepted_tokens=event.accepted_tokens,
    )


_TRANSLATIONS: dict[type, Callable[[Any], Event]] = {
    _native.TokenEvent: _token,
    _native.FinishedEvent: _finished,
    _native.ArrayEvent: lambda event: Values(values=event.values),
    _native.ScoresEvent: _scores,
    _native.FailedEvent: lambda event: Failed(error=event.error),
}
