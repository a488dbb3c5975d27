"""The bytes that each token of a `tokenizer.json` adds to a text.

Streamed text and stop strings are made of these. They follow from the file's `decoder` section, applied to
one token in the middle of a text; what a decoder does at a text's beginning or end alone (cutting the first
space) is left out.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ruvllm.errors import TokenizationError

__all__ = ["piece_decoder"]

_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")

# A token on its way: text still, or bytes that no later step changes.
_Step = Callable[[str | bytes], str | bytes]


def piece_decoder(decoder: Mapping[str, Any] | None) -> Callable[[str], bytes]:
    """Give the function from a token's spelling to its bytes.

    Raises `TokenizationError` for a decoder that has no meaning token by token.
    """
    steps = [] if decoder is None else _steps(decoder)

    def decode(token: str) -> bytes:
        piece: str | bytes = token
        for step in steps:
            piece = step(piece)
        return piece if isinstance(piece, bytes) else piece.encode("utf-8", "replace")

    return decode


def _steps(decoder: Mapping[str, Any]) -> list[_Step]:
    kind = decoder.get("type")
    if kind == "Sequence":
        return _sequence_steps(decoder.get("decoders") or [])
    if kind == "ByteLevel":
        return [_byte_level]
    if kind == "ByteFallback":
        return [_byte_fallback]
    if kind == "Metaspace":
        return [_replacement(str(decoder.get("replacement", "\u2581")), " ")]
    if kind == "Replace":
        return [_replace_step(decoder)]
    if kind == "BPEDecoder":
        return [_replacement(str(decoder.get("suffix", "</w>")), " ")]
    if kind == "WordPiece":
        return [_word_piece(str(decoder.get("prefix", "##")))]
    if kind in ("Fuse", "Strip"):
        return []  # Fuse joins what is joined here anyway; Strip works on the ends of the fused text
    raise TokenizationError(f"tokenizer.json has a decoder of the type {kind!r}, which is not supported")


def _sequence_steps(decoders: Sequence[Mapping[str, Any]]) -> list[_Step]:
    steps: list[_Step] = []
    fused = False
    for decoder in decoders:
        fused = fused or decoder.get("type") == "Fuse"
        if decoder.get("type") == "Strip" and not fused:
            steps.append(_strip_step(decoder))
        else:
            steps += _steps(decoder)
    return steps


def _unicode_to_byte() -> dict[str, int]:
    """GPT-2's spelling of bytes: printable ones as they are, the others from U+0100 on, in order."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    table = {chr(byte): byte for byte in printable}
    table.update({chr(0x100 + index): byte for index, byte in enumerate(others)})
    return table


_BYTE_OF_CHARACTER = _unicode_to_byte()


def _byte_level(piece: str | bytes) -> str | bytes:
    if isinstance(piece, bytes):
        return piece
    try:
        return bytes(_BYTE_OF_CHARACTER[character] for character in piece)
    except KeyError:  # an added token, spelled as it is
        return piece.encode("utf-8", "replace")


def _byte_fallback(piece: str | bytes) -> str | bytes:
    match = _BYTE_TOKEN.fullmatch(piece) if isinstance(piece, str) else None
    return bytes([int(match[1], 16)]) if match else piece


def _replacement(old: str, new: str) -> _Step:
    return lambda piece: piece if isinstance(piece, bytes) else piece.replace(old, new)


def _replace_step(decoder: Mapping[str, Any]) -> _Step:
    pattern = decoder.get("pattern") or {}
    content = str(decoder.get("content", ""))
    if "String" in pattern:
        return _replacement(str(pattern["String"]), content)
    raise TokenizationError("tokenizer.json has a decoder that replaces a regular expression; not supported")


def _strip_step(decoder: Mapping[str, Any]) -> _Step:
    character = str(decoder.get("content", " "))
    start, stop = int(decoder.get("start", 0)), int(decoder.get("stop", 0))

    def strip(piece: str | bytes) -> str | bytes:
        if isinstance(piece, bytes):
            return piece
        first = min(start, len(piece) - len(piece.lstrip(character)))
        last = min(stop, len(piece[first:]) - len(piece[first:].rstrip(character)))
        return piece[first : len(piece) - last]

    return strip


def _word_piece(prefix: str) -> _Step:
    def join(piece: str | bytes) -> str | bytes:
        if isinstance(piece, bytes):
            return piece
        return piece[len(prefix) :] if piece.startswith(prefix) else " " + piece

    return join
