"""The tokenizer of a model folder: `tokenizer.json`, with what `tokenizer_config.json` says beside it.

`tokenizers` does the work of `tokenizer.json`; this module adds the model's wishes (first token, end tokens)
and keeps text from becoming special tokens where it is not to.
"""

import json
import logging
import secrets
import threading
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ruvllm.errors import IoError, TokenizationError
from ruvllm.text.line_cuts import cuts_lines
from ruvllm.text.marks import MarkFinder, can_be_mark
from ruvllm.text.token_pieces import piece_decoder
from ruvllm.text.tokenizer import with_bos
from ruvllm.token_lists import check_token_list

if TYPE_CHECKING:
    import tokenizers

    import ruvllm._native as _native

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
# And those that end what is filled in, of padding, repository and file the first that there is: as llama.cpp
# counts them, and the reader of GGUF files.
_INFILL_END_TEXTS = (
    ("<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"),
    ("<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"),
    ("<|file_sep|>",),
)


class JsonTokenizer:
    """A tokenizer out of `tokenizer.json`.

    Attributes:
        config: `tokenizer_config.json` over `special_tokens_map.json`.
    """

    def __init__(self, source: str, config: Mapping[str, Any] | None = None) -> None:
        self.config = dict(config or {})
        self._source = source
        self._named: tuple[tokenizers.Tokenizer, dict[str, str]] | None = None
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
    def source(self) -> str:
        """The text of `tokenizer.json`."""
        return self._source

    @property
    def vocab_size(self) -> int:
        """How many token ids it knows."""
        return self._size

    @cached_property
    def bos_token(self) -> int | None:
        """The token that begins a text, where there is one."""
        return self.configured_token("bos_token")

    @cached_property
    def eos_token(self) -> int | None:
        """The token that ends a text, where there is one."""
        return self.configured_token("eos_token")

    @cached_property
    def end_tokens(self) -> tuple[int, ...]:
        """Every token that ends an answer: the configured one and well-known ones among the added tokens."""
        added = {token.content: index for index, token in self._added.items()}
        known = [added.get(text) for text in _END_TEXTS]
        known += [next((added[text] for text in texts if text in added), None) for texts in _INFILL_END_TEXTS]
        ids = [self.eos_token, *known]
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

    @cached_property
    def marks(self) -> frozenset[str]:
        """The texts of tokens that only a template makes."""
        return self._finder.marks

    @cached_property
    def _finder(self) -> MarkFinder:
        tokens = self._added.values()
        return MarkFinder(
            {token.content for token in tokens if can_be_mark(token.content, is_special=token.special)}
        )

    def encode(self, text: str, *, add_bos: bool | None = None, parse_special: bool = True) -> list[int]:
        """Give the text's tokens; see `Tokenizer.encode`."""
        return self._encode(self._tokenizer if parse_special else self._apart[0], text, add_bos=add_bos)

    def encode_pieces(self, pieces: Sequence[str], *, add_bos: bool | None = None) -> list[int]:
        """Give the tokens of text and marks by turns; see `Tokenizer.encode_pieces`."""
        text = "".join(pieces)
        if self._finder.split(text) == list(pieces):
            return self._encode(self._tokenizer, text, add_bos=add_bos)
        tokenizer, names = self._apart
        named = list(pieces)
        named[1::2] = [names[mark] for mark in pieces[1::2]]
        for word in names.keys() - self.marks:  # special, but a word: it is what it says
            named[::2] = [piece.replace(word, names[word]) for piece in named[::2]]
        return self._encode(tokenizer, "".join(named), add_bos=add_bos)

    @cached_property
    def cuts_lines(self) -> bool:
        """Whether a line's end and a letter are always apart: where the file is known to say so."""
        return cuts_lines(json.loads(self._source), (token.content for token in self._added.values()))

    def _encode(self, tokenizer: "tokenizers.Tokenizer", text: str, *, add_bos: bool | None) -> list[int]:
        wanted = self.adds_bos if add_bos is None else add_bos
        as_the_file_says = add_bos is None and wanted == self._post_processor_adds_bos
        try:
            token_ids: list[int] = tokenizer.encode(text, add_special_tokens=as_the_file_says).ids
        except Exception as error:
            raise TokenizationError(f"tokenizer.json cannot encode the text: {error}") from error
        return token_ids if as_the_file_says or not wanted else with_bos(token_ids, self.bos_token)

    @property
    def _apart(self) -> "tuple[tokenizers.Tokenizer, dict[str, str]]":
        """The same tokenizer with names for its marks and special tokens that no text holds, and these names.

        So it cuts a text of which some parts are marks and others spell them, all at once, as the file says.
        """
        with self._lock:
            if self._named is None:
                texts = {self._added[token_id].content for token_id in self._special_ids} | self.marks
                nonce = secrets.token_hex(16)
                names = {text: f"<|{nonce}.{index}|>" for index, text in enumerate(sorted(texts))}
                tokenizer = _parse(json.dumps(renamed(json.loads(self._source), names)))
                if any(tokenizer.token_to_id(names[text]) != self._vocabulary_ids[text] for text in texts):
                    raise TokenizationError("tokenizer.json has special tokens that cannot be told from text")
                self._named = tokenizer, names
            return self._named

    def decode(self, token_ids: Sequence[int], *, skip_special: bool = False) -> str:
        """Give the tokens' text; bytes that are not characters become U+FFFD."""
        checked = check_token_list("token_ids", token_ids)
        for index, token_id in enumerate(checked):
            if not 0 <= token_id < self._size:
                raise TokenizationError(
                    f"token_ids[{index}] is {token_id}; it must be from 0 to {self._size - 1}"
                )
        return self._tokenizer.decode(checked, skip_special_tokens=skip_special)

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
        import ruvllm._native as _native

        padding = [b""] * max(0, num_tokens - self._size)
        return _native.Vocabulary([*self._pieces, *padding], sorted(self._special_ids))

    @cached_property
    def _pieces(self) -> list[bytes]:
        decode = piece_decoder(json.loads(self._source).get("decoder"))
        pieces = [b""] * self._size
        for text, token_id in self._vocabulary_ids.items():
            pieces[token_id] = decode(text)
        return pieces

    def configured_token(self, key: str) -> int | None:
        """The token that the configuration names so: `pad_token` and others."""
        text = token_content(self.config.get(key))
        return None if text is None else self._vocabulary_ids.get(text)


def _parse(source: str) -> "tokenizers.Tokenizer":
    import tokenizers

    try:
        return tokenizers.Tokenizer.from_str(source)
    except Exception as error:
        raise TokenizationError(f"tokenizer.json cannot be used: {error}") from error


def renamed(source: dict[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """A `tokenizer.json` in which some tokens have other texts; text is not merged to them any more."""
    model = source["model"]
    for token in source["added_tokens"]:
        token["content"] = names.get(token["content"], token["content"])
    if isinstance(model["vocab"], dict):
        model["vocab"] = {names.get(text, text): token_id for text, token_id in model["vocab"].items()}
    else:
        model["vocab"] = [[names.get(text, text), *others] for text, *others in model["vocab"]]
    if "merges" in model:
        pairs = (pair.split(" ") if isinstance(pair, str) else pair for pair in model["merges"])
        model["merges"] = [pair for pair in pairs if not {"".join(pair), *pair} & names.keys()]
    if "unk_token" in model:
        model["unk_token"] = names.get(model["unk_token"], model["unk_token"])
    return source


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
