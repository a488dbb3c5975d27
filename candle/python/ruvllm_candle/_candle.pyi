"""The extension: what each class and function takes and gives."""

from collections.abc import Sequence
from pathlib import Path
from typing import final

__all__ = [
    "Answer",
    "Grammar",
    "Grammars",
    "Ground",
    "Model",
    "Opened",
    "Tokenizer",
    "Vocabulary",
    "devices",
    "fix_threads",
]

def devices() -> list[str]:
    """Where candle can compute here, the best first: `cuda:0`, `metal`, `cpu`."""

def fix_threads(wanted: int) -> int:
    """Fixes how many threads candle has, where nobody did in this process; gives how many these are."""

@final
class Opened:
    """A model's files, read as far as it takes to know that candle computes what they say."""

    def __new__(cls, path: Path) -> Opened: ...
    @property
    def context(self) -> tuple[int, str | None]:
        """The most tokens, and why there are no more where the model was made for more."""
    def tokenizer(self) -> Tokenizer | None:
        """The tokenizer of a GGUF file, for grammars."""
    def load(self, device: str, max_context: int) -> Model:
        """Takes the weights in."""

@final
class Model:
    """Weights on a device, and the one cache beside them."""

    @property
    def weight_bytes(self) -> int:
        """Bytes of the weights in memory; 0 where candle keeps them in a form that nobody counts."""
    def logits(self, token_ids: Sequence[int]) -> list[float]:
        """The logits behind the last token."""

@final
class Ground:
    """What answers of a model have in common: tokens, their texts, and where they end."""

    def __new__(
        cls, vocabulary: Vocabulary | None, end_tokens: Sequence[int], vocab_size: int, max_context: int
    ) -> Ground: ...

@final
class Answer:
    """One answer; `sampling` and `settings` are any objects with the attributes that are read."""

    def __new__(
        cls, model: Model, ground: Ground, token_ids: Sequence[int], sampling: object, settings: object
    ) -> Answer: ...
    def step(
        self,
    ) -> tuple[
        list[tuple[int, bytes, tuple[float, list[tuple[int, float]]] | None]], tuple[str, int | None] | None
    ]:
        """Computes what is known and draws: the tokens that follow, and the end where it is there."""
    def close(self) -> None:
        """Gives back what the model keeps for it."""

@final
class Vocabulary:
    """The bytes of every token."""

    def __new__(cls, pieces: Sequence[bytes], special: Sequence[int]) -> Vocabulary: ...
    def __len__(self) -> int: ...
    def bytes(self, token_id: int) -> bytes | None:
        """What a token adds to a text."""
    def is_special(self, token_id: int) -> bool:
        """Whether a token is a mark that is no part of the text."""

@final
class Tokenizer:
    """A tokenizer out of GGUF metadata; `ruvllm._native` has the same class."""

    def encode(self, text: str, add_special: bool, parse_special: bool) -> list[int]: ...
    def encode_pieces(self, pieces: Sequence[str], add_special: bool) -> list[int]:
        """Text and marks by turns."""
    def mark_texts(self) -> list[str]:
        """The texts that only a template writes as tokens."""
    def decode(self, token_ids: Sequence[int], skip_special: bool) -> bytes: ...
    @property
    def vocab_size(self) -> int: ...
    @property
    def adds_bos(self) -> bool: ...
    @property
    def bos_token(self) -> int | None: ...
    @property
    def eos_token(self) -> int | None: ...
    @property
    def end_tokens(self) -> list[int]: ...
    def token_text(self, token_id: int) -> str | None: ...
    def token_id(self, text: str) -> int | None: ...
    def vocabulary(self) -> Vocabulary: ...

@final
class Grammars:
    """The grammars of one model."""

    def __new__(
        cls, vocabulary: Vocabulary, end_tokens: Sequence[int], tokenizer: Tokenizer | None
    ) -> Grammars: ...
    def grammar(self, kind: str, source: str) -> Grammar:
        """The grammar of a source, compiled unless it is kept."""
    @property
    def bytes(self) -> int:
        """What the vocabulary and the grammars that are kept take."""

@final
class Grammar:
    """What one answer must be."""

    def accepts(self, text: str) -> bool:
        """Whether a text as a whole is what it allows."""
    @property
    def bytes(self) -> int:
        """What it takes."""
