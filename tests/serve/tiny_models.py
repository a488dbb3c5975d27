"""A tiny model that can be talked to: a reference model's file with a chat template spliced in."""

import struct
from pathlib import Path

from ruvllm.text.builtin_templates import BUILTIN_TEMPLATES

TEMPLATE = BUILTIN_TEMPLATES["chatml"]
KEY = b"tokenizer.chat_template"
ALIGNMENT = 32
HEADER = struct.Struct("<4sIQQ")
STRING = 8


def with_chat_template(source: Path, target: Path, template: str = TEMPLATE) -> Path:
    """Copy a GGUF file and add a chat template to its metadata.

    The entry is padded to whole alignments, so that what follows keeps its places.
    """
    content = source.read_bytes()
    magic, version, num_tensors, num_entries = HEADER.unpack_from(content)
    assert magic == b"GGUF"
    assert KEY not in content
    text = template.encode()
    fixed = 8 + len(KEY) + 4 + 8 + 4  # the last 4 for the braces of a comment
    text += b"{#" + b" " * (-(fixed + len(text)) % ALIGNMENT) + b"#}"
    entry = struct.pack("<Q", len(KEY)) + KEY + struct.pack("<IQ", STRING, len(text)) + text
    assert len(entry) % ALIGNMENT == 0
    header = HEADER.pack(magic, version, num_tensors, num_entries + 1)
    target.write_bytes(header + entry + content[HEADER.size :])
    return target
