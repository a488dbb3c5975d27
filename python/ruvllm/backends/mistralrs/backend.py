"""Opens models on mistral.rs."""

import importlib
import importlib.util
import os
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ruvllm._settings import of_this_machine
from ruvllm.backends.mistralrs.answers import Answers
from ruvllm.backends.mistralrs.options import runner_options, which_model, xlora_options
from ruvllm.backends.mistralrs.words import Words
from ruvllm.backends.reading import chosen_context, read_model
from ruvllm.backends.streaming_engine import StreamingEngine
from ruvllm.backends.supports import Supports
from ruvllm.config import Limits
from ruvllm.errors import ConfigError, InvalidModelError
from ruvllm.runtime.configuration import ConfiguredSettings
from ruvllm.runtime.loop import EngineLoop
from ruvllm.runtime.open_model import OpenModel
from ruvllm.runtime.scheduler import Scheduler
from ruvllm.types import DeviceType

__all__ = ["MistralrsBackend"]

# A conversation is text already when it comes here.
TEMPLATE = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
# Words, figures, spaces and marks, as every tokenizer cuts them in its own way.
SAMPLE = "Hello, world! It's 2048: a naïve  question,\n\nisn't it?"
THREADS_VARIABLE = "RAYON_NUM_THREADS"

_threads_lock = threading.Lock()
_threads: int | None = None  # of all its models in this process, once one was loaded


class MistralrsBackend:
    """mistral.rs as one of the backends."""

    name = "mistralrs"
    supports = Supports(
        top_k=True,
        min_p=True,
        repetition_penalty=True,
        presence_penalty=True,
        frequency_penalty=True,
        logit_bias=True,
        logprobs=True,
        settings=frozenset({"threads", "max_context", "limits"}),
    )

    def devices(self) -> tuple[DeviceType, ...]:
        """Where it can run: the package of this name computes on the CPU."""
        if importlib.util.find_spec("mistralrs") is None:
            raise ConfigError(
                "the backend 'mistralrs' needs the package mistralrs: pip install 'ruvllm[mistralrs]'"
            )
        return (DeviceType.Cpu,)

    def check_options(self, options: Mapping[str, str]) -> None:
        """Its own, as far as they can be read; what it says of their values shows as it loads a model."""
        runner_options(options)
        xlora_options(options)

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
        package = _package()
        _check_threads(settings.threads)
        arguments = {**runner_options(options), "which": which_model(package, path, options)}
        limits = settings.limits or Limits()
        # What does not come in yet waits in front, where tenants have their turns.
        limits = replace(limits, max_running=min(limits.max_running, arguments["max_seqs"]))
        arguments["max_seqs"] = limits.max_running
        # Tokenizer, template and end tokens are ours; its weights are let go of before theirs are loaded.
        text, facts, end_tokens = read_model(path, settings, progress)
        tokenizer = text.required_tokenizer()
        vocabulary = tokenizer.vocabulary(facts.vocab_size)
        threads = _fixed_threads(settings.threads)
        runner = _runner(package, arguments)
        limit = min(facts.max_context, runner.max_sequence_length())
        max_context = chosen_context(settings, limit, f"mistralrs has {limit} tokens at most for this model")

        def read(given: str, adds: bool) -> list[int]:  # noqa: FBT001 - as `Words` has it
            return list(runner.tokenize_text(given, adds, None))

        if read(SAMPLE, False) != list(tokenizer.encode(SAMPLE, add_bos=False)):  # noqa: FBT003
            raise InvalidModelError(
                f"mistralrs reads texts otherwise than {path.name} says, so every answer would be to another "
                "question; use the native backend"
            )
        words = Words(vocabulary, tokenizer.bos_token, read)
        keeps_prefixes = arguments["prefix_cache_n"] > 0
        answers = Answers(package, runner, words, end_tokens, keeps_prefixes=keeps_prefixes)
        engine = StreamingEngine(
            answers.begin,
            max_running=limits.max_running,
            max_context=max_context,
        )
        return OpenModel(
            path=path,
            backend=self.name,
            supports=self.supports,
            facts=replace(facts, threads=threads, isa=self.name),
            text=text,
            vocabulary=vocabulary,
            loop=EngineLoop(engine, scheduler=Scheduler(limits, preempts=False)),
            max_context=max_context,
            end_tokens=end_tokens,
        )


def _package() -> Any:
    """The package, imported."""
    # Otherwise it writes into the terminal at each load.
    os.environ.setdefault("RUST_LOG", "warn")
    return importlib.import_module("mistralrs")


def _check_threads(wanted: int | None) -> None:
    """Refuse another number than the first of its models in this process had."""
    if wanted is not None and _threads not in (None, wanted):
        raise ConfigError(
            f"threads is {wanted}, and mistralrs has {_threads} in this process, for good; leave it out, or "
            "load the model in a process of its own"
        )


def _fixed_threads(wanted: int | None) -> int:
    """How many threads a runner made now has: it asks for their number once in a process."""
    global _threads
    with _threads_lock:
        _check_threads(wanted)
        if _threads is None:
            said = os.environ.get(THREADS_VARIABLE, "")
            # Said to it in any case, so that it is what is told of it.
            _threads = wanted or (int(said) if said.isdecimal() else 0) or os.cpu_count() or 1
            os.environ[THREADS_VARIABLE] = str(_threads)
        return _threads


def _runner(package: Any, arguments: Mapping[str, Any]) -> Any:
    """The loaded model."""
    with tempfile.TemporaryDirectory(prefix="ruvllm-") as folder:
        template = Path(folder) / "message.jinja"
        template.write_text(TEMPLATE, encoding="utf-8")
        try:
            return package.Runner(
                jinja_explicit=str(template),
                token_source="none",  # noqa: S106 - it is to ask no hub for anything
                **arguments,
            )
        except BaseException as error:
            # Where it panics, that is no `Exception`.
            if not isinstance(error, ValueError) and type(error).__name__ != "PanicException":
                raise
            what = str(error).partition("\n")[0]
            raise InvalidModelError(f"mistralrs cannot load the model: {what}") from error
