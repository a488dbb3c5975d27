"""Texts drawn at random from a grammar, by llguidance's own wheel over a vocabulary of bytes and marks."""

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

FIRST_MARK = 257


class Bytes:
    """A vocabulary of all bytes, an end, and some marks that are control tokens."""

    def __init__(self, marks: Mapping[str, int]) -> None:
        self.tokens = [bytes([byte]) for byte in range(256)] + [b"<end>"]
        self.tokens += [mark.encode() for mark in marks]
        self.eos_token_id, self.bos_token_id = 256, None
        self.special_token_ids = list(range(256, len(self.tokens)))

    def __call__(self, text: str | bytes) -> list[int]:
        return list(text.encode() if isinstance(text, str) else text)


def numbered(marks: tuple[str, ...]) -> dict[str, int]:
    return {mark: FIRST_MARK + index for index, mark in enumerate(marks)}


class Walk:
    """One grammar, walked many times."""

    def __init__(self, grammar: str, special: Mapping[str, int], words: tuple[str, ...] = ()) -> None:
        llguidance = pytest.importorskip("llguidance", reason="it comes with the extra of the tests")
        self._bitmasks = pytest.importorskip("llguidance.numpy")
        vocabulary = Bytes(special)
        self._tokens = vocabulary.tokens
        self._tokenizer = llguidance.LLTokenizer(llguidance.TokenizerWrapper(vocabulary))
        self._special = special
        self._words = words
        self._matcher = llguidance.LLMatcher(
            self._tokenizer, llguidance.LLMatcher.grammar_from_lark(grammar), log_level=0
        )
        assert not self._matcher.is_error(), self._matcher.get_error() + "\n" + grammar

    def accepts(self, text: str) -> bool:
        matcher = self._matcher.deep_copy()
        tokens = self._split(text)
        return matcher.try_consume_tokens(tokens) == len(tokens) and matcher.is_accepting()

    def text(self, seed: int, *, steps: int = 200) -> str:
        """Draw a text that the grammar ends."""
        text = self.ended(seed, steps)
        assert text is not None, seed
        return text

    def ended(self, seed: int, steps: int = 200) -> str | None:
        """The same, or nothing where the walk does not come to an end."""
        drawn, matcher = random.Random(seed), self._matcher.deep_copy()
        made: list[int] = []
        for step in range(steps * 4):
            if matcher.is_stopped() or (matcher.is_accepting() and (step > steps or drawn.random() < 0.2)):
                break
            tokens = self._next(matcher, drawn, at_end=step > steps)
            assert matcher.consume_tokens(tokens), matcher.get_error()
            made += tokens
        if not matcher.is_accepting():
            return None
        return b"".join(self._tokens[one] for one in made).decode("utf-8", "replace")

    def _next(self, matcher: Any, drawn: random.Random, *, at_end: bool) -> list[int]:
        """A word that fits, else a byte or a mark, of those that end something rather than of others."""
        if drawn.random() < (0.5 if at_end else 0.15):
            words = list(self._words)
            drawn.shuffle(words)
            for word in words:
                tokens = self._split(word)
                if matcher.deep_copy().try_consume_tokens(tokens) == len(tokens):
                    return tokens
        mask = self._bitmasks.allocate_token_bitmask(1, len(self._tokens))
        self._bitmasks.fill_next_token_bitmask(matcher, mask)
        bits = np.unpackbits(mask.view(np.uint8), bitorder="little")[: len(self._tokens)]
        allowed = [int(one) for one in np.flatnonzero(bits) if one != 256]
        closing = '"}]' if at_end else '"}],{:abcxy019'
        likely = [one for one in allowed if one >= FIRST_MARK or chr(one) in closing]
        return [drawn.choice(likely if likely and (at_end or drawn.random() < 0.8) else allowed)]

    def _split(self, text: str) -> list[int]:
        tokens: list[int] = []
        while text:
            mark = next((one for one in self._special if text.startswith(one)), None)
            tokens += [self._special[mark]] if mark else list(text[0].encode())
            text = text[len(mark) if mark else 1 :]
        return tokens
