"""Where a server keeps what belongs to a model, by the model's name."""

import hashlib
import re
from pathlib import Path

__all__ = ["LEARNED", "file_of_model"]

# What the folder of what was learned on a model ends with.
LEARNED = "learned"


def file_of_model(folder: Path | None, name: str, ending: str) -> Path | None:
    """A file for what is kept of a model; its name is the model's, as far as a file may be called so."""
    if folder is None:
        return None
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    digest = hashlib.blake2s(name.encode(), digest_size=4).hexdigest()
    return folder / f"{re.sub(r'[^A-Za-z0-9._-]', '-', name)[:80]}-{digest}.{ending}"
