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

# By the name that an option gives.
_tapes: dict[str, _native.Tape] = {}


class ReplayBackend:
    """The native engine over a tape."""

    name = "replay"
    # A tape has logits after texts and nothing else of a model.
    supports = replace(NativeEngineBackend.supports, adapters=False, evaluations=False)

    def devices(self) -> tuple[DeviceType, ...]:
        """Where it can run."""
        return (DeviceType.Cpu,)

    def check_options(self, options: Mapping[str, str]) -> None:
        """`tape` or `seed`, and `record`."""
        if unknown := set(options) - {"tape", "seed", "record"}:
            raise ConfigError(f"the backend 'replay' has no option {min(unknown)!r}")

    def open(
        self,
        path: Path,
        settings: ConfiguredSettings,
        options: Mapping[str, str],
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
        header = model if "record" in options else _native.ModelHeader.read(str(path), "auto")
        engine = _native.Engine(
            header,
            words=(vocabulary, end_tokens),
            memory=memory,
            speculates=speculates,
            tape=_tape_of(options, model.vocab_size),
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


def _tape_of(options: Mapping[str, str], vocab_size: int) -> _native.Tape:
    if "seed" in options:
        return _native.Tape(seed=int(options["seed"]))
    name = options["tape"]
    if "record" in options:
        _tapes[name] = _native.Tape(vocab_size)
    return _tapes[name]


@contextmanager
def replay_backend() -> Iterator[None]:
    """The backend `replay`, as a package would bring it."""
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(installed(Path(folder), replay="benches.replay_backend:ReplayBackend")))
        yield
    _tapes.clear()
