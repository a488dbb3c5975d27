"""The release key: 64 raw bytes of Ed25519 over the manifest's bytes, as `kernels.json.sig`.

The public half is committed. The private half, 32 bytes in base64 in a file that only its owner can read, is
kept by the maintainers and never stands in the repository.
"""

from __future__ import annotations

import base64
import os
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

__all__ = ["SigningError", "make_key", "public_text", "sign", "verify"]

PREFIX = "ed25519:"


class SigningError(Exception):
    """A key that is missing, exposed, or not the one that is trusted."""


def make_key(path: Path, repository: Path) -> str:
    """Write a new private key to a file that must not exist yet; returns the public half as text."""
    refuse_inside(path, repository)
    key = Ed25519PrivateKey.generate()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(base64.b64encode(key.private_bytes_raw()) + b"\n")
    return public_text(key.public_key())


def sign(manifest: bytes, key_file: Path, repository: Path, trusted: str) -> bytes:
    """The signature; `trusted` is the public half that must belong to the key."""
    refuse_inside(key_file, repository)
    key = Ed25519PrivateKey.from_private_bytes(base64.b64decode(key_file.read_bytes(), validate=False))
    if public_text(key.public_key()) != trusted:
        raise SigningError(f"{key_file} is not the private half of {trusted}, which stands in the manifest")
    return key.sign(manifest)


def verify(manifest: bytes, signature: bytes, trusted: str) -> bool:
    """Whether the signature is that key's over these bytes."""
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(trusted.removeprefix(PREFIX), validate=True))
    try:
        key.verify(signature, manifest)
    except InvalidSignature:
        return False
    return True


def public_text(key: Ed25519PublicKey) -> str:
    """A public key as the manifest writes it: `ed25519:` and base64."""
    return PREFIX + base64.b64encode(key.public_bytes_raw()).decode()


def refuse_inside(path: Path, repository: Path) -> None:
    if path.resolve().is_relative_to(repository.resolve()):
        raise SigningError(f"{path} is in the repository; keep private keys somewhere else")
