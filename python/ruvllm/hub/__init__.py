"""Finding and fetching models by name.

    path = resolve("smollm2-135m")     # fetches it if it is not here
    path = resolve("org/repo:Q4_K_M")

`resolve` answers from the disk where it can; `pull` asks for the newest, and checks what is here. Names:
see `ruvllm.hub.reference`.
"""

import logging
import os
from pathlib import Path

from ruvllm.errors import ConfigError, IoError, NotFoundError
from ruvllm.hub import download, neighbours, pypi
from ruvllm.hub.catalogue import DEFAULT_REGISTRY
from ruvllm.hub.neighbours import owner_of
from ruvllm.hub.ollama import OllamaModel
from ruvllm.hub.progress import Report, bar
from ruvllm.hub.recommended import NOTHING, Recommended
from ruvllm.hub.reference import HubModel, LocalModelPath, Reference, RegistryModel, called, parse
from ruvllm.hub.registry import Entry, HubEntry, Registry, RegistryEntry, WheelPart, needed_bytes
from ruvllm.hub.selection import quantization_of, select_adapter
from ruvllm.hub.storage import cache_folder, model_folder, state_folder
from ruvllm.hub.store import LocalModel
from ruvllm.hub.store import list_models as list  # the interface's name; no `list[...]` in this module
from ruvllm.hub.store import remove_model as remove

__all__ = [
    "DEFAULT_REGISTRY",
    "NOTHING",
    "Entry",
    "HubEntry",
    "HubModel",
    "LocalModel",
    "LocalModelPath",
    "OllamaModel",
    "Recommended",
    "Reference",
    "Registry",
    "RegistryEntry",
    "RegistryModel",
    "WheelPart",
    "cache_folder",
    "called",
    "find",
    "list",
    "needed_bytes",
    "owner_of",
    "parse",
    "pull",
    "quantization_of",
    "recommended_for",
    "remove",
    "resolve",
    "resolve_adapter",
    "state_folder",
]

logger = logging.getLogger(__name__)


def resolve(
    name: str | os.PathLike[str],
    *,
    quiet: bool = False,
    token: str | None = None,
    cache: Path | None = None,
    registry: Registry = DEFAULT_REGISTRY,
) -> Path:
    """Return the file or folder of a model, fetching it if it is not on this machine.

    What is on this machine is taken as it is, without asking the network, and be it LM Studio's or Ollama's,
    whose file may be of another quantization than the Hub's. Raises `ConfigError` for a
    malformed name, `NotFoundError` where there is no such model, `IoError` where it cannot be fetched.

    Args:
        name: A path, a short name, `org/repo`, `org/repo:Q4_K_M` or `hf://org/repo/file.gguf`.
        quiet: No progress bar; there is none either without a terminal.
        token: For private repositories of the Hub; HF_TOKEN where it is not given.
        cache: Where models of the registry lie; `cache_folder()` where it is not given.
        registry: The short names.
    """
    reference = parse(name, registry)
    if path := _here(name, reference, cache, registry):
        return path
    assert not isinstance(reference, LocalModelPath | OllamaModel), "what lies here was found"  # noqa: S101
    if isinstance(reference, RegistryModel):
        entry = _entry(reference, registry)
        return _pull_entry(entry, model_folder(cache or cache_folder(), entry.name), quiet=quiet)
    try:
        return download.fetch(reference, quiet=quiet, token=token)
    except IoError:
        if path := download.cached(reference, any_quantization=True):
            logger.warning("the Hub cannot be reached; using %s from its cache", path.name)
            return path
        raise


def find(
    name: str | os.PathLike[str], *, cache: Path | None = None, registry: Registry = DEFAULT_REGISTRY
) -> Path:
    """Return the file or folder of a model that is on this machine; nothing is fetched.

    The same as `resolve`, but for `NotFoundError` where the model is not here.
    """
    reference = parse(name, registry)
    if path := _here(name, reference, cache, registry):
        return path
    raise NotFoundError(f"{name} is not on this machine; `ruvllm pull {name}` fetches it")


def recommended_for(path: Path, *, registry: Registry = DEFAULT_REGISTRY) -> Recommended:
    """How the model in this file answers best, where it is the registry's; of others nothing is known."""
    known = (one for one in registry if isinstance(one, RegistryEntry) and one.file_name == path.name)
    return next((one.recommended for one in known if pypi.is_there(one, path.parent)), NOTHING)


def resolve_adapter(name: str, *, quiet: bool = False, token: str | None = None) -> Path:
    """Return the folder, or the GGUF file, of a low-rank adapter of the Hub, fetched if it is not here.

    Args:
        name: `hf://org/repo`, `hf://org/repo@revision` or `hf://org/repo/file.gguf`.
        quiet: No progress bar.
        token: For private repositories.
    """
    reference = parse(name, DEFAULT_REGISTRY)
    if not isinstance(reference, HubModel):
        raise ConfigError(f"{name!r} is no adapter of the Hub; it must be hf://org/repo, or a file of one")
    found = download.cached(reference, choose=select_adapter)
    return found or download.fetch(reference, quiet=quiet, token=token, choose=select_adapter)


def pull(  # noqa: PLR0913 - the documented ones, and who is told
    name: str | os.PathLike[str],
    *,
    quiet: bool = False,
    force: bool = False,
    token: str | None = None,
    cache: Path | None = None,
    registry: Registry = DEFAULT_REGISTRY,
    report: Report | None = None,
) -> Path:
    """Fetch a model, or bring it up to date, and check its bytes; `force` fetches it anew in any case.

    Returns its file or folder. A local path is returned as it is, and so is what only Ollama knows. `report`
    is told of the bytes that are here and of those in all, in the place of a bar.
    """
    reference = parse(name, registry)
    if isinstance(reference, LocalModelPath | OllamaModel):
        return reference.path
    if isinstance(reference, RegistryModel):
        entry = _entry(reference, registry)
        folder = model_folder(cache or cache_folder(), entry.name)
        if force:
            (folder / entry.file_name).unlink(missing_ok=True)
        return _pull_entry(entry, folder, quiet=quiet, report=report)
    return download.fetch(reference, quiet=quiet, force=force, token=token, report=report)


def _here(
    name: str | os.PathLike[str], reference: Reference, cache: Path | None, registry: Registry
) -> Path | None:
    """Where it lies on this machine, if it does; the network is not asked."""
    if isinstance(reference, LocalModelPath | OllamaModel):
        return reference.path
    if isinstance(reference, HubModel):
        return download.cached(reference) or neighbours.find(str(name), reference)
    entry = _entry(reference, registry)
    folder = model_folder(cache or cache_folder(), entry.name)
    return folder / entry.file_name if pypi.is_there(entry, folder) else None


def _entry(reference: RegistryModel, registry: Registry) -> RegistryEntry:
    entry = registry.find(reference.name)
    assert isinstance(entry, RegistryEntry), "parse() took the name from this registry"  # noqa: S101
    return entry


def _pull_entry(entry: RegistryEntry, folder: Path, *, quiet: bool, report: Report | None = None) -> Path:
    logger.info("%s: %s, %d bytes, licence %s", entry.name, entry.file_name, entry.size_bytes, entry.licence)
    if report is not None:
        return pypi.fetch(entry, folder, report)
    with bar(f"Fetching {entry.name}", quiet=quiet) as drawn:
        return pypi.fetch(entry, folder, drawn)
