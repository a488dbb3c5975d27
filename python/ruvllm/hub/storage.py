"""Where RuvLLM keeps what it fetched and what it remembers.

The one place of the package that reads RUVLLM_CACHE_DIR, RUVLLM_HOME and the platform's own rules.
Models of the Hugging Face Hub are not here: they stay in the Hub's own cache.
"""

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

__all__ = ["cache_folder", "commit_in", "image_folder", "in_home", "model_folder", "state_folder"]

_COMMIT = re.compile(r"[A-Za-z0-9]{1,128}")


def cache_folder(environment: Mapping[str, str] | None = None) -> Path:
    """Return what may be deleted and fetched again: RUVLLM_CACHE_DIR, RUVLLM_HOME or the platform's cache."""
    variables = os.environ if environment is None else environment
    for name in ("RUVLLM_CACHE_DIR", "RUVLLM_HOME"):
        if value := variables.get(name, "").strip():
            return Path(value).expanduser()
    return _platform_folder(variables, "XDG_CACHE_HOME", ".cache", "Caches")


def state_folder(environment: Mapping[str, str] | None = None) -> Path:
    """Return what should outlive the cache, as the chat's history: RUVLLM_HOME or the platform's data."""
    variables = os.environ if environment is None else environment
    if value := variables.get("RUVLLM_HOME", "").strip():
        return Path(value).expanduser()
    return _platform_folder(variables, "XDG_DATA_HOME", ".local/share", "Application Support")


def in_home(*names: str) -> list[Path]:
    """Folders of other programs in the user's home; none where there is no home, as in some containers."""
    try:
        home = Path.home()
    except RuntimeError:
        return []
    return [home / name for name in names]


def model_folder(cache: Path, name: str) -> Path:
    """Return the folder of one model out of the registry."""
    return cache / "models" / name


def image_folder(cache: Path) -> Path:
    """Return the folder of weights that were packed before."""
    return cache / "images"


def commit_in(reference: Path) -> str:
    """What a branch in the Hub's cache points to; empty where that is no commit, and no folder's name."""
    try:
        found = reference.read_text(errors="replace").strip()
    except OSError:
        return ""
    return found if _COMMIT.fullmatch(found) else ""


def _platform_folder(variables: Mapping[str, str], xdg_name: str, default: str, mac_name: str) -> Path:
    # The XDG standard has relative values ignored.
    if os.path.isabs(value := variables.get(xdg_name, "")):
        return Path(value) / "ruvllm"
    if sys.platform == "darwin":
        return Path.home() / "Library" / mac_name / "ruvllm"
    if sys.platform == "win32":
        local = variables.get("LOCALAPPDATA")
        return (Path(local) if local else Path.home() / "AppData" / "Local") / "ruvllm"
    return Path.home() / default / "ruvllm"
