"""Values of GGUF files as bytes: the number of a type, then the value."""

import struct
from collections.abc import Sequence
from typing import TypeAlias

__all__ = ["Entry", "GgufValue", "encoded", "text_bytes"]

GgufValue: TypeAlias = bool | int | float | str | Sequence[str] | Sequence[int] | Sequence[float]
Entry: TypeAlias = tuple[str, bytes]
"""A key, and its value as bytes."""

UNSIGNED, SIGNED, FLOAT, BOOL, TEXT, ARRAY = 4, 5, 6, 7, 8, 9


def encoded(value: GgufValue) -> bytes:
    """A value with its type before it; integers are of 32 bits, those of lists with a sign, floats of 32."""
    if isinstance(value, bool):
        return struct.pack("<I?", BOOL, value)
    if isinstance(value, int):
        return struct.pack("<II", UNSIGNED, value)
    if isinstance(value, float):
        return struct.pack("<If", FLOAT, value)
    if isinstance(value, str):
        return struct.pack("<I", TEXT) + text_bytes(value)
    head = struct.pack("<I", ARRAY)
    first = value[0] if value else ""
    if isinstance(first, str):
        texts = b"".join(text_bytes(str(one)) for one in value)
        return head + struct.pack("<IQ", TEXT, len(value)) + texts
    kind, letter = (SIGNED, "i") if isinstance(first, int) else (FLOAT, "f")
    return head + struct.pack(f"<IQ{len(value)}{letter}", kind, len(value), *value)


def text_bytes(text: str) -> bytes:
    """A text behind its length."""
    read = text.encode("utf-8")
    return struct.pack("<Q", len(read)) + read
