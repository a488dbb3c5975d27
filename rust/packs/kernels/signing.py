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

__all__ = ["SigningError", "make_key", "public_half", "public_text", "sign", "verify"]

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


def public_half(key_file: Path, repository: Path) -> str:
    """The public half, as text, of the key in a file."""
    return public_text(read_key(key_file, repository).public_key())


def sign(manifest: bytes, key_file: Path, repository: Path) -> bytes:
    """The signature of the key in a file."""
    return read_key(key_file, repository).sign(manifest)


def read_key(key_file: Path, repository: Path) -> Ed25519PrivateKey:
    """The private key; what the file holds is in no error."""
    refuse_inside(key_file, repository)
    try:
        return Ed25519PrivateKey.from_private_bytes(
            base64.b64decode(key_file.read_bytes().strip(), validate=True)
        )
    except ValueError:
        raise SigningError(f"{key_file} is no private key: it must hold 32 bytes in base64") from None


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
