"""The pack's manifest, `kernels.json`: the table of modules with the hashes of what was built.

The same lock gives the same bytes. What they are signed with stands in `signing.py`.
"""

from __future__ import annotations

import json
from typing import Any

from modules import MAX_EPOCH_TICKS, MODULES, Module, Plane

__all__ = ["VERSION", "manifest_bytes"]

VERSION = "1.0.0"
# The runtime that every module is tested on.
WASMTIME = "48.0.0"


def manifest_bytes(hashes: dict[str, str], created_at: str, signing_key: str) -> bytes:
    """The manifest over modules with these SHA-256s, by path."""
    manifest = {
        "$schema": "https://ruvllm.dev/schemas/kernel-pack-v1.json",
        "version": VERSION,
        "name": "ruvllm-reference",
        "description": "RuvLLM's own kernels: rotary embedding, normalization, gated activation, packed "
        "keys and values, low-rank adapters.",
        "min_runtime_version": "0.1.0",
        "max_runtime_version": "1.0.0",
        "created_at": created_at,
        "author": {
            "name": "The RuvLLM authors",
            "email": "maintainers@ruvllm.invalid",
            "signing_key": signing_key,
        },
        "kernels": [kernel(module, hashes[module.path]) for module in MODULES],
        "fallbacks": {module.id: module.reference for module in MODULES},
    }
    return (json.dumps(manifest, indent=2) + "\n").encode()


def kernel(module: Module, digest: str) -> dict[str, Any]:
    return {
        "id": module.id,
        "name": module.name,
        "category": module.category,
        "path": module.path,
        "hash": f"sha256:{digest}",
        "entry_point": module.entry_point,
        "inputs": [plane(each) for each in module.inputs],
        "outputs": [plane(each) for each in module.outputs],
        "params": {name: param(kind, default) for name, kind, default in module.params},
        "resource_limits": {
            "max_memory_pages": module.max_memory_pages,
            "max_epoch_ticks": MAX_EPOCH_TICKS,
            "max_table_elements": 1,
        },
        "platforms": {"wasmtime": {"min_version": WASMTIME, "features": list(module.features)}},
    }


def plane(each: Plane) -> dict[str, Any]:
    return {"name": each.name, "dtype": each.dtype, "shape": list(each.shape)}


def param(kind: str, default: float | None) -> dict[str, Any]:
    return {"type": kind} if default is None else {"type": kind, "default": default}
