"""A backend as another package would bring it: the reference in NumPy, which computes every token anew.

It runs the models of tests/fixtures/gguf, whose weights stand beside them in tests/fixtures/models, and says
honestly what it cannot: it knows temperatures and nothing else of sampling.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace

import numpy as np

import ruvllm._native as _native
from ruvllm.backends.streaming_engine import Ended, Made, StreamingEngine, TokenStream
from ruvllm.backends.supports import Supports
from ruvllm.config import Limits
from ruvllm.errors import ConfigError
from ruvllm.runtime.configuration import ConfiguredSettings
from ruvllm.runtime.loop import EngineLoop
from ruvllm.runtime.open_model import OpenModel
from ruvllm.runtime.request import GenerationTask
from ruvllm.runtime.scheduler import Scheduler
from ruvllm.text.loading import load_text
from ruvllm.types import DeviceType
from tests.support.numpy_reference import Reference

FOLDERS = Path(__file__).resolve().parents[1] / "fixtures" / "models"


class ReferenceBackend:
    """The NumPy reference as an engine."""

    name = "numpy"
    supports = Supports(any_tokens=True, seed=True, side_by_side=True, settings=frozenset({"limits"}))

    def devices(self) -> tuple[DeviceType, ...]:
        return (DeviceType.Cpu, DeviceType.Cuda(3))

    def check_options(self, options: Mapping[str, str]) -> None:
        if options:
            raise ConfigError(f"the backend 'numpy' has no option {min(options)!r}")

    def open(
        self,
        path: Path,
        settings: ConfiguredSettings,
        options: Mapping[str, str],
        device: DeviceType,
        progress: Callable[[int, int], None] | None = None,
    ) -> OpenModel:
        native = _native.Model.load(str(path))
        text = load_text(native, path)
        vocabulary = text.required_tokenizer().vocabulary(native.vocab_size)
        ends = tuple(native.end_tokens)
        reference = Reference.open(FOLDERS / path.stem)

        def begin(task: GenerationTask) -> TokenStream:
            params = task.params
            if params.temperature and params.top_p != 1:
                raise ConfigError(f"top_p is {params.top_p}; the backend 'numpy' has none")
            draws, tokens = np.random.default_rng(params.seed), list(task.token_ids)
            for made in range(task.max_tokens):
                logits = reference.logits(tokens)[-1]
                if params.temperature:
                    logits = logits / params.temperature + draws.gumbel(size=len(logits))
                token = int(logits.argmax())
                if token in ends and not params.ignore_eos:
                    yield Ended(reason="stop", completion_tokens=made)
                    return
                tokens.append(token)
                shown = not vocabulary.is_special(token)
                yield Made(token_id=token, piece=(vocabulary.bytes(token) or b"") if shown else b"")
            yield Ended(reason="length", completion_tokens=task.max_tokens)

        limits = settings.limits or Limits()
        names = ("architecture", "quantization", "sizes", "vocab_size", "hidden_size", "num_layers", "heads")
        facts = {name: getattr(native, name) for name in (*names, "max_context")}
        engine = StreamingEngine(begin, max_running=limits.max_running, max_context=native.max_context)
        return OpenModel(
            path=path,
            backend=self.name,
            supports=self.supports,
            facts=SimpleNamespace(**facts, threads=1, isa="numpy", weight_bytes=(0, 0)),
            text=text,
            vocabulary=vocabulary,
            loop=EngineLoop(engine, scheduler=Scheduler(limits, preempts=False)),
            max_context=native.max_context,
            end_tokens=ends,
        )
