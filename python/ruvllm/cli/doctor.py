"""`ruvllm doctor`: what this machine offers, what the engine chose, and what is wrong."""

import os
import platform
import shutil
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

import typer

import ruvllm.hub as hub
from ruvllm._settings import settings_of
from ruvllm.cli import terminal
from ruvllm.cli.command import command, flag, flags_on_the_line
from ruvllm.cli.doctor_model import diagnose
from ruvllm.cli.options import EngineOptions
from ruvllm.cli.settings_in_force import file_of, in_force
from ruvllm.engine_settings import EngineSettings

__all__ = ["register"]

_PACKAGES = ("ruvllm", "numpy", "safetensors", "tokenizers", "huggingface_hub", "typer", "rich", "minijinja")

_OF_MACHINE = [name for one in settings_of(EngineSettings) if one.of_machine for name in one.flags]

# A report is made to be shown to others.
_SECRETS = ("_KEY", "_KEYS")


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(
        app,
        "doctor",
        examples=[
            "ruvllm doctor",
            "ruvllm doctor --isa avx2 --threads 2   would that work?",
            "ruvllm doctor --measure                what can it do at most? takes a second",
            "ruvllm doctor --json                   to attach to a report",
            "ruvllm doctor smollm2-135m             does it fit, and how is it best run? nothing is loaded",
            "ruvllm doctor model.gguf -c 32768      would so long a context fit?",
        ],
    )(doctor)


def doctor(
    engine: EngineOptions,
    context: typer.Context,
    *,
    model: Annotated[
        str | None,
        typer.Argument(help="A model that is here: tell how it is best run, and why.", metavar="MODEL"),
    ] = None,
    measure: Annotated[
        bool, flag("--measure", help="Also measure the memory and the arithmetic, for a second.")
    ] = False,
    json: Annotated[bool, flag("--json", help="For programs.")] = False,
) -> None:
    """Tell what CPU, memory and caches are there, what the engine chose and why, and what is wrong.

    With MODEL, tell how that is best run here, and why: whether it fits, or which quantization of it would,
    and the format of the key-value cache, the context and the threads. The head of its files is read; nothing
    is loaded or fetched. The other commands do the same with the same flags, but for a format of the cache
    that is only recommended: it changes tokens, so it is yours to ask for.

    Ends with 1 where a problem was found. Shows no tokens and no passwords.
    """
    if model is not None:
        if measure:
            raise typer.BadParameter("it is about the machine: leave MODEL out", param_hint="--measure")
        if not diagnose(model, engine, json=json):
            raise typer.Exit(1)
        return
    asked = [name for name in flags_on_the_line(context, EngineSettings) if name not in _OF_MACHINE]
    if asked:
        raise typer.BadParameter("it is about a model: name one", param_hint=asked[0])
    isa, threads = engine.settings.isa, engine.settings.threads
    problems: list[str] = []
    folder = engine.cache_dir or hub.cache_folder()
    sections: dict[str, dict[str, Any]] = {
        "cpu": _guarded(problems, "engine", lambda: _engine(isa, threads)),
        "memory": _memory(),
        "folders": _guarded(problems, "cache", lambda: _folders(folder)),
        "versions": _versions(),
        "variables": {
            name: "(set)" if name.endswith(_SECRETS) else value
            for name, value in sorted(os.environ.items())
            if name.startswith("RUVLLM_")
        },
    }
    sections["settings"] = _settings(context, problems)
    if measure:
        peaks = _guarded(problems, "measuring", lambda: _peaks(threads))
        sections["peaks"] = peaks if json else _written_peaks(peaks)
    if json:
        terminal.print_json({**sections, "problems": problems})
    else:
        _print(sections)
        for problem in problems:
            terminal.error(problem)
    if problems:
        raise typer.Exit(1)


def _settings(context: typer.Context, problems: list[str]) -> dict[str, Any]:
    """The file of settings, and what is not left to its default here, with where that comes from."""
    file = file_of(context)
    told = {one.name: f"{one.value} ({one.source})" for one in in_force(context) if one.source != "default"}
    if file is None:
        return {"file": None, **told}
    from ruvllm.cli.config_check import problems_of

    problems += dict.fromkeys(problems_of(file))
    return {"file": str(file.path.absolute()), **told}


def _guarded(problems: list[str], what: str, ask: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return ask()
    # A doctor must finish; whatever is broken here is what he is to report.
    except Exception as error:  # noqa: BLE001
        problems.append(f"{what}: {error}")
        return {}


def _engine(isa: str | None, threads: int | None) -> dict[str, Any]:
    from ruvllm._native import System

    system = System.detect(isa, threads)
    return {
        "machine": platform.machine(),
        "model": _cpu_model(),
        "features": system.cpu_features,
        "isa": system.isa,
        "isa_reason": system.isa_reason,
        "available_isas": system.available_isas,
        "threads": system.threads,
        "threads_reason": system.threads_reason,
        "build": "for tests, with debug assertions" if system.debug_assertions else "release",
        "cpus": os.cpu_count(),
        "cpus_allowed": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
    }


def _peaks(threads: int | None) -> dict[str, Any]:
    from dataclasses import asdict

    from ruvllm.observability.peaks import measure_peaks

    return asdict(measure_peaks(threads))


def _written_peaks(peaks: dict[str, Any]) -> dict[str, Any]:
    """Return the same as a line each."""
    if not peaks:
        return {}
    return {
        "threads": peaks["threads"],
        "memory": f"{peaks['memory_bytes_per_second'] / 1e9:.1f} GB/s",
    } | {
        f"{peak['operands']}: {peak['instruction']}": _rate(peak["operations_per_second"])
        for peak in peaks["instructions"]
    }


def _rate(operations: float) -> str:
    return f"{operations / 1e9:.0f} GOP/s"


def _cpu_model() -> str:
    for line in _lines("/proc/cpuinfo"):
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.processor() or "unknown"


def _memory() -> dict[str, Any]:
    """Return bytes; `available` is what this process may take, `limit` what its control group allows."""
    from dataclasses import asdict

    from ruvllm.observability.machine_memory import MachineMemory

    return asdict(MachineMemory.now())


def _folders(cache: Path) -> dict[str, Any]:
    from huggingface_hub import constants

    facts = {
        "cache": str(cache),
        "state": str(hub.state_folder()),
        "hugging_face_cache": str(constants.HF_HUB_CACHE),
        "offline": bool(constants.HF_HUB_OFFLINE),
        "models": [model.name for model in hub.list(cache=cache)],
    }
    existing = next(folder for folder in (cache, *cache.absolute().parents) if folder.exists())
    facts["cache_free_bytes"] = shutil.disk_usage(existing).free
    if not os.access(existing, os.W_OK):
        raise PermissionError(
            f"{str(existing)!r} cannot be written; set RUVLLM_CACHE_DIR to a folder that can"
        )
    return facts


def _versions() -> dict[str, Any]:
    versions: dict[str, Any] = {"python": platform.python_version(), "system": platform.platform()}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    return versions


def _print(sections: dict[str, dict[str, Any]]) -> None:
    for title, facts in sections.items():
        if facts:
            terminal.out().print(title, style="bold underline")
            terminal.show_pairs(
                (f"  {name.replace('_', ' ')}", _written(name, value)) for name, value in facts.items()
            )


def _written(name: str, value: Any) -> str:
    if value is None:
        return "-"
    if name.endswith("_bytes"):
        return terminal.size(value)
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return str(value)


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(errors="replace").splitlines()
    except OSError:
        return []
