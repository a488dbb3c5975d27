"""The tokenizer of a model folder: `tokenizer.json`, with what `tokenizer_config.json` says beside it.

`tokenizers` does the work of `tokenizer.json`; this module adds the model's wishes (first token, end tokens)
and keeps text from becoming special tokens where the caller wants that.
"""

import json
import logging
import threading
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ruvllm.errors import IoError, TokenizationError
from ruvllm.text.token_pieces import piece_decoder
from ruvllm.text.tokenizer import with_bos

if TYPE_CHECKING:
    import tokenizers

    from ruvllm import _native

__all__ = ["JsonTokenizer"]

logger = logging.getLogger(__name__)

MAX_TOKENIZER_BYTES = 256 * 1024 * 1024
MAX_CONFIG_BYTES = 16 * 1024 * 1024
MAX_TOKENS = 4 * 1024 * 1024

# Tokens that end an answer whatever the configuration says, where the vocabulary has them as added tokens.
_END_TEXTS = (
    "<|eot_id|>",
    "<|eom_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "</s>",
    "<eos>",
)


class JsonTokenizer:
    """A tokenizer out of `tokenizer.json`.

    Attributes:
        config: `tokenizer_config.json` over `special_tokens_map.json`.
    """

    def __init__(self, source: str, config: Mapping[str, Any] | None = None) -> None:
        self.config = dict(config or {})
        self._source = source
        self._specials_are_text: tokenizers.Tokenizer | None = None
        self._lock = threading.Lock()
        self._tokenizer = _parse(source)
        self._vocabulary_ids = self._tokenizer.get_vocab(with_added_tokens=True)
        self._added = self._tokenizer.get_added_tokens_decoder()
        self._special_ids = frozenset(index for index, token in self._added.items() if token.special)
        self._size = max(self._vocabulary_ids.values(), default=-1) + 1
        if self._size > MAX_TOKENS:
            raise TokenizationError(f"tokenizer.json has the token id {self._size - 1}; at most {MAX_TOKENS}")

    @classmethod
    def from_folder(cls, folder: Path) -> "JsonTokenizer | None":
        """The folder's tokenizer; `None` where it has no `tokenizer.json`."""
        path = folder / "tokenizer.json"
        if not path.is_file():
            if (folder / "tokenizer.model").is_file():
                logger.warning("%s has tokenizer.model but no tokenizer.json, which text needs", folder)
            return None
        return cls(_read_text(path, MAX_TOKENIZER_BYTES), read_config(folder))

    @property
    def vocab_size(self) -> int:
        """How many token ids it knows."""
        return self._size

    @cached_property
    def bos_token(self) -> int | None:
        """The token that begins a text, where there is one."""
        return self._configured_token("bos_token")

    @cached_property
    def eos_token(self) -> int | None:
        """The token that ends a text, where there is one."""
        return self._configured_token("eos_token")

    @cached_property
    def end_tokens(self) -> tuple[int, ...]:
        """Every token that ends an answer: the configured one and well-known ones among the added tokens."""
        known = (self._vocabulary_ids.get(text) for text in _END_TEXTS)
        ids = [self.eos_token, *(index for index in known if index in self._added)]
        return tuple(dict.fromkeys(index for index in ids if index is not None))

    @cached_property
    def adds_bos(self) -> bool:
        """Whether the model wants `bos_token` before a text."""
        configured = self.config.get("add_bos_token")
        return configured if isinstance(configured, bool) else self._post_processor_adds_bos

    @cached_property
    def _post_processor_adds_bos(self) -> bool:
        token_ids = self._tokenizer.encode("a", add_special_tokens=True).ids
        return bool(token_ids) and token_ids[0] == self.bos_token

    def encode(self, text: str, *, add_bos: bool | None = None, parse_special: bool = True) -> list[int]:
        """Give the text's tokens; see `Tokenizer.encode`."""
        wanted = self.adds_bos if add_bos is None else add_bos
        as_the_file_says = add_bos is None and wanted == self._post_processor_adds_bos
        token_ids = self._encode_plain(text, parse_special=parse_special, add_special=as_the_file_says)
        if as_the_file_says or not wanted:
            return token_ids
        return with_bos(token_ids, self.bos_token)

    def _encode_plain(self, text: str, *, parse_special: bool, add_special: bool) -> list[int]:
        tokenizer = self._tokenizer if parse_special else self._text_only()
        try:
            encoding = tokenizer.encode(text, add_special_tokens=add_special)
        except Exception as error:
            raise TokenizationError(f"tokenizer.json cannot encode the text: {error}") from error
        token_ids: list[int] = encoding.ids
        if parse_special:
            return token_ids
        put_by_file = encoding.special_tokens_mask
        return [
            piece
            for token_id, by_file in zip(token_ids, put_by_file, strict=True)
            for piece in ([token_id] if by_file else self._without_special(token_id))
        ]

    def _without_special(self, token_id: int) -> list[int]:
        """The token, or smaller ones of the same text where merges alone led to a special one."""
        if token_id not in self._special_ids:
            return [token_id]
        text, found, start = self._pieces[token_id], [], 0
        while start < len(text):
            for end in range(len(text), start, -1):
                if (match := self._ids_of_pieces.get(text[start:end])) is not None:
                    found.append(match)
                    start = end
                    break
            else:
                spelled = self.token_text(token_id)
                raise TokenizationError(f"tokenizer.json has no way to spell {spelled!r} as text")
        return found

    def _text_only(self) -> "tokenizers.Tokenizer":
        with self._lock:
            if self._specials_are_text is None:
                tokenizer = _parse(self._source)
                tokenizer.encode_special_tokens = True
                self._specials_are_text = tokenizer
            return self._specials_are_text

    def decode(self, token_ids: Sequence[int], *, skip_special: bool = False) -> str:
        """Give the tokens' text; bytes that are not characters become U+FFFD."""
        for index, token_id in enumerate(token_ids):
            if not 0 <= token_id < self._size:
                raise TokenizationError(
                    f"token_ids[{index}] is {token_id}; it must be from 0 to {self._size - 1}"
                )
        return self._tokenizer.decode(list(token_ids), skip_special_tokens=skip_special)

    def token_text(self, token_id: int) -> str | None:
        """The token as the vocabulary spells it."""
        return self._tokenizer.id_to_token(token_id) if 0 <= token_id < self._size else None

    def token_id(self, text: str) -> int | None:
        """The token that the vocabulary spells so."""
        return self._vocabulary_ids.get(text)

    def pieces(self) -> list[bytes]:
        """Give the bytes that each token adds to a text, by id; nothing for ids without a token."""
        return list(self._pieces)

    @property
    def special_ids(self) -> frozenset[int]:
        """The tokens that are marks, not text."""
        return self._special_ids

    def vocabulary(self, num_tokens: int) -> "_native.Vocabulary":
        """The bytes of every token, for the engine; ids up to `num_tokens` that have none are empty."""
        from ruvllm import _native

        padding = [b""] * max(0, num_tokens - self._size)
        return _native.Vocabulary([*self._pieces, *padding], sorted(self._special_ids))

    @cached_property
    def _pieces(self) -> list[bytes]:
        decode = piece_decoder(json.loads(self._source).get("decoder"))
        pieces = [b""] * self._size
        for text, token_id in self._vocabulary_ids.items():
            pieces[token_id] = decode(text)
        return pieces

    @cached_property
    def _ids_of_pieces(self) -> dict[bytes, int]:
        return {
            piece: index
            for index, piece in reversed(list(enumerate(self._pieces)))
            if piece and index not in self._added
        }

    def _configured_token(self, key: str) -> int | None:
        text = token_content(self.config.get(key))
        return None if text is None else self._vocabulary_ids.get(text)


def _parse(source: str) -> "tokenizers.Tokenizer":
    import tokenizers

    try:
        return tokenizers.Tokenizer.from_str(source)
    except Exception as error:
        raise TokenizationError(f"tokenizer.json cannot be used: {error}") from error


def token_content(value: object) -> str | None:
    """A token as configuration files give it: a text, or an object with `content`."""
    if isinstance(value, Mapping):
        value = value.get("content")
    return value if isinstance(value, str) else None


def read_config(folder: Path) -> dict[str, Any]:
    """What the folder says about its tokenizer; the newer files stand above the older."""
    config: dict[str, Any] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        path = folder / name
        if path.is_file():
            found = _read_object(path)
            config.update({key: value for key, value in found.items() if value is not None})
    template = folder / "chat_template.jinja"
    if template.is_file():
        config["chat_template"] = _read_text(template, MAX_CONFIG_BYTES)
    return config


def _read_object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(_read_text(path, MAX_CONFIG_BYTES))
    except (json.JSONDecodeError, RecursionError) as error:
        raise TokenizationError(f"{path.name} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise TokenizationError(f"{path.name} is a {type(value).__name__}; it must be an object")
    return value


def _read_text(path: Path, max_bytes: int) -> str:
    try:
        size = path.stat().st_size
        if size > max_bytes:
            raise TokenizationError(f"{path.name} has {size} bytes; at most {max_bytes} are read")
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise TokenizationError(f"{path.name} is not UTF-8: {error}") from error
    except OSError as error:
        raise IoError(f"{path} cannot be read: {error.strerror or error}") from error
