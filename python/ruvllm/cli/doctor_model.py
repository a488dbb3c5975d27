"""`ruvllm doctor MODEL`: how a model is best run on this machine, and why."""

from dataclasses import asdict
from typing import TYPE_CHECKING

import ruvllm.hub as hub
from ruvllm.cli import terminal
from ruvllm.cli.options import EngineOptions

if TYPE_CHECKING:
    from ruvllm.autodetect import InferenceConfig, SystemCapabilities

__all__ = ["diagnose"]


def diagnose(model: str, engine: EngineOptions, *, json: bool) -> bool:
    """Print what is recommended for a model, with reasons; `False` where it does not fit here."""
    from ruvllm.autodetect import InferenceConfig, SystemCapabilities

    path = hub.find(model, cache=engine.cache_dir)
    settings = engine.settings
    system = SystemCapabilities.detect(isa=settings.isa, threads=settings.threads)
    config = InferenceConfig.auto(path, system, **settings.keywords())
    if json:
        machine = asdict(system) | {"device": system.device.kind}
        terminal.print_json({"model": model, "path": path, "machine": machine, "config": asdict(config)})
    else:
        _print(model, system, config)
    return config.fits is not False


def _print(model: str, system: "SystemCapabilities", config: "InferenceConfig") -> None:
    terminal.out().print("machine", style="bold underline")
    terminal.show_pairs(
        [
            ("  device", system.device.kind),
            ("  isa", f"{system.isa}: {system.isa_reason}"),
            ("  memory", f"{_size(system.free_bytes)} free of {_size(system.total_bytes)}"),
        ]
    )
    terminal.out().print(terminal.visible(model), style="bold underline", markup=False)
    values = {
        "quantization": config.quantization,
        "kv_format": config.kv_format,
        "max_context": f"{config.max_context} tokens",
        "kv_cache_bytes": _size(config.kv_cache_bytes),
        "threads": str(config.threads),
    }
    terminal.show_pairs(
        (f"  {name.replace('_', ' ')}", f"{value}: {config.reasons[name]}") for name, value in values.items()
    )
    unasked = config.unasked
    if config.fits is False:
        terminal.error(f"{model} does not fit: {config.reasons['max_context']}")
    elif unasked is not None and unasked.kv_format != config.kv_format:
        terminal.note(
            f"without --kv-format {config.kv_format} it stays {unasked.kv_format}, "
            f"with a context of {unasked.max_context} tokens"
        )


def _size(num_bytes: int | None) -> str:
    return "an unknown number of bytes" if num_bytes is None else terminal.size(num_bytes)
