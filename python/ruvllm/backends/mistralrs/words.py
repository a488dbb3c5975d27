"""Token ids and bytes, there and back: mistral.rs takes texts, and says the bytes of what it made."""

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from ruvllm.errors import BackendError, ConfigError

if TYPE_CHECKING:
    import ruvllm._native as _native

__all__ = ["Words"]

Tokenize = Callable[[str, bool], Sequence[int]]
"""How mistral.rs reads a text, with what its tokenizer adds by itself or without."""


class Words:
    """The vocabulary of a model."""

    def __init__(self, vocabulary: "_native.Vocabulary", bos_token: int | None, tokenize: Tokenize) -> None:
        self._vocabulary = vocabulary
        self._bos_token = bos_token
        self._tokenize = tokenize

    def prompt(self, token_ids: Sequence[int]) -> str:
        """The text that mistral.rs reads as exactly these tokens; `ConfigError` where there is none."""
        tokens = list(token_ids)
        if tokens[0] == self._bos_token and tokens[1:]:
            # What its tokenizer puts in front by itself must not stand there twice.
            rest = self._text(tokens[1:])
            if rest is not None and self._tokenize(rest, True) == tokens:  # noqa: FBT003 - its own face
                return rest
        text = self._text(tokens)
        if text is not None and all(self._tokenize(text, adds) == tokens for adds in (True, False)):
            return text
        raise ConfigError(
            "the backend 'mistralrs' takes texts, and there is none that it reads as these "
            f"{len(tokens)} tokens: they are not what its tokenizer makes of their text"
        )

    def token(self, piece: bytes, likeliest: Iterable[int]) -> int:
        """The token of these bytes; of several the one among the likeliest, else the first that is shown."""
        found = self._tokens_of.get(piece)
        if not found:
            raise BackendError(f"mistralrs made a token of the bytes {piece!r}, which the model has none of")
        return found[0] if len(found) == 1 else next((one for one in likeliest if one in found), found[0])

    def text_of(self, token: int) -> str:
        """A token's own spelling."""
        return (self._vocabulary.bytes(token) or b"").decode("utf-8", "replace")

    def is_special(self, token: int) -> bool:
        """Whether it is a mark that no text shows."""
        return self._vocabulary.is_special(token)

    @cached_property
    def _tokens_of(self) -> dict[bytes, list[int]]:
        tokens: dict[bytes, list[int]] = {}
        for token in range(len(self._vocabulary)):
            if (piece := self._vocabulary.bytes(token)) is not None:
                tokens.setdefault(piece, []).append(token)
        for several in tokens.values():
            several.sort(key=self._vocabulary.is_special)
        return tokens

    def _text(self, tokens: Sequence[int]) -> str | None:
        pieces = [self._vocabulary.bytes(token) for token in tokens]
        try:
            return b"".join(piece for piece in pieces if piece is not None).decode("utf-8")
        except UnicodeDecodeError:
            return None
