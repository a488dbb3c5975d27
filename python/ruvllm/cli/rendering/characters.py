"""Characters as a reader sees them: a letter with its accents, a family that is several faces, a flag.

Light: what combines, what a joiner joins, and pairs that are flags; not all of Unicode's rules.
"""

import unicodedata
from collections.abc import Iterator

__all__ = ["characters_of", "goes_on"]

JOINER = "\u200d"
NON_JOINER = "\u200c"
# No script piles up so much; whoever does so gets what is more as characters of their own.
MAX_POINTS = 64


def characters_of(text: str) -> Iterator[str]:
    """The parts between which a line may break, where it must."""
    character = ""
    for point in text:
        if goes_on(character, point):
            character += point
            continue
        if character:
            yield character
        character = point
    if character:
        yield character


def goes_on(character: str, point: str) -> bool:
    """Whether a code point belongs to the character before it."""
    if not character or len(character) >= MAX_POINTS or (character.isascii() and point.isascii()):
        return False
    if character[-1] == JOINER or point in (JOINER, NON_JOINER):
        return True
    if _is_half_a_flag(point):
        return len(character) == 1 and _is_half_a_flag(character)
    is_tone = "\U0001f3fb" <= point <= "\U0001f3ff"
    is_tag = "\U000e0020" <= point <= "\U000e007f"
    return is_tone or is_tag or unicodedata.category(point).startswith("M")


def _is_half_a_flag(point: str) -> bool:
    return "\U0001f1e6" <= point <= "\U0001f1ff"
