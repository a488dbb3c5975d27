"""A backend that plays a tape in a model's place: all of the package at work, and no arithmetic.

`replay:tape=NAME` plays what the model said while it was recorded (`replay:tape=NAME,record=yes`),
`replay:seed=1` invents something for every text. Every step checks that the engine's blocks hold the text
that they should.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

import ruvllm._native as _native
from ruvllm.config import Limits
from ruvllm.errors import ConfigError
from ruvllm.observability.machine_memory import available_memory
from ruvllm.runtime.configuration import ConfiguredSettings
from ruvllm.runtime.loop import EngineLoop
from ruvllm.runtime.memory_budget import EngineMemory
from ruvllm.runtime.native_engine import NativeEngine
from ruvllm.runtime.open_model import NativeParts, OpenModel
from ruvllm.runtime.opening import NativeEngineBackend, plan_memory
from ruvllm.runtime.scheduler import Scheduler
from ruvllm.text.loading import load_text
from ruvllm.types import DeviceType
from tests.backends.outside import installed

SETTINGS = ("threads", "max_context", "kv_cache_bytes", "kv_format", "prefix_cache", "limits", "speculation")
# By the name that an option gives.
_tapes: dict[str, _native.Tape] = {}


class ReplayBackend:
    """The native engine over a tape."""

    name = "replay"
    # A tape has logits after texts and nothing else of a model.
    supports = replace(
        NativeEngineBackend.supports, adapters=False, evaluations=False, settings=frozenset(SETTINGS)
    )

    def devices(self) -> tuple[DeviceType, ...]:
        """Where it can run."""
        return (DeviceType.Cpu,)

    def check_options(self, options: Mapping[str, str]) -> None:
        """`tape`, with or without `record`, or `seed`."""
        if set(options) not in ({"tape"}, {"tape", "record"}, {"seed"}):
            raise ConfigError(
                f"replay takes tape=NAME, tape=NAME,record=yes or seed=NUMBER, not {dict(options)}"
            )
        if options.get("record", "yes") != "yes":
            raise ConfigError("record is yes, or left out")
        if "tape" in options and "record" not in options and options["tape"] not in _tapes:
            raise ConfigError(f"there is no tape {options['tape']!r}: record it first")

    def open(
        self,
        path: Path,
        settings: ConfiguredSettings,
        options: Mapping[str, str],
        device: DeviceType,
        progress: Callable[[int, int], None] | None = None,
    ) -> OpenModel:
        """Read a model's text and shape, and start a loop over a tape."""
        model = _native.Model.load(str(path), threads=settings.threads)
        text = load_text(model, path)
        vocabulary = text.required_tokenizer().vocabulary(model.vocab_size)
        plan = plan_memory(model, settings, available_memory())
        memory = EngineMemory.of(plan, settings)
        speculates = settings.speculation == "auto"
        end_tokens = tuple(model.end_tokens)
        words = (vocabulary, end_tokens)
        if "record" in options:
            tape = _tapes[options["tape"]] = _native.Tape(model.vocab_size)
            engine = _native.Engine(model, words=words, memory=memory, speculates=speculates, record_on=tape)
        else:
            seed = options.get("seed")
            tape = _tapes[options["tape"]] if seed is None else _native.Tape.invented(int(seed))
            header = _native.ModelHeader.read(str(path), "auto")
            engine = _native.Engine.replaying(
                header, tape, words=words, memory=memory, threads=settings.threads
            )
        return OpenModel(
            path=path,
            backend=self.name,
            supports=self.supports,
            facts=model,
            own=NativeParts(model=model, memory=engine.memory(), adapter_bytes=0, kernel_packs=None),
            text=text,
            vocabulary=vocabulary,
            loop=EngineLoop(
                NativeEngine(engine),
                scheduler=Scheduler(settings.limits or Limits()),
                swap_bytes=memory.swap_bytes,
            ),
            max_context=plan.max_context,
            speculates=speculates,
            end_tokens=end_tokens,
            grammars=_native.Grammars(vocabulary, end_tokens, model.tokenizer()),
        )


@contextmanager
def replay_backend() -> Iterator[None]:
    """The backend `replay`, as a package would bring it."""
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(installed(Path(folder), replay="benches.replay_backend:ReplayBackend")))
        yield
    _tapes.clear()
