"""The reference pack under other names, versions and keys, signed by `cryptography`: a signer of its
own, so that what the package signs and verifies is held against something else."""

import base64
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ruvllm.packs import reference_pack

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
Manifest = dict[str, Any]


def public_text(key: Ed25519PrivateKey) -> str:
    return "ed25519:" + base64.b64encode(key.public_key().public_bytes_raw()).decode()


TRUSTED = public_text(KEY)


def copy_pack(
    folder: Path,
    *,
    name: str = "my-pack",
    version: str = "1.0.0",
    key: Ed25519PrivateKey = KEY,
    change: Callable[[Manifest], None] | None = None,
) -> Path:
    """The reference pack as this author's; `change` has the last word on its manifest before it is signed."""
    shutil.copytree(reference_pack(), folder)
    manifest = json.loads((folder / "kernels.json").read_bytes())
    manifest.update(name=name, version=version)
    manifest["author"]["signing_key"] = public_text(key)
    if change:
        change(manifest)
    write_signed(folder, manifest, key)
    return folder


def write_signed(folder: Path, manifest: Manifest, key: Ed25519PrivateKey) -> None:
    data = json.dumps(manifest).encode()
    (folder / "kernels.json").write_bytes(data)
    (folder / "kernels.json.sig").write_bytes(key.sign(data))


def replace_module(folder: Path, manifest: Manifest, kernel_id: str, module: bytes) -> None:
    """Other code for a kernel, with the hash that belongs to it."""
    entry = next(one for one in manifest["kernels"] if one["id"] == kernel_id)
    (folder / entry["path"]).write_bytes(module)
    entry["hash"] = "sha256:" + hashlib.sha256(module).hexdigest()
