"""The backends that there are: this package's own, and those that other packages bring as entry points.

Nothing of a backend is imported before somebody names it. A package brings one by an entry point of the group
`ruvllm.backends` that leads to a `ruvllm.runtime.backend.Backend`.
"""

import contextlib
import importlib
from typing import TYPE_CHECKING, Any

from ruvllm.errors import ConfigError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["GROUP", "NATIVE", "backend_called", "backend_names", "parse_backend", "present_devices"]

GROUP = "ruvllm.backends"
NATIVE = "native"
# These are here whatever the installation says of itself.
_OWN = {
    NATIVE: "ruvllm.runtime.opening:NativeEngineBackend",
    "mistralrs": "ruvllm.backends.mistralrs.backend:MistralrsBackend",
}
# These come in packages of their own, by an entry point like anybody's.
_EXTRAS = {"candle": "ruvllm-candle"}


def backend_names() -> tuple[str, ...]:
    """All names, this package's own first; whether what they stand on is installed shows as they are used."""
    return (*_OWN, *sorted(_foreign()))


def backend_called(name: str) -> Any:
    """The backend of that name, imported now; `ConfigError` where there is none, or it cannot be imported."""
    if name in _OWN:
        module, _, attribute = _OWN[name].partition(":")
        return getattr(importlib.import_module(module), attribute)()
    found = _foreign().get(name)
    if found is None and name in _EXTRAS:
        raise ConfigError(
            f"the backend {name!r} needs the package {_EXTRAS[name]}: pip install 'ruvllm[{name}]'"
        )
    if found is None:
        raise ConfigError(f"backend is {name!r}; there are {', '.join(backend_names())}")
    try:
        return found.load()()
    except Exception as error:
        raise ConfigError(f"the backend {name!r} ({found.value}) cannot be imported: {error}") from error


def present_devices() -> dict[str, tuple[Any, ...]]:
    """Where each backend can run on this machine; those whose package is not installed are left out."""
    found = {}
    for name in backend_names():
        with contextlib.suppress(ConfigError):
            found[name] = backend_called(name).devices()
    return found


def parse_backend(text: str) -> tuple[str, dict[str, str]]:
    """A backend's name and its own options.

    >>> parse_backend("mistralrs:in_situ_quant=Q4K,paged_attn=true")
    ('mistralrs', {'in_situ_quant': 'Q4K', 'paged_attn': 'true'})
    """
    name, _, rest = text.partition(":")
    options: dict[str, str] = {}
    for part in rest.split(",") if rest else ():
        key, equals, value = part.partition("=")
        if not (key and equals):
            raise ConfigError(f"backend is {text!r}; it must be NAME or NAME:OPTION=VALUE,OPTION=VALUE")
        if key in options:
            raise ConfigError(f"backend is {text!r}, which gives {key} twice")
        options[key] = value
    return name, options


def _foreign() -> "dict[str, EntryPoint]":
    """What other packages bring; nobody takes the name of one of ours."""
    # A plain import of the package has no use for it, and would wait for it.
    from importlib.metadata import entry_points

    return {one.name: one for one in entry_points(group=GROUP) if one.name not in _OWN}
