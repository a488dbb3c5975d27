"""Fill in the middle: the texts before and after a cursor, as a model that was trained for it wants them.

Which marks a family writes, a GGUF file may say; else it follows from the model's own vocabulary. A model
without marks never learned to do this, and is refused. What the texts say is text, as in conversations: a
mark comes of the format alone.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ruvllm.errors import ContextLengthError, RuvLLMError, TokenizationError
from ruvllm.text.tokenizer import Tokenizer

__all__ = ["Infill", "InfillFormat", "InfillTokens", "infill_format", "stated_marks"]

logger = logging.getLogger(__name__)

# What repositories and files are called that nobody named.
_REPOSITORY_NAME = "project"
_FILE_NAME = "current"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Family:
    """The marks before the prefix, the suffix and the answer; where the prefix is last, it needs none."""

    prefix: str
    suffix: str
    middle: str | None
    suffix_first: bool = False


_FAMILIES = (
    _Family(prefix="<|fim_prefix|>", suffix="<|fim_suffix|>", middle="<|fim_middle|>"),
    _Family(prefix="<fim_prefix>", suffix="<fim_suffix>", middle="<fim_middle>"),
    _Family(prefix="<fim-prefix>", suffix="<fim-suffix>", middle="<fim-middle>"),
    _Family(
        prefix="<\uff5cfim\u2581begin\uff5c>",
        suffix="<\uff5cfim\u2581hole\uff5c>",
        middle="<\uff5cfim\u2581end\uff5c>",
    ),
    _Family(prefix="<|code_prefix|>", suffix="<|code_suffix|>", middle="<|code_middle|>"),
    _Family(prefix="\u2581<PRE>", suffix="\u2581<SUF>", middle="\u2581<MID>"),
    _Family(prefix="<PRE>", suffix="<SUF>", middle="<MID>"),
    _Family(prefix="<[fim-prefix]>", suffix="<[fim-suffix]>", middle="<[fim-middle]>", suffix_first=True),
    _Family(prefix="[PREFIX]", suffix="[SUFFIX]", middle=None, suffix_first=True),
)
_REPOSITORY_MARKS = ("<|repo_name|>", "<|fim_repo|>", "<fim-repo>", "<REPO>", "<repo_name>", "<reponame>")
_FILE_MARKS = ("<|file_sep|>", "<|file_separator|>", "<file_sep>", "<filename>")

# Where a GGUF file says which token is which mark; the later names are the older ones.
_KEYS = {
    "prefix": ("fim_pre", "prefix"),
    "suffix": ("fim_suf", "suffix"),
    "middle": ("fim_mid", "middle"),
    "repository": ("fim_rep",),
    "file": ("fim_sep",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Infill:
    """What is to be filled in.

    Attributes:
        prefix: What stands before the cursor.
        suffix: What stands after it.
        extra: Other files that belong to it, each a name and a text, the most important last.
        begun: How the answer begins; what is made goes on from there.
    """

    prefix: str
    suffix: str
    extra: Sequence[tuple[str, str]] = ()
    begun: str = ""

    def __post_init__(self) -> None:
        for name in ("prefix", "suffix", "begun"):
            if not isinstance(value := getattr(self, name), str):
                raise TokenizationError(f"{name} is a {type(value).__name__}; it must be a text")
        _check_files(self.extra)


def _check_files(extra: object) -> None:
    if isinstance(extra, str) or not isinstance(extra, Sequence):
        raise TokenizationError(f"extra is a {type(extra).__name__}; it must be a list of pairs")
    for index, one in enumerate(extra):
        if not isinstance(one, tuple | list) or [type(part) for part in one] != [str, str]:
            raise TokenizationError(f"extra[{index}] must be a pair of texts: a file's name, its text")


@dataclass(frozen=True, slots=True, kw_only=True)
class InfillTokens:
    """The tokens of a prompt, and whether something was left out of it."""

    token_ids: list[int]
    was_cut: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class InfillFormat:
    """How a model wants what it is to fill in.

    Attributes:
        family: Its marks and their order.
        repository: The mark before a repository's name; `None` where the model has none.
        file: The mark before a file's name; `None` where it has none.
    """

    family: _Family
    repository: str | None
    file: str | None

    def tokens(self, tokenizer: Tokenizer, infill: Infill, *, room: int | None = None) -> InfillTokens:
        """The prompt; with `room` it is cut to at most so many tokens.

        What is nearest to the cursor stays: whole files go first, from the first one on, then the beginning
        of the prefix and the end of the suffix, of which a quarter of the room stays, or what the prefix
        leaves.
        """
        bos = tokenizer.bos_token if tokenizer.adds_bos else None
        begin = [] if bos is None else [bos]
        cursor = self._around_cursor(tokenizer, infill)
        head, *files = self._files(tokenizer, infill.extra)
        if room is None:
            return InfillTokens(token_ids=[*begin, *head, *_joined(files), *_joined(cursor)])
        num_files = len(files)
        whole = sum(map(len, cursor))
        self._cut(cursor, room - len(begin))
        left = room - len(begin) - sum(map(len, [head, *cursor]))
        # The last file is the frame of the text around the cursor: it stays as long as another one does.
        kept = files[-1:]
        left -= sum(map(len, kept))
        for file in reversed(files[:-1]):
            left -= len(file)
            if left < 0:
                break
            kept.insert(0, file)
        if len(kept) < 2:
            head, kept = [], []
        was_cut = len(kept) < num_files or sum(map(len, cursor)) < whole
        return InfillTokens(token_ids=[*begin, *head, *_joined(kept), *_joined(cursor)], was_cut=was_cut)

    def _around_cursor(self, tokenizer: Tokenizer, infill: Infill) -> list[list[int]]:
        """The tokens of marks and texts by turns; the prefix and the suffix are two of the texts."""
        family = self.family
        pieces = [family.prefix, infill.prefix, family.suffix, infill.suffix]
        if family.suffix_first:
            pieces = [*pieces[2:], *pieces[:2]]
        if family.middle is None:
            pieces[-1] += infill.begun
        else:
            pieces += [family.middle, infill.begun]
        token_ids = tokenizer.encode_pieces(["", *pieces], add_bos=False)
        # No text makes a mark, so each is found where the format wrote it.
        places, at = [], 0
        for mark in pieces[::2]:
            at = token_ids.index(_id_of(tokenizer, mark), at)
            places.append(at)
            at += 1
        ends = [*places[1:], len(token_ids)]
        parts = []
        for begin, end in zip(places, ends, strict=True):
            parts += [token_ids[begin : begin + 1], token_ids[begin + 1 : end]]
        return parts

    def _cut(self, cursor: list[list[int]], room: int) -> None:
        prefix, suffix = (3, 1) if self.family.suffix_first else (1, 3)
        num_prefix, num_suffix = len(cursor[prefix]), len(cursor[suffix])
        fixed = sum(map(len, cursor)) - num_prefix - num_suffix
        left = room - fixed
        if left < 1:
            raise ContextLengthError(
                f"the marks and the answer's beginning take {fixed} tokens, and there is room for {room}"
            )
        num_suffix = min(num_suffix, max(left // 4, left - num_prefix))
        num_prefix = min(num_prefix, left - num_suffix)
        cursor[prefix] = cursor[prefix][len(cursor[prefix]) - num_prefix :]
        cursor[suffix] = cursor[suffix][:num_suffix]

    def _files(self, tokenizer: Tokenizer, extra: Sequence[tuple[str, str]]) -> list[list[int]]:
        """The repository's head, each file, and the head of the file with the cursor; empty without files."""
        if not extra:
            return [[]]

        def encoded(mark: str | None, text: str) -> list[int]:
            pieces = [text] if mark is None else ["", mark, text]
            return tokenizer.encode_pieces(pieces, add_bos=False)

        head = [] if self.repository is None else encoded(self.repository, f"{_REPOSITORY_NAME}\n")
        files = [encoded(self.file, f"{name}\n{text}\n") for name, text in extra]
        return [head, *files, encoded(self.file, f"{_FILE_NAME}\n")]


def infill_format(tokenizer: Tokenizer, stated: Mapping[str, int] | None = None) -> InfillFormat | None:
    """How a model wants to be asked; `None` for one whose vocabulary has no marks for it.

    `stated` is what its file says, as `stated_marks` gives it; what no template could write counts as unsaid.
    """
    marks = tokenizer.marks
    known = {role: token for role, token in (stated or {}).items() if token < tokenizer.vocab_size}
    said = {role: tokenizer.token_text(token) for role, token in known.items()}
    texts = {role: text for role, text in said.items() if text is not None and text in marks}
    family = _stated_family(texts) or next((one for one in _FAMILIES if _texts_of(one) <= marks), None)
    if family is None:
        return None
    return InfillFormat(
        family=family,
        repository=texts.get("repository")
        or next((mark for mark in _REPOSITORY_MARKS if mark in marks), None),
        file=texts.get("file") or next((mark for mark in _FILE_MARKS if mark in marks), None),
    )


def stated_marks(path: Path) -> dict[str, int]:
    """The tokens that a GGUF file names as marks, by their role; none of another file."""
    import ruvllm._native as _native

    try:
        file = _native.GgufFile.open(path) if path.is_file() else None
    except (RuvLLMError, OSError) as error:
        # The model is loaded already; what its file says of marks is known from the vocabulary, too.
        logger.warning("%s cannot be asked for its marks: %s", path.name, error)
        return {}
    if file is None:
        return {}
    found = {}
    for role, names in _KEYS.items():
        values = (file.value(f"tokenizer.ggml.{name}_token_id") for name in names)
        token = next((value for value in values if isinstance(value, int)), None)
        if token is not None and token >= 0:
            found[role] = token
    return found


def _stated_family(texts: Mapping[str, str]) -> _Family | None:
    """The marks of a file that names all three; a family that is known has its own order."""
    if not {"prefix", "suffix", "middle"} <= texts.keys():
        return None
    stated = _Family(prefix=texts["prefix"], suffix=texts["suffix"], middle=texts["middle"])
    return next((one for one in _FAMILIES if _texts_of(one) == _texts_of(stated)), stated)


def _texts_of(family: _Family) -> set[str]:
    return {family.prefix, family.suffix, family.middle or family.prefix}


def _joined(parts: list[list[int]]) -> list[int]:
    return [token for part in parts for token in part]


def _id_of(tokenizer: Tokenizer, mark: str) -> int:
    token = tokenizer.token_id(mark)
    if token is None:
        raise TokenizationError(f"the vocabulary has no token {mark!r}")
    return token
