"""What an engine brings to be served, chatted with and measured as the native one is.

A backend opens a model: it gives an `OpenModel` whose `loop` runs on an `EngineFace`. Text, chat templates,
queues, tenants and streams stand in front of that, and are the same for all.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
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

__all__ = ["Backend", "ChosenBackend", "chosen_backend"]

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

    def check_options(self, options: Mapping[str, str]) -> None:
        """`ConfigError` for an option that it does not know or cannot read, before any model is there."""

    def open(
        self,
        path: Path,
        settings: ConfiguredSettings,
        options: Mapping[str, str],
        device: DeviceType,
        progress: Report | None = None,
    ) -> OpenModel:
        """Load a model on one of its devices and start its loop; the options are checked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenBackend:
    """A backend that can run here, with its options, and where it is to run."""

    backend: Backend
    options: Mapping[str, str]
    device: DeviceType

    def open(self, path: Path, settings: ConfiguredSettings, progress: Report | None = None) -> OpenModel:
        """Load a model on it."""
        return self.backend.open(path, settings, self.options, device=self.device, progress=progress)


def chosen_backend(settings: EngineSettings, device: DeviceType | None = None) -> ChosenBackend:
    """The backend that the settings name; a `ConfigError` for what it cannot, whatever the model is.

    Where no device is wanted, it runs on the one that it names first.
    """
    name, options = parse_backend(settings.backend)
    backend = cast("Backend", backend_called(name))
    known = backend.supports.settings | {"backend"}
    for one in settings_of(EngineSettings):
        if one.name not in known and getattr(settings, one.name) != one.default:
            raise ConfigError(
                f"{one.name} is set, which changes nothing of the backend {name!r}; leave it out"
            )
    devices = backend.devices()
    if device is not None and device not in devices:
        there = ", ".join(map(repr, devices))
        raise ConfigError(f"device is {device!r}, and the backend {name!r} has {there}")
    backend.check_options(options)
    return ChosenBackend(backend=backend, options=options, device=device or devices[0])
