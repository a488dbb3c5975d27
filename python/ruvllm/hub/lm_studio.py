"""GGUF models that LM Studio has on this machine. They are read where they lie; nothing is copied or changed.

Its folders are PUBLISHER/REPOSITORY/file.gguf, as the Hub has them, so that the names of the Hub find them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from ruvllm.errors import NotFoundError
from ruvllm.hub.reference import HubModel
from ruvllm.hub.selection import Selection, gguf_models, is_meant, select
from ruvllm.hub.storage import in_home

__all__ = ["LmStudioModel", "find", "folders", "models"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LmStudioModel:
    """A model of LM Studio's; `name` is the Hub's."""

    name: str
    path: Path
    size_bytes: int
    modified: datetime
    quantization: str | None


def folders() -> list[Path]:
    """Where LM Studio keeps models, today and before version 0.3."""
    return in_home(".lmstudio/models", ".cache/lm-studio/models")


def find(model: HubModel) -> Path | None:
    """The file that is meant by a name of the Hub, if LM Studio has it; a revision cannot be told from it."""
    if model.revision is not None:
        return None
    for folder in folders():
        repository = folder / model.repo_id
        try:
            selection = select(_ggufs(repository), model)
        except NotFoundError:
            continue
        if selection.entry_file and is_meant(selection, model):
            return repository / selection.entry_file
    return None


def models() -> Iterator[LmStudioModel]:
    """All that are here, of split ones those that are whole."""
    for folder in folders():
        try:
            repositories = sorted(path for path in folder.glob("*/*") if path.is_dir())
        except OSError:
            continue
        for repository in repositories:
            repo_id = repository.relative_to(folder).as_posix()
            for choice in gguf_models(_ggufs(repository)):
                if found := _model(repo_id, repository, choice):
                    yield found


def _model(repo_id: str, repository: Path, choice: Selection) -> LmStudioModel | None:
    name = (
        f"{repo_id}:{choice.quantization}" if choice.quantization else f"hf://{repo_id}/{choice.entry_file}"
    )
    try:
        about = [(repository / file).stat() for file in choice.files]
    except OSError:  # deleted since it was seen
        return None
    return LmStudioModel(
        name=name,
        path=repository / (choice.entry_file or ""),
        size_bytes=sum(one.st_size for one in about),
        modified=datetime.fromtimestamp(max(one.st_mtime for one in about), tz=timezone.utc),
        quantization=choice.quantization,
    )


def _ggufs(repository: Path) -> list[str]:
    try:
        found = [path for path in repository.rglob("*.gguf") if path.is_file()]
    except OSError:
        return []
    return [path.relative_to(repository).as_posix() for path in found]
