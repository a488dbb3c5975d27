"""Text to token ids and back: what the package needs of a tokenizer, and the one out of GGUF metadata.

`ruvllm.text.json_tokenizer` has the one out of `tokenizer.json`.
"""

import re
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from ruvllm.errors import TokenizationError
from ruvllm.text.characters import of_whole_characters
from ruvllm.text.marks import Rendered
from ruvllm.token_lists import check_token_list

if TYPE_CHECKING:
    import ruvllm._native as _native

__all__ = ["GgufTokenizer", "Tokenizer", "encode_own", "encode_rendered", "with_bos"]


@runtime_checkable
class Tokenizer(Protocol):
    """Text to token ids and back. Safe to use from many threads."""

    @property
    def vocab_size(self) -> int:
        """How many token ids it knows."""

    @property
    def bos_token(self) -> int | None:
        """The token that begins a text, where there is one."""

    @property
    def eos_token(self) -> int | None:
        """The token that ends a text, where there is one."""

    @property
    def end_tokens(self) -> tuple[int, ...]:
        """Every token that ends an answer."""

    @property
    def adds_bos(self) -> bool:
        """Whether the model wants `bos_token` before a text."""

    def encode(self, text: str, *, add_bos: bool | None = None, parse_special: bool = True) -> list[int]:
        """Give the text's tokens.

        `add_bos` `None` does what the model wants. With `parse_special` off, the text of a special token
        is text like any other, and no special token comes out of it.
        """

    @property
    def marks(self) -> frozenset[str]:
        """The texts of tokens that only a template makes, such as `<|im_start|>`."""

    def encode_pieces(self, pieces: Sequence[str], *, add_bos: bool | None = None) -> list[int]:
        """Give the tokens of text and marks by turns, text first and last; `add_bos` as in `encode`.

        The text is cut as if all stood together. No mark comes out of it, whatever it spells.
        """

    @property
    def cuts_lines(self) -> bool:
        """Whether what ends a line and a letter (a to z) behind it are always tokenized each by itself."""

    def decode(self, token_ids: Sequence[int], *, skip_special: bool = False) -> str:
        """Give the tokens' text; bytes that are not characters become U+FFFD."""

    def token_text(self, token_id: int) -> str | None:
        """The token as the vocabulary spells it."""

    def token_id(self, text: str) -> int | None:
        """The token that the vocabulary spells so."""

    def vocabulary(self, num_tokens: int) -> "_native.Vocabulary":
        """The bytes of every token, for the engine; at least `num_tokens` of them."""


def with_bos(token_ids: list[int], bos_token: int | None) -> list[int]:
    """Put the first token before the others."""
    if bos_token is None:
        raise TokenizationError("add_bos is True, but the model has no token that begins a text")
    return [bos_token, *token_ids]


def encode_rendered(tokenizer: Tokenizer, rendered: Rendered) -> list[int]:
    """Give the tokens of what a chat template made; the first token comes once, whoever writes it."""
    pieces = rendered.pieces()
    bos_text = _bos_text(tokenizer)
    if bos_text in tokenizer.marks:
        begins_itself = pieces[0] == "" and pieces[1:2] == [bos_text]
    else:
        begins_itself = bool(bos_text) and rendered.signed.startswith(bos_text)
    return tokenizer.encode_pieces(pieces, add_bos=False if begins_itself else None)


def encode_own(tokenizer: Tokenizer, text: str) -> list[int]:
    """The same for a text whose writer is trusted with marks, wherever in it they stand."""
    bos_text = _bos_text(tokenizer)
    begins_itself = bool(bos_text) and text.startswith(bos_text)
    return tokenizer.encode(text, add_bos=False if begins_itself else None)


def _bos_text(tokenizer: Tokenizer) -> str:
    return "" if tokenizer.bos_token is None else tokenizer.token_text(tokenizer.bos_token) or ""


class GgufTokenizer:
    """The tokenizer that a GGUF file brings."""

    def __init__(self, native: "_native.Tokenizer") -> None:
        self._native = native

    @property
    def vocab_size(self) -> int:
        """How many token ids it knows."""
        return self._native.vocab_size

    @property
    def bos_token(self) -> int | None:
        """The token that begins a text, where there is one."""
        return self._native.bos_token

    @property
    def eos_token(self) -> int | None:
        """The token that ends a text, where there is one."""
        return self._native.eos_token

    @property
    def end_tokens(self) -> tuple[int, ...]:
        """Every token that ends an answer."""
        return tuple(self._native.end_tokens)

    @property
    def adds_bos(self) -> bool:
        """Whether the model wants `bos_token` before a text."""
        return self._native.adds_bos

    def encode(self, text: str, *, add_bos: bool | None = None, parse_special: bool = True) -> list[int]:
        """Give the text's tokens; see `Tokenizer.encode`."""
        by_engine = add_bos is None or (add_bos and self.adds_bos)
        with of_whole_characters("the text"):
            token_ids = self._native.encode(text, by_engine, parse_special)
        if by_engine:
            return token_ids
        return with_bos(token_ids, self.bos_token) if add_bos else token_ids

    @cached_property
    def marks(self) -> frozenset[str]:
        """The texts of tokens that only a template makes."""
        return frozenset(self._native.mark_texts())

    def encode_pieces(self, pieces: Sequence[str], *, add_bos: bool | None = None) -> list[int]:
        """Give the tokens of text and marks by turns; see `Tokenizer.encode_pieces`."""
        by_engine = add_bos is None or (add_bos and self.adds_bos)
        with of_whole_characters("the text"):
            token_ids = self._native.encode_pieces(pieces, by_engine)
        if by_engine:
            return token_ids
        return with_bos(token_ids, self.bos_token) if add_bos else token_ids

    @cached_property
    def cuts_lines(self) -> bool:
        """Whether a line's end and a letter are always apart: each way to cut words does that.

        SentencePiece's has no words, and tokens that are found in a text as they are come before them: with
        these it is so where no token spells both.
        """
        vocabulary = self._native.vocabulary()
        spelled = b"\0".join(vocabulary.bytes(token) or b"" for token in range(len(vocabulary)))
        return re.search(rb"\n[A-Za-z]", spelled) is None

    def decode(self, token_ids: Sequence[int], *, skip_special: bool = False) -> str:
        """Give the tokens' text; bytes that are not characters become U+FFFD."""
        checked = check_token_list("token_ids", token_ids)
        return self._native.decode(checked, skip_special).decode("utf-8", "replace")

    def token_text(self, token_id: int) -> str | None:
        """The token as the vocabulary spells it."""
        return self._native.token_text(token_id)

    def token_id(self, text: str) -> int | None:
        """The token that the vocabulary spells so."""
        return self._native.token_id(text)

    def vocabulary(self, num_tokens: int) -> "_native.Vocabulary":
        """The bytes of every token; the file's vocabulary fits its model, so `num_tokens` adds nothing."""
        del num_tokens
        return self._native.vocabulary()
