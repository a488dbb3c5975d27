"""What an engine brings to be served, chatted with and measured as the native one is.

A backend opens a model: it gives an `OpenModel` whose `loop` runs on an `EngineFace`. Text, chat templates,
queues, tenants and streams stand in front of that, and are the same for all.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol, cast

from ruvllm._settings import settings_of
from ruvllm.backends.registry import backend_called, parse_backend
from ruvllm.backends.supports import Supports
from ruvllm.engine_settings import EngineSettings
from ruvllm.errors import ConfigError
from ruvllm.runtime.configuration import ConfiguredSettings
from ruvllm.runtime.open_model import OpenModel
from ruvllm.types import DeviceType

__all__ = ["Backend", "chosen_backend", "open_on_backend"]

Report = Callable[[int, int], None]


class Backend(Protocol):
    """An engine that models can be opened on. Made without arguments, by its name.

    Attributes:
        name: What `--backend` calls it.
        supports: What it can; the rest is refused before it comes here.
    """

    name: str
    supports: Supports

    def devices(self) -> tuple[DeviceType, ...]:
        """Where it can run on this machine, the best first; `ConfigError` where its package is missing."""

    def open(
        self,
        path: Path,
        settings: ConfiguredSettings,
        options: Mapping[str, str],
        progress: Report | None = None,
    ) -> OpenModel:
        """Load a model and start its loop; `ConfigError` for an option that it does not know."""


def chosen_backend(settings: EngineSettings) -> tuple[Backend, dict[str, str]]:
    """The backend that the settings name, with its options; what it cannot is a `ConfigError`."""
    name, options = parse_backend(settings.backend)
    backend = cast("Backend", backend_called(name))
    known = backend.supports.settings | {"backend"}
    for one in settings_of(EngineSettings):
        if one.name not in known and getattr(settings, one.name) != one.default:
            raise ConfigError(
                f"{one.name} is set, which changes nothing of the backend {name!r}; leave it out"
            )
    return backend, options


def open_on_backend(
    path: Path, settings: ConfiguredSettings, device: DeviceType, progress: Report | None = None
) -> OpenModel:
    """Load a model on the backend that the settings name."""
    backend, options = chosen_backend(settings)
    devices = backend.devices()
    if device not in devices:
        there = ", ".join(map(repr, devices))
        raise ConfigError(f"device is {device!r}, and the backend {backend.name!r} has {there}")
    return backend.open(path, settings, options, progress)
