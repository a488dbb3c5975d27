"""GGUF models that LM Studio has on this machine. They are read where they lie; nothing is copied or changed.

Its folders are PUBLISHER/REPOSITORY/file.gguf, as the Hub has them, so that the names of the Hub find them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ruvllm.errors import NotFoundError
from ruvllm.hub.reference import HubModel
from ruvllm.hub.selection import Selection, gguf_models, select

__all__ = ["LmStudioModel", "find", "folders", "models"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LmStudioModel:
    """A model of LM Studio's; `name` is the Hub's."""

    name: str
    path: Path
    size_bytes: int
    quantization: str | None


def folders() -> list[Path]:
    """Where LM Studio keeps models, today and before version 0.3."""
    return [Path.home() / ".lmstudio/models", Path.home() / ".cache/lm-studio/models"]


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
        if selection.entry_file:
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
                yield _model(repo_id, repository, choice)


def _model(repo_id: str, repository: Path, choice: Selection) -> LmStudioModel:
    name = (
        f"{repo_id}:{choice.quantization}" if choice.quantization else f"hf://{repo_id}/{choice.entry_file}"
    )
    return LmStudioModel(
        name=name,
        path=repository / (choice.entry_file or ""),
        size_bytes=sum((repository / file).stat().st_size for file in choice.files),
        quantization=choice.quantization,
    )


def _ggufs(repository: Path) -> list[str]:
    try:
        found = [path for path in repository.rglob("*.gguf") if path.is_file()]
    except OSError:
        return []
    return [path.relative_to(repository).as_posix() for path in found]
