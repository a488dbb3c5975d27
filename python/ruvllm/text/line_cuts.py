"""What a `tokenizer.json` says of the end of a line and a letter behind it: whether these are always apart.

Texts are cut into words before any are merged. The ways to cut that are known here end a word at the last end
of a line, and look at nothing that stands before the word. Any other may do what it likes, and promises
nothing.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["cuts_lines"]

_LINE_AND_LETTER = re.compile(r"\n[A-Za-z]")
# What is composed stays on its side: no mark that is composed with a letter is the end of a line.
_NORMALIZERS = (None, "NFC")
# Llama 3's and Qwen's words: they differ in how many digits one has.
_WORDS = re.compile(
    re.escape(r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}")
    + r"(?:\{1,3\})?"
    + re.escape(r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
)


def cuts_lines(source: Mapping[str, Any], added_texts: Iterable[str]) -> bool:
    """Whether it is so in a file; `added_texts` are those of the tokens that are found before words are."""
    normalizer = source.get("normalizer")
    if source.get("truncation") is not None or _type(normalizer) not in _NORMALIZERS:
        return False
    if any(_LINE_AND_LETTER.search(text) for text in added_texts):
        return False
    cutting: Any = source.get("pre_tokenizer")
    # What comes behind it cuts words smaller, and what came before it did.
    steps = cutting.get("pretokenizers") if _type(cutting) == "Sequence" else [cutting]
    return isinstance(steps, list) and all(map(_is_known, steps)) and any(map(_cuts_words, steps))


def _type(part: Any) -> Any:
    return part.get("type") if isinstance(part, Mapping) else part


def _is_known(step: Any) -> bool:
    return _type(step) == "Digits" or _cuts_words(step) or _only_spells(step)


def _cuts_words(step: Any) -> bool:
    if _type(step) == "ByteLevel":
        return not step.get("add_prefix_space", True) and step.get("use_regex", True) is True
    if _type(step) != "Split" or step.get("behavior") != "Isolated" or step.get("invert"):
        return False
    pattern = step.get("pattern")
    regex = pattern.get("Regex") if isinstance(pattern, Mapping) else None
    return isinstance(regex, str) and _WORDS.fullmatch(regex) is not None


def _only_spells(step: Any) -> bool:
    """Bytes as characters, and no more."""
    return (
        _type(step) == "ByteLevel"
        and not step.get("add_prefix_space", True)
        and step.get("use_regex", True) is False
    )
