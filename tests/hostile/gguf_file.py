"""GGUF files taken apart and put together again, with anything changed between.

Written from the format's description, and much too trusting to be used on files that are not our own.
"""

import struct
from dataclasses import dataclass, field
from pathlib import Path

ALIGNMENT = 32
WIDTHS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
U32, F32, STRING, ARRAY = 4, 6, 8, 9


@dataclass
class Tensor:
    """One tensor; the dimensions innermost first, as in the file."""

    name: str
    dimensions: list[int]
    kind: int
    data: bytes
    offset: int | None = None


@dataclass
class GgufFile:
    """Key-values as (type, bytes) and tensors."""

    values: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    tensors: list[Tensor] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path) -> "GgufFile":
        """Take a file apart."""
        data = path.read_bytes()
        tensor_count, value_count = struct.unpack_from("<QQ", data, 8)
        at = 24
        file = cls()
        for _ in range(value_count):
            key, at = _string(data, at)
            (kind,) = struct.unpack_from("<I", data, at)
            end = _value_end(data, at + 4, kind)
            file.values[key] = (kind, data[at + 4 : end])
            at = end
        entries = []
        for _ in range(tensor_count):
            name, at = _string(data, at)
            (rank,) = struct.unpack_from("<I", data, at)
            *dimensions, kind, offset = struct.unpack_from(f"<{rank}QIQ", data, at + 4)
            at += 4 + 8 * rank + 12
            entries.append((name, dimensions, kind, offset))
        begin = at + -at % ALIGNMENT
        ends = [*sorted(offset for *_, offset in entries)[1:], len(data) - begin]
        ordered = sorted(entries, key=lambda entry: entry[3])
        for (name, dimensions, kind, offset), end in zip(ordered, ends, strict=True):
            file.tensors.append(Tensor(name, dimensions, kind, data[begin + offset : begin + end]))
        return file

    def to_bytes(self) -> bytes:
        """Put it together."""
        parts = [b"GGUF", struct.pack("<IQQ", 3, len(self.tensors), len(self.values))]
        for key, (kind, value) in self.values.items():
            parts += [text(key), struct.pack("<I", kind), value]
        offset = 0
        for tensor in self.tensors:
            shown = offset if tensor.offset is None else tensor.offset
            rank = len(tensor.dimensions)
            description = struct.pack(f"<I{rank}QIQ", rank, *tensor.dimensions, tensor.kind, shown)
            parts += [text(tensor.name), description]
            offset += len(_padded(tensor.data))
        return _padded(b"".join(parts)) + b"".join(_padded(tensor.data) for tensor in self.tensors)

    def tensor(self, name: str) -> Tensor:
        """The tensor of that name."""
        return next(tensor for tensor in self.tensors if tensor.name == name)

    def set_number(self, key: str, number: int) -> None:
        """Set a 32-bit integer."""
        self.values[key] = (U32, struct.pack("<I", number))

    def set_float(self, key: str, number: float) -> None:
        """Set a 32-bit float."""
        self.values[key] = (F32, struct.pack("<f", number))

    def set_text(self, key: str, value: str) -> None:
        """Set a string."""
        self.values[key] = (STRING, text(value))


def text(value: str) -> bytes:
    """A string with its length before it."""
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def texts(values: list[str]) -> tuple[int, bytes]:
    """An array of strings."""
    return ARRAY, struct.pack("<IQ", STRING, len(values)) + b"".join(map(text, values))


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % ALIGNMENT)


def _string(data: bytes, at: int) -> tuple[str, int]:
    (length,) = struct.unpack_from("<Q", data, at)
    return data[at + 8 : at + 8 + length].decode(), at + 8 + length


def _value_end(data: bytes, at: int, kind: int) -> int:
    if kind == STRING:
        return _string(data, at)[1]
    if kind != ARRAY:
        return at + WIDTHS[kind]
    element, count = struct.unpack_from("<IQ", data, at)
    at += 12
    if element in WIDTHS:
        return at + WIDTHS[element] * count
    for _ in range(count):
        at = _value_end(data, at, element)
    return at
