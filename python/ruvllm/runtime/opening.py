"""From a model's file to a loop that runs requests on it."""

import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import ruvllm._native as _native
from ruvllm._settings import of_this_machine, settings_of
from ruvllm.backends.registry import NATIVE
from ruvllm.backends.supports import Supports
from ruvllm.config import Limits
from ruvllm.engine_settings import EngineSettings, KvFormats
from ruvllm.errors import ConfigError
from ruvllm.hub.selection import quantization_of
from ruvllm.observability.machine_memory import available_memory
from ruvllm.packs.manager import KernelManager
from ruvllm.packs.store import PackStore
from ruvllm.runtime.configuration import ConfiguredSettings
from ruvllm.runtime.draft import open_draft
from ruvllm.runtime.kv_shape import KvShape
from ruvllm.runtime.loop import EngineLoop
from ruvllm.runtime.memory_budget import (
    EngineMemory,
    KvPlan,
    KvRequest,
    adapter_budget,
    plan_kv_cache,
)
from ruvllm.runtime.native_engine import NativeEngine
from ruvllm.runtime.open_model import NativeParts, OpenModel
from ruvllm.runtime.scheduler import Scheduler
from ruvllm.runtime.weight_images import ImageChoice, mapped_bytes
from ruvllm.text.chosen_template import read_template
from ruvllm.text.loading import load_text
from ruvllm.text.tokenizer import Tokenizer
from ruvllm.types import DeviceType, Precision

__all__ = ["NativeEngineBackend", "PlannedModel", "check_quantization", "open_model", "plan_memory"]

logger = logging.getLogger(__name__)


class PlannedModel(Protocol):
    """What planning asks of a model: of one that is loaded, or of the header of its files."""

    @property
    def max_context(self) -> int:
        """Tokens that it was made for."""

    def kv_shape(self, formats: KvFormats) -> tuple[str, int, list[int | None]]:
        """The format of a key-value cache, bytes of a block, and of how many tokens each group has some."""


def open_model(
    path: Path, settings: ConfiguredSettings, progress: Callable[[int, int], None] | None = None
) -> OpenModel:
    """Load the model and start its loop."""
    settings = of_this_machine(settings)
    template = None if settings.chat_template is None else read_template(settings.chat_template)
    packs = _open_pack(settings.kernel_pack, settings.isa)
    images = ImageChoice.of(settings.weight_image, path)
    native = _native.Model.load(
        str(path),
        threads=settings.threads,
        isa=settings.isa,
        activations=settings.activations,
        progress=progress,
        packs=packs.native if packs else None,
        images=images.folder,
        keep_image=images.keep,
    )
    check_quantization(settings.quantization, native.quantization, path)
    text = load_text(native, path).with_template(template)
    draft = open_draft(settings.draft, native, settings, quiet=progress is None) if settings.draft else None
    mapped = mapped_bytes(native) + (mapped_bytes(draft.native) if draft else 0)
    plan = plan_memory(native, settings, available_memory(mapped), draft.share if draft else 0.0)
    memory = EngineMemory.of(plan, settings)
    tokenizer = text.tokenizer
    vocabulary = tokenizer.vocabulary(native.vocab_size) if tokenizer else None
    end_tokens = _end_tokens(native, tokenizer)
    engine = _native.Engine(
        native,
        words=(vocabulary, end_tokens),
        memory=memory,
        speculates=settings.speculation == "auto",
        draft=draft.parts(plan.kv_cache_bytes) if draft else None,
    )
    logger.info(
        "%s: %s, %s, context %d, key-value cache %d bytes, %s with %d threads",
        path.name, native.architecture, native.quantization, plan.max_context, plan.kv_cache_bytes,
        native.isa, native.threads,
    )  # fmt: skip
    return OpenModel(
        path=path,
        backend=NATIVE,
        supports=NativeEngineBackend.supports,
        facts=native,
        own=NativeParts(
            model=native,
            memory=engine.memory(),
            adapter_bytes=adapter_budget(settings.adapter_bytes, plan.kv_cache_bytes),
            kernel_packs=packs,
            draft=draft.native if draft else None,
        ),
        text=text,
        vocabulary=vocabulary,
        loop=EngineLoop(
            NativeEngine(engine),
            scheduler=Scheduler(settings.limits or Limits()),
            swap_bytes=memory.swap_bytes,
        ),
        max_context=plan.max_context,
        speculates=settings.speculation == "auto",
        end_tokens=end_tokens,
        grammars=_native.Grammars(vocabulary, end_tokens, native.tokenizer()) if vocabulary else None,
    )


def _end_tokens(native: _native.Model, tokenizer: Tokenizer | None) -> tuple[int, ...]:
    """Those that the model's file and its tokenizer name, each once."""
    named = dict.fromkeys([*native.end_tokens, *(tokenizer.end_tokens if tokenizer else ())])
    return tuple(token for token in named if token < native.vocab_size)


class NativeEngineBackend:
    """This project's own engine, as one of the backends."""

    name = NATIVE
    supports = Supports.everything(frozenset(one.name for one in settings_of(EngineSettings)))

    def devices(self) -> tuple[DeviceType, ...]:
        """Where it can run."""
        return (DeviceType.Cpu,)

    def check_options(self, options: Mapping[str, str]) -> None:
        """It has none."""
        if options:
            raise ConfigError(f"the backend {NATIVE!r} has no option {next(iter(options))!r}, nor any other")

    def open(
        self,
        path: Path,
        settings: ConfiguredSettings,
        options: Mapping[str, str],
        device: DeviceType,
        progress: Callable[[int, int], None] | None = None,
    ) -> OpenModel:
        """Load a model and start its loop."""
        return open_model(path, settings, progress)


def check_quantization(wanted: Precision | None, tensor_type: str, path: Path) -> None:
    """Refuse a file of another quantization: neither its name nor most of its weights say that it is."""
    if wanted is None or wanted.tensor_type == tensor_type:
        return
    # Where rows are too short for a type's blocks, most weights of the mixture that it names are others.
    named = quantization_of(path.name) if path.suffix.lower() == ".gguf" else None
    if not (named or "").startswith(wanted.tensor_type):
        raise ConfigError(
            f"quantization is {wanted.name}, which is {wanted.tensor_type}; the weights of {path.name} are "
            f"{tensor_type}, and a file is run as it is: leave quantization out, or name another file"
        )


def _open_pack(pack: str | os.PathLike[str] | None, isa: str | None) -> KernelManager | None:
    """The manager of an engine with that pack active; one that is refused ends the loading early."""
    if pack is None:
        return None
    manager = KernelManager(floors=PackStore().floors, isa=isa)
    active = manager.activate(pack)
    logger.info("kernel pack %s %s, signed by %s", active.name, active.version, active.signer)
    return manager


def plan_memory(
    native: PlannedModel, settings: ConfiguredSettings, free_bytes: int | None, others: float = 0.0
) -> KvPlan:
    """Context and budget of a model, by the settings, where so many bytes are free beside its weights.

    A share of both is for `others`: a draft model.
    """
    wanted = settings.max_context
    if wanted is not None and wanted > native.max_context:
        raise ConfigError(
            f"max_context is {wanted}; this model was made for {native.max_context} tokens at most"
        )
    _, block_bytes, windows = native.kv_shape(settings.kv_formats)
    request = KvRequest(
        shape=KvShape(_native.KvBlocks.BLOCK_TOKENS, tuple(windows)),
        block_bytes=block_bytes,
        step_tokens=(settings.limits or Limits()).prefill_tokens,
        model_max_context=min(native.max_context, settings.context_limit or native.max_context),
        max_context=wanted,
        kv_cache_bytes=_rest(settings.kv_cache_bytes, others),
    )
    return plan_kv_cache(request, _rest(free_bytes, others))


def _rest(num_bytes: int | None, others: float) -> int | None:
    return None if num_bytes is None else int(num_bytes * (1 - others))
