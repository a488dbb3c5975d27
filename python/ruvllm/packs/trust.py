"""Whom this machine believes: the keys whose packs it runs, and where they stand.

A key is trusted because it came with the package, because the user put it into the data folder, or because
`RUVLLM_TRUSTED_KEYS` names it. What a pack says of its own key is never a reason.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from ruvllm.errors import ConfigError, IoError
from ruvllm.hub.storage import state_folder

__all__ = ["TRUSTED_KEYS_VARIABLE", "default_trusted_keys", "split_keys", "trusted_keys_folder"]

TRUSTED_KEYS_VARIABLE = "RUVLLM_TRUSTED_KEYS"
_RELEASE_KEYS = Path(__file__).parent / "trusted_keys"
# A public key has 52 characters; a file of many with comments is far below this.
_LARGEST_KEY_FILE = 64 * 1024


def trusted_keys_folder() -> Path:
    """Where the user's own trusted keys lie: files `*.pub`, a key a line."""
    return state_folder() / "packs" / "trusted_keys"


def default_trusted_keys(environment: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """The package's release key, the user's keys, and those of `RUVLLM_TRUSTED_KEYS`.

    Keys are texts `ed25519:<base64>`; whether each is one is checked where it is used, and one that is not
    is an error there: a key that is left out silently would be a surprise.
    """
    variables = os.environ if environment is None else environment
    keys = [*_keys_of(_RELEASE_KEYS), *_keys_of(trusted_keys_folder())]
    return tuple(dict.fromkeys([*keys, *split_keys([variables.get(TRUSTED_KEYS_VARIABLE, "")])]))


def split_keys(texts: Iterable[str]) -> tuple[str, ...]:
    """The keys of texts that hold several, parted by spaces, line ends or commas."""
    keys = tuple(key for text in texts for key in text.replace(",", " ").split())
    for key in keys:
        if not key.startswith("ed25519:"):
            raise ConfigError(f"{key[:80]!r} is no public key; they have the form ed25519:<base64>")
    return keys


def _keys_of(folder: Path) -> list[str]:
    keys: list[str] = []
    for path in sorted(folder.glob("*.pub")):
        try:
            if path.stat().st_size > _LARGEST_KEY_FILE:
                raise ConfigError(f"{path} is no file of public keys: it is larger than 64 KiB")
            lines = path.read_text(encoding="ascii").splitlines()
        except OSError as error:
            raise IoError(f"{path}: the trusted keys cannot be read: {error}") from error
        except UnicodeDecodeError as error:
            raise ConfigError(f"{path} is no file of public keys: {error}") from error
        keys += split_keys(line.partition("#")[0] for line in lines)
    return keys
