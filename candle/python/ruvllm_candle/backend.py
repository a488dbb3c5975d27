"""Opens models on candle."""

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import cast

import ruvllm._native as _native
from ruvllm._settings import of_this_machine
from ruvllm.backends.reading import chosen_context, read_model
from ruvllm.backends.streaming_engine import StreamingEngine
from ruvllm.config import Limits
from ruvllm.errors import ConfigError
from ruvllm.runtime.configuration import ConfiguredSettings
from ruvllm.runtime.loop import EngineLoop
from ruvllm.runtime.open_model import OpenModel
from ruvllm.runtime.scheduler import Scheduler
from ruvllm.text.chosen_template import read_template
from ruvllm.types import DeviceType
from ruvllm_candle import _candle
from ruvllm_candle.answers import Answers
from ruvllm_candle.supports import SUPPORTS

__all__ = ["CandleEngineBackend"]

# Its tables, and caches of some models, are as large as the context may become: not more than this unasked.
USUAL_CONTEXT = 8192
# Of its threads for quantized weights; the others are made when a model is loaded.
THREADS_VARIABLE = "CANDLE_NUM_THREADS"


class CandleEngineBackend:
    """candle as one of the backends."""

    name = "candle"
    supports = SUPPORTS

    def devices(self) -> tuple[DeviceType, ...]:
        """Where it can run: what it was built for, as far as that is here."""
        return tuple(_device_called(name) for name in _candle.devices())

    def check_options(self, options: Mapping[str, str]) -> None:
        """It has none."""
        if options:
            raise ConfigError(f"the backend 'candle' has no option {next(iter(options))!r}, nor any other")

    def open(
        self,
        path: Path,
        settings: ConfiguredSettings,
        options: Mapping[str, str],
        device: DeviceType,
        progress: Callable[[int, int], None] | None = None,
    ) -> OpenModel:
        """Load a model and start its loop."""
        settings = of_this_machine(settings)
        template = None if settings.chat_template is None else read_template(settings.chat_template)
        opened = _candle.Opened(path)
        limit, why = opened.context
        why = f"this model has {limit} at most on candle" + (f": {why}" if why else "")
        max_context = chosen_context(settings, limit, why, usual=USUAL_CONTEXT)
        threads = _fixed_threads(settings.threads)
        text, facts, end_tokens = read_model(path, settings, progress)
        tokenizer = text.tokenizer
        vocabulary = tokenizer.vocabulary(facts.vocab_size) if tokenizer else None
        words = None if vocabulary is None else _words(vocabulary)
        model = opened.load(_name_of(device), max_context)
        ground = _candle.Ground(words, end_tokens, facts.vocab_size, max_context)
        # What does not come in yet waits in front, where tenants have their turns.
        limits = replace(settings.limits or Limits(), max_running=1)
        engine = StreamingEngine(Answers(model, ground).begin, max_running=1, max_context=max_context)
        grammars = None if words is None else _candle.Grammars(words, end_tokens, opened.tokenizer())
        return OpenModel(
            path=path,
            backend=self.name,
            supports=self.supports,
            facts=replace(facts, threads=threads, isa=self.name, weight_bytes=(model.weight_bytes, 0)),
            text=text.with_template(template),
            vocabulary=vocabulary,
            loop=EngineLoop(engine, scheduler=Scheduler(limits, preempts=False)),
            max_context=max_context,
            end_tokens=end_tokens,
            # The same classes, of another extension.
            grammars=cast("_native.Grammars | None", grammars),
        )


def _words(vocabulary: _native.Vocabulary) -> _candle.Vocabulary:
    """The texts of all tokens, for the other extension."""
    tokens = range(len(vocabulary))
    special = [token for token in tokens if vocabulary.is_special(token)]
    return _candle.Vocabulary([vocabulary.bytes(token) or b"" for token in tokens], special)


def _fixed_threads(wanted: int | None) -> int:
    """How many threads candle has: their number is asked for once in a process."""
    told = os.environ.get(THREADS_VARIABLE, "")
    # Also of a process that has candle and began this one.
    threads = wanted or (int(told) if told.isdecimal() and int(told) else os.cpu_count() or 1)
    fixed = _candle.fix_threads(threads)
    if wanted is not None and fixed != wanted:
        raise ConfigError(
            f"threads is {wanted}, and candle has {fixed} in this process, for good; leave it out, or load "
            "the model in a process of its own"
        )
    if (told := os.environ.setdefault(THREADS_VARIABLE, str(fixed))) != str(fixed):
        raise ConfigError(
            f"candle has {fixed} threads, and {THREADS_VARIABLE} is {told!r} for quantized weights: leave "
            "that out, or give threads the same number"
        )
    return fixed


def _name_of(device: DeviceType) -> str:
    return f"cuda:{device.index}" if device.kind == "cuda" else device.kind


def _device_called(name: str) -> DeviceType:
    kind, _, index = name.partition(":")
    if kind == "cuda":
        return DeviceType.Cuda(int(index))
    return DeviceType.Metal if kind == "metal" else DeviceType.Cpu
