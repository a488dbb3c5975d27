"""Which model it is, by what its files hold: the same model in another place is the same."""

import hashlib
from pathlib import Path

import ruvllm.whole_file as whole_file

__all__ = ["model_digest"]

READ_BYTES = 1 << 22


def model_digest(path: Path) -> str:
    """A digest of a model's file, or of all weights in its folder; reads them all. May raise `OSError`."""
    files = [path] if path.is_file() else sorted(path.glob("*.safetensors"))
    digest = hashlib.blake2b(digest_size=16)
    for file in files:
        with whole_file.open_regular(file) as opened:
            while block := opened.read(READ_BYTES):
                digest.update(block)
    return digest.hexdigest()
