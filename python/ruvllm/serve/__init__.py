"""An OpenAI-compatible server over `AsyncEngine`: `create_app` makes it, `ruvllm serve` runs it.

Needs the extra `ruvllm[serve]`, but for keys and settings, which the command line asks for its flags.
"""

import importlib
from typing import TYPE_CHECKING, Any

from ruvllm.serve.keys import ApiKey, KeyRing, read_key_file
from ruvllm.serve.settings import ServerSettings

if TYPE_CHECKING:
    from ruvllm.serve.app import create_app
    from ruvllm.serve.models import ServedModel
    from ruvllm.serve.pulling import ModelStore

__all__ = ["ApiKey", "KeyRing", "ModelStore", "ServedModel", "ServerSettings", "create_app", "read_key_file"]

_LATE = {
    "ModelStore": "ruvllm.serve.pulling",
    "ServedModel": "ruvllm.serve.models",
    "create_app": "ruvllm.serve.app",
}


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module 'ruvllm.serve' has no attribute {name!r}")
    try:
        value = getattr(importlib.import_module(_LATE[name]), name)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"ruvllm.serve.{name} needs more packages: pip install 'ruvllm[serve]' ({error})", name=error.name
        ) from error
    globals()[name] = value
    return value
