"""The options of `--backend mistralrs:...`: mistral.rs's own, under its names, passed on as they are."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ruvllm.errors import ConfigError

__all__ = ["runner_options", "which_model", "xlora_options"]


def _yes_or_no(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError
    return text == "true"


# Of the loaded model as a whole.
_RUNNER: dict[str, Callable[[str], Any]] = {
    "in_situ_quant": str,
    "paged_attn": _yes_or_no,
    "pa_blk_size": int,
    "memory_goal": str,
    "prefix_cache_n": int,
    "max_seqs": int,
}
# What makes it an X-LoRA model.
_XLORA: dict[str, Callable[[str], Any]] = {
    "xlora_model_id": str,
    "xlora_order": str,
    "tgt_non_granular_index": int,
}


def runner_options(options: Mapping[str, str]) -> dict[str, Any]:
    """What `mistralrs.Runner` takes of them; `ConfigError` for what it does not have."""
    for name in options:
        if name not in (*_RUNNER, *_XLORA):
            known = ", ".join((*_RUNNER, *_XLORA))
            raise ConfigError(f"the backend 'mistralrs' has no option {name!r}; it has {known}")
    read = {name: _read(name, options[name], kind) for name, kind in _RUNNER.items() if name in options}
    if read.get("max_seqs", 1) < 1:
        raise ConfigError(f"max_seqs is {read['max_seqs']}; it must be 1 or more")
    # Its own defaults share what it keeps among all tenants, and compute answers together: of a GGUF file on
    # the CPU (0.9.5) two prompts of one length are an error then, and others change each other's answers.
    return {"prefix_cache_n": 0, "max_seqs": 1, **read}


def xlora_options(options: Mapping[str, str]) -> dict[str, Any]:
    """What makes the model an X-LoRA one, where something does; `ConfigError` where some of it is missing."""
    xlora = {name: _read(name, options[name], kind) for name, kind in _XLORA.items() if name in options}
    if xlora:
        for name in ("xlora_model_id", "xlora_order"):
            if name not in xlora:
                raise ConfigError(f"{next(iter(xlora))} is set and {name} is not; X-LoRA needs both")
        xlora["order"] = xlora.pop("xlora_order")
        if not Path(xlora["order"]).is_file():
            raise ConfigError(f"xlora_order is {xlora['order']!r}, which is no file")
    return xlora


def which_model(package: Any, path: Path, options: Mapping[str, str]) -> Any:
    """The model as `mistralrs.Which` has it: a GGUF file or a folder, with X-LoRA where that is asked for."""
    xlora = xlora_options(options)
    which = package.Which
    if path.is_dir():
        return which.XLora(model_id=str(path), **xlora) if xlora else which.Plain(model_id=str(path))
    place = {"quantized_model_id": str(path.parent), "quantized_filename": path.name}
    return which.XLoraGGUF(**place, **xlora) if xlora else which.GGUF(**place)


def _read(name: str, text: str, kind: Callable[[str], Any]) -> Any:
    try:
        return kind(text)
    except ValueError:
        wanted = "a whole number" if kind is int else "true or false"
        raise ConfigError(f"{name} is {text!r}; it must be {wanted}") from None
