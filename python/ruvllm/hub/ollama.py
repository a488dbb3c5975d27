"""Models that Ollama has on this machine. They are read where they lie; nothing is copied or changed.

A manifest, `manifests/HOST/NAMESPACE/NAME/TAG`, names the files of a model by their digests, and `blobs/` has
them. Of these the GGUF file is taken; Ollama's own template, system prompt and parameters beside it are not.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ruvllm.hub.storage import in_home

__all__ = ["OllamaModel", "find", "folders", "models"]

LATEST = "latest"
MAX_MANIFEST_BYTES = 1 << 20

_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_HOST, _NAMESPACE = "registry.ollama.ai", "library"
_WEIGHTS = "application/vnd.ollama.image.model"


@dataclass(frozen=True, slots=True, kw_only=True)
class OllamaModel:
    """A model of Ollama's, by the name that it has there."""

    name: str
    path: Path
    size_bytes: int
    modified: datetime
    quantization: str | None = None


def folders(environment: Mapping[str, str] | None = None) -> list[Path]:
    """Where Ollama keeps models: OLLAMA_MODELS, or a user's and the system service's own folders."""
    variables = os.environ if environment is None else environment
    if value := variables.get("OLLAMA_MODELS", "").strip():
        return [Path(os.path.expanduser(value))]  # as it is where there is no home
    return [*in_home(".ollama/models"), Path("/usr/share/ollama/.ollama/models")]


def find(name: str) -> OllamaModel | None:
    """The model that Ollama calls so; `NAME` is `NAME:latest`."""
    path, _, tag = name.partition(":")
    parts = [*path.split("/"), tag or LATEST]
    if not 2 <= len(parts) <= 4 or not all(map(_is_part, parts)):
        return None
    parts = [*[_HOST, _NAMESPACE][: 4 - len(parts)], *parts]
    for folder in folders():
        if found := _model(folder, folder.joinpath("manifests", *parts)):
            return found
    return None


def models() -> Iterator[OllamaModel]:
    """All that are here and whole, as far as they are GGUF files."""
    for folder in folders():
        try:
            manifests = sorted((folder / "manifests").glob("*/*/*/*"))
        except OSError:  # another user's, which may not be looked at
            continue
        for manifest in manifests:
            # One of a registry with a port in its name, say, cannot be asked for here.
            if all(map(_is_part, manifest.parts[-4:])) and (found := _model(folder, manifest)):
                yield found


def _is_part(part: str) -> bool:
    return _PART.fullmatch(part) is not None and ".." not in part


def _model(folder: Path, manifest: Path) -> OllamaModel | None:
    content = _json(manifest)
    layers = content.get("layers")
    weights = [
        layer
        for layer in (layers if isinstance(layers, list) else [])
        if isinstance(layer, dict) and layer.get("mediaType") == _WEIGHTS
    ]
    # One that is in several files Ollama puts together in its own way.
    path = _blob(folder, weights[0]) if len(weights) == 1 else None
    if path is None:
        return None
    try:
        if not path.is_file():
            return None
        about = path.stat()
    except OSError:  # deleted since the manifest was read, or in a folder that may not be looked into
        return None
    config = _blob(folder, content.get("config"))
    file_type = _json(config).get("file_type") if config else None
    return OllamaModel(
        name=_name(manifest.parts[-4:]),
        path=path,
        size_bytes=about.st_size,
        modified=datetime.fromtimestamp(about.st_mtime, tz=timezone.utc),
        quantization=file_type if isinstance(file_type, str) else None,
    )


def _name(parts: tuple[str, ...]) -> str:
    host, namespace, name, tag = parts
    # With its host also where Ollama leaves that out: `user/model:tag` alone is a name of the Hub.
    return f"{name}:{tag}" if (host, namespace) == (_HOST, _NAMESPACE) else f"{host}/{namespace}/{name}:{tag}"


def _blob(folder: Path, layer: object) -> Path | None:
    digest = layer.get("digest") if isinstance(layer, dict) else None
    match = _DIGEST.fullmatch(digest) if isinstance(digest, str) else None
    return folder / "blobs" / f"sha256-{match[1]}" if match else None


def _json(path: Path) -> dict[str, Any]:
    """A small file's object; empty where there is none, for what is not Ollama's is nobody's fault."""
    try:
        if not path.is_file() or path.stat().st_size > MAX_MANIFEST_BYTES:
            return {}
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
