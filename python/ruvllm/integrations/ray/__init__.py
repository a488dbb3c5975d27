"""RuvLLM on Ray Serve: `serve run ruvllm.integrations.ray:app model=smollm2-135m`.

Needs the extra `ruvllm[ray]`. An ingress sends each request to one of several workers, each of which is the
whole server of `ruvllm serve` over an engine of its own (docs/scale.md).
"""

import importlib
from typing import TYPE_CHECKING, Any

from ruvllm.integrations.ray.settings import RaySettings

if TYPE_CHECKING:
    from ruvllm.integrations.ray.application import app

__all__ = ["RaySettings", "app"]


def __getattr__(name: str) -> Any:
    """Import Ray for the application alone: what is told of it, and where requests go, needs none."""
    if name != "app":
        raise AttributeError(f"module 'ruvllm.integrations.ray' has no attribute {name!r}")
    try:
        return importlib.import_module("ruvllm.integrations.ray.application").app
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"ruvllm.integrations.ray.app needs more packages: pip install 'ruvllm[ray]' ({error})",
            name=error.name,
        ) from error
