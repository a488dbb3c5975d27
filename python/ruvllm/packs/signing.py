"""Keys, and signatures under packs: the author's side.

A private key is 32 random bytes, in base64, in a file that only its owner can read. Who has it can sign
packs that every machine runs which trusts its public half.
"""

import base64
import binascii
import hashlib
import json
import os
import secrets
from pathlib import Path
from typing import Any

import ruvllm._native as _native
import ruvllm.whole_file as whole_file
from ruvllm.errors import ConfigError, IoError, PackError
from ruvllm.packs.pack import require_packs

__all__ = ["make_key", "sign_pack"]


def make_key(path: str | os.PathLike[str]) -> str:
    """Write a new private key into a file that must not exist yet; gives the public half as text."""
    require_packs()
    seed = secrets.token_bytes(32)
    try:
        with whole_file.creating(path) as file:
            file.write(base64.b64encode(seed) + b"\n")
    except FileExistsError:
        raise ConfigError(f"{os.fspath(path)} exists; a key is never written over another file") from None
    except OSError as error:
        raise IoError(f"{os.fspath(path)}: the key cannot be written: {error}") from error
    return _native.public_key(seed)


def sign_pack(folder: str | os.PathLike[str], key_file: str | os.PathLike[str]) -> str:
    """Sign a pack's `kernels.json` as it is, into `kernels.json.sig`; gives the public key that signed.

    Refuses a manifest that names another key, and files whose hashes are not the manifest's: such a pack
    nobody would run. Whether the kernels are any good is not looked at; `KernelPack.verify` does that.
    """
    require_packs()
    seed, folder = _read_key(Path(key_file)), Path(folder)
    public = _native.public_key(seed)
    try:
        manifest = (folder / "kernels.json").read_bytes()
        _check_hashes(folder, manifest, public)
        signature = _native.sign_manifest(seed, manifest)
        with whole_file.replacing(folder / "kernels.json.sig", private=False) as file:
            file.write(signature)
    except OSError as error:
        raise IoError(f"{folder}: the pack cannot be signed: {error}") from error
    return public


def _read_key(path: Path) -> bytes:
    try:
        seed = base64.b64decode(path.read_bytes().strip(), validate=True)
    except OSError as error:
        raise IoError(f"{path}: the key cannot be read: {error}") from error
    except binascii.Error:
        seed = b""
    if len(seed) != 32:
        raise ConfigError(f"{path} is no private key: it must hold 32 bytes in base64, as keygen writes them")
    return seed


def _check_hashes(folder: Path, manifest: bytes, public: str) -> None:
    document = _parsed(manifest)
    stated = document.get("author", {}).get("signing_key")
    if stated != public:
        raise PackError.refused(
            "OtherAuthor", f"kernels.json: author.signing_key is {stated!r}; this key is {public}"
        )
    for kernel in document["kernels"]:
        actual = "sha256:" + hashlib.sha256((folder / kernel["path"]).read_bytes()).hexdigest()
        if actual != kernel["hash"]:
            raise PackError.refused(
                "HashMismatch",
                f"kernel {kernel['id']}: its file has the hash {actual}, the manifest says {kernel['hash']}",
            )


def _parsed(manifest: bytes) -> dict[str, Any]:
    try:
        document = json.loads(manifest)
        complete = isinstance(document.get("author", {}), dict) and all(
            isinstance(kernel[key], str) for kernel in document["kernels"] for key in ("id", "path", "hash")
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise PackError.refused("Manifest", f"kernels.json is no manifest: {error!r}") from error
    if not complete:
        raise PackError.refused("Manifest", "kernels.json: author, id, path or hash is of another type")
    return document  # type: ignore[no-any-return]
