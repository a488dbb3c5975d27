"""Where adapters may be read from on a client's word: folders that the operator named, and nothing else."""

import os
from collections.abc import Sequence
from pathlib import Path

from ruvllm.adapters.source import files_of, is_gguf
from ruvllm.serve.errors import ApiError

__all__ = ["AdapterFolders"]


class AdapterFolders:
    """The folders of `--adapter-dir`, with their links followed."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = tuple(Path(os.path.realpath(folder)) for folder in folders)

    def find(self, given: str) -> Path:
        """The folder or GGUF file that a client names: a path inside one of these, or relative to one.

        403 for all that lies elsewhere, whether there is something or not, be it by `..` or by a link: the
        folder's own, or one of the files in it.
        """
        if not self._folders:
            message = "no folder may be loaded from: start the server with --adapter-dir FOLDER"
            raise ApiError(403, message, code="permission_denied", param="lora_path")
        if not given or "\0" in given:
            message = "lora_path is no path of a folder"
            raise ApiError(400, message, code="invalid_value", param="lora_path")
        inside = [path for path in map(Path, self._candidates(given)) if self._holds(path)]
        if not inside:
            message = f"lora_path is {given[:200]!r}, which is in no folder from which adapters may be loaded"
            raise ApiError(403, message, code="permission_denied", param="lora_path")
        found = next((path for path in inside if os.path.isdir(path) or _is_gguf_file(path)), None)
        if found is None:
            message = f"there is no folder, and no .gguf file, {given[:200]!r}"
            raise ApiError(404, message, code="not_found", param="lora_path")
        return found

    def _candidates(self, given: str) -> list[str]:
        return [os.path.realpath(folder / given) for folder in self._folders]

    def _holds(self, path: Path) -> bool:
        real = [path, *(Path(os.path.realpath(file)) for file in files_of(path))]
        return all(any(one.is_relative_to(folder) for folder in self._folders) for one in real)


def _is_gguf_file(path: Path) -> bool:
    return is_gguf(path) and os.path.isfile(path)
