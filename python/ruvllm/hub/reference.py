"""From the name that a user types to what is meant by it.

    path.gguf  folder/  ./anything     a local file or folder
    smollm2-135m  qwen2.5:0.5b         a short name of the catalogue, or an alias of one
    org/repo  org/repo:Q4_K_M          a repository of the Hugging Face Hub, and one of its quantizations
    hf://org/repo/file.gguf            one file of it; `hf.co/...` and `https://huggingface.co/...` as well
    org/repo@revision                  a branch, tag or commit of it
    mistral-nemo:12b                   what Ollama has on this machine under a name that is none of these
    host/user/model:tag                the same of another registry, or of a user of Ollama's own

Asks the file system what is here, and the network nothing.
"""

import os
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path, PurePath, PureWindowsPath
from urllib.parse import SplitResult, unquote, urlsplit

from ruvllm.errors import ConfigError, NotFoundError
from ruvllm.hub import ollama
from ruvllm.hub.ollama import OllamaModel
from ruvllm.hub.registry import Registry, RegistryEntry

__all__ = [
    "ALLOWED_HOSTS",
    "HubModel",
    "LocalModelPath",
    "Reference",
    "RegistryModel",
    "called",
    "called_unseen",
    "parse",
]

ALLOWED_HOSTS = ("huggingface.co", "hf.co")
MAX_NAME_BYTES = 4096
NAME_FORMS = (
    "a path (model.gguf, a folder), a short name, org/repo, org/repo:Q4_K_M or hf://org/repo/file.gguf"
)

_REPO_PART = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_-])?")
_QUANTIZATION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_FILE_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9 ._+=,()-]{0,254}")
_URL_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_MODEL_SUFFIXES = (".gguf", ".safetensors")


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalModelPath:
    """A file or folder of this machine; it exists."""

    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryModel:
    """An entry of the registry, by its own name."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HubModel:
    """A repository of the Hugging Face Hub and what of it; at most one of the last two is set."""

    repo_id: str
    revision: str | None = None
    quantization: str | None = None
    file_name: str | None = None

    def __str__(self) -> str:
        revision = f"@{self.revision}" if self.revision else ""
        if self.file_name:
            return f"hf://{self.repo_id}{revision}/{self.file_name}"
        return f"{self.repo_id}{revision}" + (f":{self.quantization}" if self.quantization else "")


Reference = LocalModelPath | RegistryModel | HubModel | OllamaModel


def parse(name: str | os.PathLike[str], registry: Registry) -> Reference:
    """Say what `name` means.

    A short name of the package index wins over a folder of the same name (write `./smollm2` for the folder),
    and what Ollama has under a name with a tag over that; what exists, as an `org/repo` folder, wins over
    the Hub and over short names for it.

    Raises `ConfigError` where the name is malformed or not allowed and `NotFoundError` where it is well
    formed but nothing is there.
    """
    if isinstance(name, os.PathLike):
        return _local(Path(name))
    _check_text(name)
    if name.lower().startswith("hf://"):
        return _parse_hub_path(name, name[len("hf://") :])
    if _URL_SCHEME.match(name):
        return _parse_url(name)
    if name.lower().startswith(tuple(f"{host}/" for host in ALLOWED_HOSTS)):
        return _parse_url(f"https://{name}")
    entry = registry.find(name)
    if isinstance(entry, RegistryEntry):
        # Ollama's `smollm2:135m` is listed by that name, and is another file than the index's.
        return (":" in name and ollama.find(name)) or RegistryModel(name=entry.name)
    path = Path(name).expanduser()
    if _looks_like_path(name) or _exists(path):
        return _local(path)
    if entry:
        return HubModel(repo_id=entry.repo_id, quantization=entry.quantization)
    if "/" in name:
        return _in_a_repository(name)
    if found := ollama.find(name):
        return found
    raise NotFoundError(_unknown(name, registry))


def called(name: str | os.PathLike[str], registry: Registry) -> str:
    """What a model is called that was given so: its name, or what a path ends in, without a file's ending.

    >>> from ruvllm.hub.catalogue import DEFAULT_REGISTRY
    >>> called("smollm2-135m", DEFAULT_REGISTRY)
    'smollm2-135m'
    """
    reference = parse(name, registry)
    if not isinstance(reference, LocalModelPath):
        return str(name)
    # A folder's name may have a dot in it: Qwen2.5-0.5B.
    return reference.path.name if reference.path.is_dir() else reference.path.stem


def called_unseen(name: str | os.PathLike[str]) -> str:
    """The same before it is looked for: no disk is asked, which may not answer, and nothing is refused.

    >>> called_unseen("/models/smollm2.gguf"), called_unseen("org/repo")
    ('smollm2', 'org/repo')
    """
    path = PurePath(str(name))
    if path.suffix.lower() == ".gguf":
        return path.stem
    return str(name) if isinstance(name, str) and not path.is_absolute() else path.name


def _check_text(name: str) -> None:
    if not name.strip():
        raise ConfigError(f"a model name is empty; give {NAME_FORMS}")
    if len(name.encode("utf-8", "surrogatepass")) > MAX_NAME_BYTES:
        raise ConfigError(f"a model name is longer than {MAX_NAME_BYTES} bytes: {name[:60]!r}...")
    if any(unicodedata.category(character) == "Cc" for character in name):
        raise ConfigError(f"the model name {name[:80]!r} has a control character")


def _looks_like_path(name: str) -> bool:
    if name.startswith((".", "~", "/", "\\")) or PureWindowsPath(name).drive or name.endswith(("/", os.sep)):
        return True
    # "model.gguf" and "folder/model.gguf"; "org/repo/file.gguf" without hf:// is a path too.
    return name.lower().endswith(_MODEL_SUFFIXES)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # too long for the file system
        return False


def _local(path: Path) -> LocalModelPath:
    path = path.expanduser()
    if not _exists(path):
        raise NotFoundError(f"no file or folder {str(path)!r} (looked in {str(Path.cwd())!r})")
    return LocalModelPath(path=path.resolve())


def _unknown(name: str, registry: Registry) -> str:
    close = " or ".join(repr(one) for one in registry.suggest(name))
    hint = f" Did you mean {close}?" if close else ""
    return (
        f"no model, file or folder is called {name!r}.{hint} "
        f"`ruvllm list --available` has all short names; or give {NAME_FORMS}"
    )


def _in_a_repository(name: str) -> HubModel | OllamaModel:
    # HOST/USER/MODEL:TAG is nothing of the Hub's, whose files have no tag.
    if name.count("/") == 2 and ":" in name and (found := ollama.find(name)):
        return found
    return _parse_hub_path(name, name)


def _parse_url(url: str) -> HubModel:
    parts = _split_url(url)
    if parts.query not in ("", "download=true") or parts.fragment:
        raise ConfigError(f"the URL {url!r} has a query or a fragment; give it without")
    segments = unquote(parts.path).strip("/").split("/")
    if len(segments) >= 5 and segments[2] in ("resolve", "blob"):
        return _hub_model(url, segments[:2], revision=segments[3], file_parts=segments[4:])
    if len(segments) == 4 and segments[2] == "tree":
        return _hub_model(url, segments[:2], revision=segments[3])
    return _parse_hub_path(url, "/".join(segments))


def _split_url(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"the URL {url!r} is malformed: {error}") from error
    if "@" in parts.netloc:
        # Without the URL itself: it holds a password.
        raise ConfigError("a model URL must not hold a user name or password; set HF_TOKEN instead")
    if parts.scheme.lower() != "https" or parts.hostname not in ALLOWED_HOSTS or port is not None:
        allowed = " and ".join(f"https://{host}/" for host in ALLOWED_HOSTS)
        raise ConfigError(f"models are not fetched from {url!r}; allowed are {allowed}")
    return parts


def _parse_hub_path(name: str, path: str) -> HubModel:
    path, colon, quantization = path.partition(":")
    segments = path.split("/")
    revision = None
    if len(segments) >= 2 and "@" in segments[1]:
        segments[1], _, revision = segments[1].partition("@")
        _match(_REVISION, revision, name, "revision")
    if colon:
        _match(_QUANTIZATION, quantization, name, "quantization")
        if len(segments) > 2:
            raise ConfigError(f"{name!r} names both a file and a quantization; give one of them")
    model = _hub_model(name, segments[:2], revision=revision, file_parts=segments[2:])
    return HubModel(
        repo_id=model.repo_id,
        revision=model.revision,
        quantization=quantization or None,
        file_name=model.file_name,
    )


def _hub_model(
    name: str, repo: list[str], *, revision: str | None = None, file_parts: list[str] | None = None
) -> HubModel:
    if len(repo) != 2:
        raise ConfigError(f"{name!r} is no model name; give {NAME_FORMS}")
    for part in repo:
        _match(_REPO_PART, part, name, "repository name")
        if ".." in part or "--" in part or part.endswith(".git"):
            raise ConfigError(
                f"{part!r} in {name!r} is no repository name: '..', '--' and '.git' are not allowed"
            )
    for part in file_parts or []:
        _match(_FILE_PART, part, name, "file name")
    file_name = "/".join(file_parts or []) or None
    if file_name and not file_name.lower().endswith(".gguf"):
        raise ConfigError(
            f"{file_name!r} in {name!r} is no .gguf file; for safetensors name the repository alone"
        )
    if revision is not None:
        _match(_REVISION, revision, name, "revision")
    return HubModel(
        repo_id="/".join(repo), revision=None if revision == "main" else revision, file_name=file_name
    )


def _match(pattern: re.Pattern[str], value: str, name: str, what: str) -> None:
    if not pattern.fullmatch(value) or ".." in value:
        raise ConfigError(
            f"{value!r} in {name!r} is no {what}: letters, digits, '.', '_' and '-' are allowed, '..' is not"
        )
