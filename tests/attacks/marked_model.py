"""A tiny model whose vocabulary has marks: reference weights, under tokens of other names."""

import struct
from collections.abc import Mapping
from pathlib import Path

from tests.hostile.gguf_file import ARRAY, STRING, GgufFile, texts

CONTROL, USER_DEFINED, UNUSED = 3, 4, 5
INT32 = 5
NEW = {"<|im_start|>": CONTROL, "<|im_end|>": CONTROL, "<think>": USER_DEFINED, "</think>": USER_DEFINED}


def write_marked_model(source: Path, target: Path, template: str, marks: Mapping[str, int] = NEW) -> Path:
    """Copy a GGUF file, give some of its unused tokens the texts of `marks`, and add a chat template."""
    file = GgufFile.read(source)
    tokens = _texts_of(file.values["tokenizer.ggml.tokens"][1])
    types = list(_numbers_of(file.values["tokenizer.ggml.token_type"][1]))
    free = [index for index, kind in enumerate(types) if kind == UNUSED]
    for index, (text, kind) in zip(free, marks.items(), strict=False):
        tokens[index], types[index] = text, kind
    file.values["tokenizer.ggml.tokens"] = texts(tokens)
    numbers = struct.pack(f"<IQ{len(types)}i", INT32, len(types), *types)
    file.values["tokenizer.ggml.token_type"] = (ARRAY, numbers)
    file.set_text("tokenizer.chat_template", template)
    target.write_bytes(file.to_bytes())
    return target


def _texts_of(data: bytes) -> list[str]:
    kind, count = struct.unpack_from("<IQ", data)
    assert kind == STRING
    found, at = [], 12
    for _ in range(count):
        (length,) = struct.unpack_from("<Q", data, at)
        found.append(data[at + 8 : at + 8 + length].decode())
        at += 8 + length
    return found


def _numbers_of(data: bytes) -> tuple[int, ...]:
    kind, count = struct.unpack_from("<IQ", data)
    assert kind == INT32
    return struct.unpack_from(f"<{count}i", data, 12)
