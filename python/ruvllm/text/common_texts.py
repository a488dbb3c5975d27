"""Tokens of texts that have a long beginning in common, which is tokenized once.

What stands before and after a cut is tokenized as if the other were not there. So the tokens behind the last
cut of the common beginning are those that a short text gives which has the same cut, and those before it are
the same in all texts. Where a tokenizer promises no cut, each text is tokenized whole.
"""

import re
from collections.abc import Sequence
from typing import Any

from ruvllm.text.marks import Rendered
from ruvllm.text.tokenizer import Tokenizer, encode_rendered

__all__ = ["common_length", "encode_each"]

# Where `Tokenizer.cuts_lines` promises a cut: behind a line's end, before a letter.
_CUT = re.compile(r"\n(?=[A-Za-z])")
# Stands before a cut in the place of all that stood there.
_ANYTHING = "a\n"


def encode_each(tokenizer: Tokenizer, texts: Sequence[Rendered]) -> list[list[int]]:
    """The tokens of each text, the same that `encode_rendered` gives."""
    ends = _ends([text.pieces() for text in texts]) if len(texts) > 1 and tokenizer.cuts_lines else None
    if ends is None:
        return [encode_rendered(tokenizer, text) for text in texts]
    first = encode_rendered(tokenizer, texts[0])
    found = [tokenizer.encode_pieces(end, add_bos=False) for end in ends]
    # At least the tokens of what stands for anything, and of the first text those before the cut.
    length = common_length(found)
    behind = found[0][length:]
    before = first[: len(first) - len(behind)]
    if before + behind != first:
        # Something is added at the end of a text that an end alone does not get.
        return [encode_rendered(tokenizer, text) for text in texts]
    return [before + one[length:] for one in found]


def common_length(listed: Sequence[Any]) -> int:
    """How long the beginning is that all have in common.

    >>> common_length(["house", "hours", "hour"])
    3
    """
    # What the least and the greatest have in common, all between them have, too.
    one, other = min(listed), max(listed)
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))


def _ends(texts: Sequence[Sequence[str]]) -> list[list[str]] | None:
    """What stands behind the last cut that all texts have, as text and marks by turns; `None` without one."""
    place = common_length(texts)
    if place % 2 or any(len(pieces) <= place for pieces in texts):
        return None
    differing = [pieces[place] for pieces in texts]
    common = differing[0][: common_length(differing)]
    cuts = [cut.end() for cut in _CUT.finditer(common)]
    if not cuts:
        return None
    return [[_ANYTHING + pieces[place][cuts[-1] :], *pieces[place + 1 :]] for pieces in texts]
