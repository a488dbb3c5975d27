"""Prompts of a wanted length, out of random words, for models whose tokenizer only the server has."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

__all__ = ["WordSupply"]

_WORDS = """
able about above across act add afraid after again age ago agree air all alone along already also always
among animal answer any apple area arm around art ask away back bad bag ball bank base bath bear beat bed
before begin behind believe below best better between big bird black blood blow blue board boat body bone
book born both bottom box boy branch bread break bright bring broad brother brown build burn busy buy cake
call camp capital car card care carry case cat catch cause center chair chance change chief child choose
church circle city class clean clear climb clock close cloth cloud coast coat cold collect color come common
company complete consider contain cook cool copy corn corner correct cost cotton count country course cover
cross crowd cry current cut dance danger dark day dead deal dear death decide deep design die direction
discover distance divide doctor dog door double down draw dream dress drink drive drop dry during each ear
early earth east easy eat edge effect egg eight either electric else end enemy energy engine enough enter
equal even evening event ever every exact example except
""".split()  # noqa: SIM905
# Stands first, so that every word that is counted has one before it, as it has in a prompt.
_FIRST = "the"


@dataclass(frozen=True, slots=True)
class WordSupply:
    """Words and what each costs.

    Attributes:
        tokens: Tokens of each word after another one.
        first_tokens: Tokens of the first word, with whatever mark the tokenizer puts before a text.
        is_counted: Whether a tokenizer said so; otherwise a word counts as one.
    """

    tokens: Mapping[str, int]
    first_tokens: int
    is_counted: bool

    @classmethod
    def measured(cls, count_tokens: Callable[[str], int | None]) -> "WordSupply":
        """Ask a tokenizer. Words of one token are found many at a time, so it is asked some dozen times."""
        first = count_tokens(_FIRST)
        if first is None:
            return cls(dict.fromkeys(_WORDS, 1), 1, is_counted=False)
        tokens: dict[str, int] = {}
        groups = [_WORDS[start : start + 16] for start in range(0, len(_WORDS), 16)]
        while groups:
            group = groups.pop()
            total = (count_tokens(" ".join([_FIRST, *group])) or 0) - first
            if total == len(group) or len(group) == 1:
                tokens |= dict.fromkeys(group, max(1, total // len(group)))
            else:
                middle = len(group) // 2
                groups += [group[:middle], group[middle:]]
        return cls({word: tokens[word] for word in _WORDS}, first, is_counted=True)

    def text(self, num_tokens: int, draws: random.Random) -> str:
        """A text of so many tokens; of a little fewer where no word is short enough for the last ones."""
        words = [_FIRST]
        left = num_tokens - self.first_tokens
        candidates: Sequence[str] = _WORDS
        while left > 0:
            word = draws.choice(candidates)
            if self.tokens[word] > left:
                candidates = [word for word in candidates if self.tokens[word] <= left]
                if not candidates:
                    break
                continue
            words.append(word)
            left -= self.tokens[word]
        return " ".join(words)
