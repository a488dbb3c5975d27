"""A `tokenizer.json` as GGUF metadata, for llama.cpp and for ourselves to read with the same ids.

GGUF has two kinds of vocabularies that such a file can become: of bytes that are merged by rules (`gpt2`),
where the way in which text is cut into words must have a name, and of pieces that are merged by scores
(`llama`). A tokenizer that is neither is refused by what is unknown of it: a file that reads text otherwise
is worth nothing.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ruvllm.errors import TokenizationError
from ruvllm.gguf_values import Entry, GgufValue, encoded
from ruvllm.text.json_tokenizer import JsonTokenizer

__all__ = ["tokenizer_entries"]

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
# What llama.cpp's converter gives to tokens that no text is merged to.
NO_SCORE = -1000.0
SPACE = "\u2581"
_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
    r"\s+(?!\S)|\s+"
)
# How text is cut into words, as it is written in tokenizer.json, and GGUF's name of it.
_CUTS: dict[tuple[tuple[str, object], ...], str] = {
    (("ByteLevel", True),): "gpt-2",
    (("Digits", True), ("ByteLevel", True)): "smollm",
    (("Split", _WORDS % r"\p{N}{1,3}"), ("ByteLevel", False)): "llama-bpe",
    (("Split", _WORDS % r"\p{N}"), ("ByteLevel", False)): "qwen2",
}
# Of these alone a word that is a token is taken whole, whatever the merges say.
_WHOLE_WORDS = ("llama-bpe",)


def tokenizer_entries(
    tokenizer: JsonTokenizer, template: str | None, num_tokens: int, name: str, ends: Sequence[int]
) -> list[Entry]:
    """What a GGUF file says of a tokenizer and its chat template, for so many rows of a model's embedding.

    `ends` are the tokens that end an answer, whatever the tokenizer says.
    """
    source = json.loads(tokenizer.source)
    model = source.get("model") or {}
    if model.get("type") != "BPE":
        raise _refused(f"a model of the type {model.get('type')!r}")
    pieces = _pieces(source.get("pre_tokenizer"))
    is_bytes = any(kind == "ByteLevel" for kind, _ in pieces)
    _check_added(source, name)
    tokens, types = _tokens(tokenizer, source, num_tokens)
    said: dict[str, GgufValue] = {}
    if is_bytes:
        said |= {"model": "gpt2", "pre": _cut(source, pieces), "tokens": tokens, "token_type": types}
        said["merges"] = [" ".join(pair) for pair in _merges(model)]
    else:
        said |= {"model": "llama", "pre": "default", "tokens": tokens}
        said |= {"scores": _scores(model, tokens), "token_type": _with_bytes(model, tokens, types)}
        said["add_space_prefix"] = _adds_space(source)
    ids = {"bos": tokenizer.bos_token, **_ends(tokenizer, ends)}
    ids["padding"] = tokenizer.configured_token("pad_token")
    ids["unknown"] = tokenizer.configured_token("unk_token")
    known = {role: index for role, index in ids.items() if index is not None and index < num_tokens}
    said |= {f"{role}_token_id": index for role, index in known.items()}
    said |= {"add_bos_token": tokenizer.adds_bos and "bos" in known, "add_eos_token": False}
    entries = [(f"tokenizer.ggml.{key}", encoded(value)) for key, value in said.items()]
    return entries if template is None else [*entries, ("tokenizer.chat_template", encoded(template))]


def _ends(tokenizer: JsonTokenizer, ends: Sequence[int]) -> dict[str, int | None]:
    """What ends an answer: one token, and two that no reader would know by their texts."""
    eos = tokenizer.eos_token if tokenizer.eos_token is not None else next(iter(ends), None)
    others = [token for token in dict.fromkeys(ends) if token not in (eos, *tokenizer.end_tokens)]
    if len(others) > 2:
        raise _refused(f"{1 + len(others)} tokens that end an answer")
    return {"eos": eos, **dict(zip(("eot", "eom"), others, strict=False))}


def _check_added(source: Mapping[str, Any], name: str) -> None:
    """Refuses tokens to which blanks beside them belong, but for Phi-3's: readers know it by its name."""
    for added in source.get("added_tokens") or ():
        is_known = "phi-3" in name.lower() and not (added.get("lstrip") or added.get("single_word"))
        if not is_known and any(added.get(flag) for flag in ("lstrip", "rstrip", "single_word")):
            raise _refused(f"blanks or words that belong to {added.get('content')!r:.80}")


def _tokens(
    tokenizer: JsonTokenizer, source: Mapping[str, Any], num_tokens: int
) -> tuple[list[str], list[int]]:
    """The text of each token, and its type; ids that no token has are unused.

    A special token may have no row: what a model cannot read has no place in its file.
    """
    tokens = [f"[PAD{index}]" for index in range(num_tokens)]
    types = [UNUSED] * num_tokens
    for text, index in source["model"]["vocab"].items():
        if not 0 <= index < num_tokens:
            raise _refused(f"the token {text!r:.80} at {index}, and the model only {num_tokens} rows")
        tokens[index], types[index] = text, NORMAL
    special = tokenizer.special_ids
    for added in source.get("added_tokens") or ():
        text = added["content"]
        index = tokenizer.token_id(text)
        if index is not None and index < num_tokens:
            tokens[index], types[index] = text, CONTROL if index in special else USER_DEFINED
        elif index is None or index not in special:
            raise _refused(f"the token {text!r:.80}, for which the model has no row")
    return tokens, types


def _merges(model: Mapping[str, Any]) -> list[tuple[str, str]]:
    pairs = (pair.split(" ") if isinstance(pair, str) else pair for pair in model.get("merges") or ())
    return [(first, second) for first, second in pairs]


def _scores(model: Mapping[str, Any], tokens: list[str]) -> list[float]:
    """The earlier a merge, the higher is what it gives."""
    ranks: dict[str, int] = {}
    for rank, pair in enumerate(_merges(model)):
        ranks.setdefault("".join(pair), rank)
    return [-float(ranks[text]) if text in ranks else NO_SCORE for text in tokens]


def _with_bytes(model: Mapping[str, Any], tokens: list[str], types: list[int]) -> list[int]:
    if not model.get("byte_fallback"):
        raise _refused("pieces of text without bytes to fall back on")
    known = {f"<0x{byte:02X}>" for byte in range(256)}
    if not known <= set(tokens):
        raise _refused("pieces of text and not all bytes to fall back on")
    found = [BYTE if text in known else kind for text, kind in zip(tokens, types, strict=True)]
    if model.get("unk_token") in tokens:
        found[tokens.index(model["unk_token"])] = UNKNOWN
    return found


def _adds_space(source: Mapping[str, Any]) -> bool:
    """Whether a text gets a blank before it; more than blanks becoming what stands for them is refused."""
    steps = [*_steps(source.get("normalizer"), "normalizers")]
    before = [*_steps(source.get("pre_tokenizer"), "pretokenizers")]
    adds = False
    for step in [*steps, *before]:
        kind = step.get("type")
        if kind == "Prepend" and step.get("prepend") == SPACE:
            adds = True
        elif kind == "Metaspace" and step.get("replacement") == SPACE:
            adds = adds or step.get("prepend_scheme", "always") != "never"
        elif kind == "Replace" and (step.get("pattern"), step.get("content")) == ({"String": " "}, SPACE):
            continue
        elif kind == "Split" and step.get("pattern") == {"String": " "}:
            continue  # no piece spans more: blanks were replaced before
        else:
            raise _refused(f"a step of the type {kind!r}")
    return adds


def _steps(given: Mapping[str, Any] | None, inner: str) -> list[Mapping[str, Any]]:
    if given is None:
        return []
    return list(given[inner]) if given.get("type") == "Sequence" else [given]


def _pieces(given: Mapping[str, Any] | None) -> tuple[tuple[str, object], ...]:
    """The steps that cut text into words, each with what decides about it."""
    found: list[tuple[str, object]] = []
    for step in _steps(given, "pretokenizers"):
        kind = str(step.get("type"))
        if kind == "ByteLevel":
            decides: object = bool(step.get("use_regex", True)) and not step.get("add_prefix_space")
            if step.get("add_prefix_space"):
                decides = "add_prefix_space"
        elif kind == "Digits":
            decides = bool(step.get("individual_digits"))
        elif kind == "Split" and (step.get("behavior"), bool(step.get("invert"))) == ("Isolated", False):
            decides = (step.get("pattern") or {}).get("Regex")
        else:
            decides = json.dumps(step, sort_keys=True)
        found.append((kind, decides))
    return tuple(found)


def _cut(source: Mapping[str, Any], pieces: tuple[tuple[str, object], ...]) -> str:
    name = _CUTS.get(pieces)
    if name is None:
        raise _refused(f"words that are cut by {pieces!r:.200}")
    normalizer = source.get("normalizer")
    # What composes characters changes little text, and GGUF has no word for it.
    if normalizer is not None and normalizer.get("type") != "NFC":
        raise _refused(f"a normalizer of the type {normalizer.get('type')!r}")
    if bool(source["model"].get("ignore_merges")) != (name in _WHOLE_WORDS):
        raise _refused(f"words that are cut as {name} does it, with another ignore_merges")
    return name


def _refused(what: str) -> TokenizationError:
    return TokenizationError(
        f"tokenizer.json has {what}, for which GGUF has no name that is known here; nothing is written"
    )
