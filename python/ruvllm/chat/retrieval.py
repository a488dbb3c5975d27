"""Finding the parts of documents that a question is about: cutting texts up, and BM25 over the parts.

BM25 counts words: of a part's words that the question has, rare ones count more, repeated ones ever less, and
long parts less than short ones. It knows no synonyms; for those, give `RagPipeline` a function of your own.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from ruvllm._checks import check_integer

__all__ = ["Bm25Index", "split_text"]

# How fast a repeated word counts less, and how much a part's length matters: the usual values.
SATURATION = 1.5
LENGTH_WEIGHT = 0.75
# Chinese, Japanese and Korean do not put spaces between words: each character counts as one.
_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
_WORD = re.compile(rf"[{_CJK}]|[^\W{_CJK}]+")
# Where a text may be cut, the best places first: after paragraphs, sentences, words.
_CUTS = (re.compile(r"\n\s*\n"), re.compile(r"[.!?]+\s+|[。！？]+"), re.compile(r"\s+"))  # noqa: RUF001


class Bm25Index:
    """Texts that can be searched for words.

    >>> index = Bm25Index()
    >>> index.add("Paris is the capital of France.")
    >>> index.add("Rome is the capital of Italy.")
    >>> index.search("Which city is Italy's capital?", 1)
    [1]
    """

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._lengths: list[int] = []
        self._total_length = 0
        # By word: the texts that have it, and how often.
        self._postings: dict[str, list[tuple[int, int]]] = {}

    def __len__(self) -> int:
        return len(self._texts)

    def __getitem__(self, position: int) -> str:
        return self._texts[position]

    def add(self, text: str) -> None:
        """Add a text after those that are there."""
        position = len(self._texts)
        words = _words(text)
        self._texts.append(text)
        self._lengths.append(len(words))
        self._total_length += len(words)
        for word, count in Counter(words).items():
            self._postings.setdefault(word, []).append((position, count))

    def search(self, query: str, count: int) -> list[int]:
        """Positions of the texts that fit best, the best first; texts with no word of the query never."""
        check_integer("count", count, 1)
        scores: dict[int, float] = {}
        mean_length = self._total_length / max(1, len(self._texts))
        # In the query's order, so that sums come out the same each time.
        for word in dict.fromkeys(_words(query)):
            found = self._postings.get(word, [])
            rarity = math.log1p((len(self._texts) - len(found) + 0.5) / (len(found) + 0.5))
            for position, times in found:
                share = self._lengths[position] / mean_length
                damped = times + SATURATION * (1 - LENGTH_WEIGHT + LENGTH_WEIGHT * share)
                score = rarity * times * (SATURATION + 1) / damped
                scores[position] = scores.get(position, 0.0) + score
        return sorted(scores, key=lambda position: (-scores[position], position))[:count]


def split_text(text: str, count_tokens: Callable[[str], int], chunk_tokens: int) -> list[str]:
    """Cut a text into parts of at most `chunk_tokens` tokens: between paragraphs, sentences, words.

    >>> split_text("One two. Three four. Five six.", lambda text: len(text.split()), 4)
    ['One two. Three four.', 'Five six.']
    """
    check_integer("chunk_tokens", chunk_tokens, 1)
    parts: list[str] = []
    current, current_tokens = "", 0
    for piece, tokens in _pieces(text, count_tokens, chunk_tokens, _CUTS):
        if current and current_tokens + tokens > chunk_tokens:
            parts.append(current)
            current, current_tokens = "", 0
        current += piece
        current_tokens += tokens
    return [part for part in map(str.strip, [*parts, current]) if part]


def _pieces(
    text: str, count_tokens: Callable[[str], int], limit: int, cuts: Sequence[re.Pattern[str]]
) -> Iterator[tuple[str, int]]:
    """The text in pieces that are short enough, and their tokens, cut as coarsely as that allows."""
    if not text.strip():
        yield text, 0
        return
    tokens = count_tokens(text.strip())
    if tokens <= limit or len(text) == 1:
        yield text, tokens
    elif cuts:
        ends = [match.end() for match in cuts[0].finditer(text)]
        for begin, end in zip([0, *ends], [*ends, len(text)], strict=True):
            yield from _pieces(text[begin:end], count_tokens, limit, cuts[1:])
    else:
        middle = len(text) // 2
        yield from _pieces(text[:middle], count_tokens, limit, ())
        yield from _pieces(text[middle:], count_tokens, limit, ())


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())
