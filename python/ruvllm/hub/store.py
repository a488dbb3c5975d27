"""What is on this machine: short names' models in our cache, what the Hub's cache holds, what others have.

Lists and removes; fetches nothing.
"""

import logging
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ruvllm.errors import ConfigError, IoError, NotFoundError
from ruvllm.hub import lm_studio, neighbours, ollama, pypi
from ruvllm.hub.catalogue import DEFAULT_REGISTRY
from ruvllm.hub.ollama import OllamaModel
from ruvllm.hub.reference import HubModel, LocalModelPath, RegistryModel, parse
from ruvllm.hub.registry import HubEntry, Registry, RegistryEntry
from ruvllm.hub.selection import gguf_models, select
from ruvllm.hub.storage import cache_folder, commit_in, model_folder

if TYPE_CHECKING:
    from huggingface_hub import CachedRevisionInfo, HFCacheInfo

__all__ = ["LocalModel", "list_models", "remove_model"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalModel:
    """A model that is on this machine; `name` is what `resolve` takes."""

    name: str
    path: Path
    size_bytes: int
    source: Literal["pypi", "huggingface", "ollama", "lm-studio"]
    quantization: str | None
    modified: datetime


def list_models(*, cache: Path | None = None, registry: Registry = DEFAULT_REGISTRY) -> list[LocalModel]:
    """Return the models of this machine, the newest first."""
    names = {
        f"{entry.repo_id}:{entry.quantization}": entry.name
        for entry in registry
        if isinstance(entry, HubEntry)
    }
    hub_models = (replace(model, name=names.get(model.name, model.name)) for model in _hub_models())
    models = [*_registry_models(cache or cache_folder(), registry), *hub_models, *_neighbours()]
    return sorted(models, key=lambda model: model.modified, reverse=True)


def remove_model(
    name: str, *, cache: Path | None = None, registry: Registry = DEFAULT_REGISTRY
) -> list[LocalModel]:
    """Delete a model and return what was deleted: `org/repo` is all of its files, `org/repo:Q8_0` some.

    A file given by its path is not deleted: it is the user's own (`ConfigError`).
    """
    reference = parse(name, registry)
    if isinstance(reference, OllamaModel):
        raise ConfigError(f"{name!r} is Ollama's: `ollama rm {reference.name}` deletes it")
    if isinstance(reference, LocalModelPath):
        raise ConfigError(f"{str(reference.path)!r} was not fetched by ruvllm; delete it yourself")
    if isinstance(reference, RegistryModel):
        return _remove_registry_model(reference.name, cache or cache_folder(), registry)
    try:
        return _remove_hub_model(reference)
    except NotFoundError:
        if (path := neighbours.find(name, reference)) and (owner := neighbours.owner_of(path)):
            raise ConfigError(
                f"{name!r} is {owner.name}'s, which deletes it: its file is {str(path)!r}"
            ) from None
        raise


def _registry_models(cache: Path, registry: Registry) -> Iterator[LocalModel]:
    for entry in registry:
        if not isinstance(entry, RegistryEntry):
            continue
        folder = model_folder(cache, entry.name)
        if pypi.is_there(entry, folder):
            path = folder / entry.file_name
            yield LocalModel(
                name=entry.name,
                path=path,
                size_bytes=entry.size_bytes,
                source="pypi",
                quantization=entry.quantization,
                modified=_time(path.stat().st_mtime),
            )


def _neighbours() -> Iterator[LocalModel]:
    """What other programs have."""
    for found in ollama.models():
        yield _of_neighbour(found, "ollama")
    for other in lm_studio.models():
        yield _of_neighbour(other, "lm-studio")


def _of_neighbour(
    found: OllamaModel | lm_studio.LmStudioModel, source: Literal["ollama", "lm-studio"]
) -> LocalModel:
    return LocalModel(
        name=found.name,
        path=found.path,
        size_bytes=found.size_bytes,
        source=source,
        quantization=found.quantization,
        modified=found.modified,
    )


def _remove_registry_model(name: str, cache: Path, registry: Registry) -> list[LocalModel]:
    folder = model_folder(cache, name)
    removed = [model for model in _registry_models(cache, registry) if model.name == name]
    if not folder.exists():
        raise NotFoundError(f"{name} is not on this machine (looked in {str(folder)!r}); see `ruvllm list`")
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise IoError(f"cannot delete {str(folder)!r}: {error}") from error
    return removed


def _hub_models() -> Iterator[LocalModel]:
    """What the Hub's cache holds; looked at directly: `scan_cache_dir` takes longer than all the rest."""
    from huggingface_hub import constants

    for repo in sorted(Path(constants.HF_HUB_CACHE).glob("models--*")):
        try:
            found = list(_repo_models(repo))
        except OSError as error:  # of one repository, for which the others are listed all the same
            logger.info("the Hub's cache: %s", error)
            continue
        yield from found


def _repo_models(repo: Path) -> Iterator[LocalModel]:
    names: dict[str, list[str]] = {}
    for reference in (repo / "refs").rglob("*"):
        if reference.is_file() and (commit := commit_in(reference)):
            names.setdefault(commit, []).append(reference.relative_to(repo / "refs").as_posix())
    # What no branch points to any more cannot be named, and `hf cache prune` deletes it.
    for commit, references in names.items():
        suffix = "" if "main" in references else f"@{min(references)}"
        repo_id = repo.name.removeprefix("models--").replace("--", "/")
        yield from _revision_models(f"{repo_id}{suffix}", repo / "snapshots" / commit)


def _revision_models(name: str, root: Path) -> Iterator[LocalModel]:
    files = {path.relative_to(root).as_posix(): path.stat() for path in root.rglob("*") if path.is_file()}
    # A repository that holds safetensors is one model as a folder; each GGUF file in it is another.
    choices = gguf_models(files)
    try:
        whole = select([file for file in files if not file.lower().endswith(".gguf")], HubModel(repo_id=name))
        choices.append(whole)
    except NotFoundError:
        pass
    for choice in choices:
        if choice.entry_file is None:
            full_name = name
        else:
            full_name = (
                f"{name}:{choice.quantization}" if choice.quantization else f"hf://{name}/{choice.entry_file}"
            )
        yield LocalModel(
            name=full_name,
            path=root / (choice.entry_file or ""),
            size_bytes=sum(files[file].st_size for file in choice.files),
            source="huggingface",
            quantization=choice.quantization,
            modified=_time(max(files[file].st_mtime for file in choice.files)),
        )


def _remove_hub_model(model: HubModel) -> list[LocalModel]:
    scan = _scan()
    repos = (
        [repo for repo in scan.repos if repo.repo_id == model.repo_id and repo.repo_type == "model"]
        if scan
        else []
    )
    if scan is None or not repos:
        raise NotFoundError(f"{model.repo_id} is not in the Hub's cache; see `ruvllm list`")
    if model.quantization is None and model.file_name is None:
        removed = [entry for entry in _hub_models() if _repo_of(entry) == model.repo_id]
        scan.delete_revisions(*(revision.commit_hash for revision in repos[0].revisions)).execute()
        return removed
    removed = []
    for revision in repos[0].revisions:
        for entry in _revision_models(model.repo_id, revision.snapshot_path):
            if entry.path.is_file() and _is_meant(entry, model, revision):
                _delete_files(entry, revision, scan)
                removed.append(entry)
    if not removed:
        raise NotFoundError(f"{model} is not in the Hub's cache; see `ruvllm list`")
    return removed


def _is_meant(entry: LocalModel, model: HubModel, revision: "CachedRevisionInfo") -> bool:
    if model.file_name:
        return entry.path.relative_to(revision.snapshot_path).as_posix() == model.file_name
    return (entry.quantization or "").lower() == (model.quantization or "").lower()


def _delete_files(entry: LocalModel, revision: "CachedRevisionInfo", scan: "HFCacheInfo") -> None:
    """Delete a GGUF model's links and those of its blobs that nothing else points to."""
    root = revision.snapshot_path
    names = {file.file_path.relative_to(root).as_posix(): file for file in revision.files}
    entry_name = entry.path.relative_to(root).as_posix()
    [choice] = [choice for choice in gguf_models(names) if choice.entry_file == entry_name]
    files = [names[name] for name in choice.files]
    if hasattr(scan, "delete_files"):  # since huggingface_hub 2, which may share blobs between repositories
        scan.delete_files(*files).execute()
        return
    uses = Counter(file.blob_path for repo in scan.repos for other in repo.revisions for file in other.files)
    for file in files:
        file.file_path.unlink(missing_ok=True)
        if uses[file.blob_path] == 1:
            file.blob_path.unlink(missing_ok=True)


def _repo_of(entry: LocalModel) -> str:
    return entry.name.removeprefix("hf://").partition(":")[0].partition("@")[0]


def _scan() -> "HFCacheInfo | None":
    import huggingface_hub
    from huggingface_hub import constants

    if not Path(constants.HF_HUB_CACHE).is_dir():
        return None
    scan = huggingface_hub.scan_cache_dir(constants.HF_HUB_CACHE)
    for warning in scan.warnings:
        logger.info("the Hub's cache: %s", warning)
    return scan


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, tz=timezone.utc)
