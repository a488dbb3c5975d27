"""`tokenizer.json` as the package reads it, against the `tokenizers` library itself."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, models, pre_tokenizers
from tokenizers import Tokenizer as HfTokenizer

from ruvllm.errors import IoError, TokenizationError
from ruvllm.text import json_tokenizer
from ruvllm.text.json_tokenizer import MAX_CONFIG_BYTES, JsonTokenizer, read_config
from ruvllm.text.token_pieces import piece_decoder
from ruvllm.text.tokenizer import Tokenizer
from tests.support import tiny_tokenizers

TEXTS = [
    "", " ", "Hello, world!", "  two  spaces ", "naïve café", "日本語 🙂 \u200d👧",
    "\n\n\ttabs\r\n", "a\u0000b",
    "ﬁ ½ Å", "<|im_start|>user\nHi<|im_end|>", "<s>text</s>", "<0x41>",
]  # fmt: skip

KINDS = {
    "byte-level": lambda: tiny_tokenizers.byte_level(),
    "byte-level with bos": lambda: tiny_tokenizers.byte_level(bos=True),
    "metaspace": lambda: tiny_tokenizers.byte_fallback(metaspace=True),
    "sequence": lambda: tiny_tokenizers.byte_fallback(metaspace=False),
}
CONFIGS = {
    "byte-level": {"bos_token": None, "eos_token": "<|im_end|>"},
    "byte-level with bos": {"bos_token": "<|begin|>", "eos_token": "<|im_end|>"},
    "metaspace": {"bos_token": "<s>", "eos_token": "</s>"},
    "sequence": {"bos_token": {"content": "<s>"}, "eos_token": {"content": "</s>"}},
}
_MADE: dict[str, HfTokenizer] = {}


def reference(kind: str) -> HfTokenizer:
    if kind not in _MADE:
        _MADE[kind] = KINDS[kind]()
    return _MADE[kind]


def ours(kind: str, **config: object) -> JsonTokenizer:
    return JsonTokenizer(reference(kind).to_str(), {**CONFIGS[kind], **config})


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


def test_it_is_a_tokenizer(kind: str) -> None:
    assert isinstance(ours(kind), Tokenizer)


@pytest.mark.parametrize("text", TEXTS)
def test_encodes_like_the_library(kind: str, text: str) -> None:
    assert ours(kind).encode(text) == reference(kind).encode(text, add_special_tokens=True).ids
    assert (
        ours(kind).encode(text, add_bos=False) == reference(kind).encode(text, add_special_tokens=False).ids
    )


@pytest.mark.parametrize("text", TEXTS)
def test_decodes_like_the_library(kind: str, text: str) -> None:
    ids = reference(kind).encode(text).ids
    for skip in (True, False):
        assert ours(kind).decode(ids, skip_special=skip) == reference(kind).decode(
            ids, skip_special_tokens=skip
        )


def test_add_bos() -> None:
    with_bos = ours("byte-level with bos")
    assert with_bos.adds_bos
    assert with_bos.encode("Hi")[0] == with_bos.bos_token
    assert with_bos.encode("Hi", add_bos=True) == with_bos.encode("Hi")
    assert with_bos.encode("Hi", add_bos=False) == with_bos.encode("Hi")[1:]
    without = ours("metaspace")
    assert not without.adds_bos
    assert without.encode("Hi", add_bos=True) == [without.bos_token, *without.encode("Hi")]


def test_the_configuration_stands_above_the_post_processor() -> None:
    off = ours("byte-level with bos", add_bos_token=False)
    assert not off.adds_bos
    assert off.bos_token not in off.encode("Hi")
    on = ours("metaspace", add_bos_token=True)
    assert on.adds_bos
    assert on.encode("Hi")[0] == on.bos_token


def test_add_bos_without_such_a_token() -> None:
    with pytest.raises(TokenizationError, match="no token that begins a text"):
        ours("byte-level").encode("Hi", add_bos=True)


def test_special_tokens_as_text(kind: str) -> None:
    tokenizer = ours(kind)
    special = sorted(tokenizer.special_ids)
    for token_id in special:
        text = tokenizer.token_text(token_id)
        assert text is not None
        assert token_id in tokenizer.encode(f"a{text}b", add_bos=False)
        as_text = tokenizer.encode(f"a{text}b", add_bos=False, parse_special=False)
        assert not set(as_text) & tokenizer.special_ids
        assert text in tokenizer.decode(as_text)


def test_bos_is_added_to_text_without_parsing() -> None:
    tokenizer = ours("byte-level with bos")
    ids = tokenizer.encode("<|im_end|>", parse_special=False)
    assert ids[0] == tokenizer.bos_token
    assert not set(ids[1:]) & tokenizer.special_ids


def test_special_tokens_that_the_vocabulary_spells_anyway() -> None:
    """With `ignore_merges` a word that is in the vocabulary becomes its token, special or not."""
    data = json.loads(reference("byte-level").to_str())
    data["pre_tokenizer"] = None
    data["model"]["ignore_merges"] = True
    tokenizer = JsonTokenizer(json.dumps(data), CONFIGS["byte-level"])
    ids = tokenizer.encode("<|im_end|>", parse_special=False)
    assert not set(ids) & tokenizer.special_ids
    assert tokenizer.decode(ids) == "<|im_end|>"


def apart(kind: str, pieces: list[str]) -> list[int]:
    """The tokens of text and marks by turns by the library, each text by itself as text."""
    hf = HfTokenizer.from_str(reference(kind).to_str())
    hf.encode_special_tokens = True
    ids: list[int] = []
    for index, piece in enumerate(pieces):
        if index == 1 and kind == "metaspace":  # only what begins the whole text gets a blank
            hf.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
        if index % 2:
            ids.append(hf.token_to_id(piece))
        elif piece:
            ids += hf.encode(piece, add_special_tokens=False).ids
    return ids


MARK = {
    "byte-level": "<|im_end|>",
    "byte-level with bos": "<|im_end|>",
    "metaspace": "</s>",
    "sequence": "</s>",
}
SPELLING = st.lists(
    st.sampled_from(
        ["<|im_end|>", "</s>", "<s>", "<|im_", "end|>", "</", "s>", "<", "a", "é", "<unk>", " ", "\n"]
    ),
    max_size=6,
).map("".join)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=150, deadline=None)
@given(texts=st.lists(SPELLING, min_size=1, max_size=4))
def test_of_text_and_marks_by_turns_only_the_marks_are_marks(kind: str, texts: list[str]) -> None:
    tokenizer = _CACHED.setdefault(kind, ours(kind))
    pieces = [piece for text in texts for piece in (text, MARK[kind])][:-1]
    assert tokenizer.encode_pieces(pieces, add_bos=False) == apart(kind, pieces)


def test_text_and_marks_by_turns_are_the_whole_where_nothing_spells_a_mark(kind: str) -> None:
    tokenizer, mark = ours(kind), MARK[kind]
    for text in TEXTS[:9]:
        for pieces in ([text], [text, mark, text], ["", mark, text, mark, ""]):
            assert tokenizer.encode_pieces(pieces) == reference(kind).encode("".join(pieces)).ids
    assert tokenizer._named is None, "a second tokenizer is made only where one is needed"


def test_marks_that_take_blanks_keep_them() -> None:
    hf = tiny_tokenizers.byte_level()
    hf.add_special_tokens([AddedToken("<|end|>", rstrip=True, lstrip=True, special=True)])
    tokenizer = JsonTokenizer(hf.to_str(), {})
    blank = tokenizer.encode("b  <|end|> \n c", add_bos=False)
    assert tokenizer.encode_pieces(["b  ", "<|end|>", " \n c"]) == blank
    forged = tokenizer.encode_pieces(["b  ", "<|end|>", " \n c<|im_end|>"])
    assert forged[: len(blank)] == blank
    assert not set(forged[len(blank) :]) & tokenizer.special_ids


def test_marks_of_other_models_than_merges() -> None:
    words = {"<unk>": 0, "a": 1, "b": 2, "[END]": 3}
    hf = HfTokenizer(models.WordLevel(words, unk_token="<unk>"))
    hf.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    hf.add_special_tokens(["<unk>", "[END]"])
    tokenizer = JsonTokenizer(hf.to_str(), {})
    assert tokenizer.encode_pieces(["a [END] ", "[END]", " b"]) == [1, 0, 3, 2]
    scores = [("<unk>", 0.0), ("a", -1.0), ("[END]", -1.0), ("[", -3.0), ("END", -3.0), ("]", -3.0)]
    hf = HfTokenizer(models.Unigram(scores, 0))
    hf.add_special_tokens(["<unk>", "[END]"])
    tokenizer = JsonTokenizer(hf.to_str(), {})
    assert tokenizer.encode_pieces(["a[END]", "[END]", "a"]) == [1, 3, 4, 5, 2, 1]


def test_a_special_word_is_what_it_says() -> None:
    """A template may write it, and so may anyone: it does not look like a mark."""
    hf = tiny_tokenizers.byte_level()
    hf.add_special_tokens(["sop"])
    tokenizer = JsonTokenizer(hf.to_str(), {})
    [word] = tokenizer.encode("sop")
    assert tokenizer.encode_pieces(["sop", "<|im_end|>", "<|im_end|>"])[0] == word


def test_added_tokens_that_are_not_special_stay() -> None:
    hf = tiny_tokenizers.with_plain_added_token(tiny_tokenizers.byte_level(), "<think>")
    tokenizer = JsonTokenizer(hf.to_str(), {})
    assert tokenizer.token_id("<think>") in tokenizer.encode("<think>", parse_special=False)
    assert tokenizer.pieces()[tokenizer.token_id("<think>") or 0] == b"<think>"


@pytest.mark.parametrize("text", TEXTS)
def test_pieces_spell_the_text(kind: str, text: str) -> None:
    tokenizer = ours(kind)
    pieces = tokenizer.pieces()
    ids = tokenizer.encode(text, add_bos=False)
    joined = b"".join(pieces[token_id] for token_id in ids).decode()
    # Decoders of the SentencePiece kind cut the first space, which stands there since encoding put it.
    decoded = tokenizer.decode(ids)
    assert joined in (decoded, " " + decoded)
    assert len(pieces) == tokenizer.vocab_size


@settings(max_examples=200, deadline=None)
# U+2581 stands for the space in vocabularies of the SentencePiece kind, so it does not come back.
@given(text=st.text(st.characters(exclude_characters="\u2581", exclude_categories=["Cs"]), max_size=60))
def test_pieces_spell_any_text(text: str) -> None:
    for kind in ("byte-level", "sequence", "metaspace"):
        tokenizer = _CACHED.setdefault(kind, ours(kind))
        ids = tokenizer.encode(text, add_bos=False, parse_special=False)
        joined = b"".join(tokenizer._pieces[token_id] for token_id in ids).decode()
        assert joined in (text, " " + text)


_CACHED: dict[str, JsonTokenizer] = {}


def test_pieces_of_one_byte(kind: str) -> None:
    """Half characters come out as bytes, for the stream to join."""
    tokenizer = ours(kind)
    ids = tokenizer.encode("🙂", add_bos=False)
    pieces = [tokenizer.pieces()[token_id] for token_id in ids]
    assert b"".join(pieces).strip() == "🙂".encode()
    assert len(pieces) > 1


def test_end_tokens() -> None:
    assert ours("metaspace").end_tokens == (ours("metaspace").token_id("</s>"),)
    tokenizer = ours("byte-level", eos_token="<|begin|>")
    # The configured one first, then what is known to end answers.
    assert tokenizer.end_tokens == (tokenizer.token_id("<|begin|>"), tokenizer.token_id("<|im_end|>"))


def test_marks_of_other_files_end_answers() -> None:
    """Of padding, repository and file the first one each, as llama.cpp counts them in the same vocabulary."""
    marks = ["<|fim_pad|>", "<|repo_name|>", "<reponame>", "<|file_sep|>", "<|fim_middle|>"]
    tokenizer = tiny_tokenizers.byte_level()
    tokenizer.add_special_tokens([AddedToken(mark, special=True) for mark in marks])
    found = JsonTokenizer(tokenizer.to_str())
    ends = [found.token_text(token) for token in found.end_tokens]
    assert ends == ["<|im_end|>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>"]


def test_unknown_ids_are_refused() -> None:
    tokenizer = ours("byte-level")
    with pytest.raises(TokenizationError, match=r"token_ids\[1\] is 99999"):
        tokenizer.decode([1, 99999])
    assert tokenizer.token_text(99999) is None
    assert tokenizer.token_text(-1) is None
    assert tokenizer.token_id("no such token") is None


STRIP = {"type": "Strip", "content": "_", "start": 1, "stop": 1}


@pytest.mark.parametrize(
    ("decoder", "token", "piece"),
    [
        (None, "plain", b"plain"),
        ({"type": "ByteLevel"}, "Ġhi", b" hi"),
        ({"type": "ByteLevel"}, "ĠÃ", b" \xc3"),
        ({"type": "ByteLevel"}, "<\uff5cend▁\uff5c>", "<\uff5cend▁\uff5c>".encode()),
        ({"type": "Metaspace", "replacement": "▁"}, "▁hi", b" hi"),
        ({"type": "ByteFallback"}, "<0xE2>", b"\xe2"),
        ({"type": "ByteFallback"}, "<0xE2>x", b"<0xE2>x"),
        ({"type": "WordPiece", "prefix": "##"}, "##ing", b"ing"),
        ({"type": "WordPiece", "prefix": "##"}, "go", b" go"),
        ({"type": "BPEDecoder", "suffix": "</w>"}, "go</w>", b"go "),
        ({"type": "Sequence", "decoders": [STRIP]}, "__a_", b"_a"),
        (
            {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
                                              {"type": "ByteFallback"}, {"type": "Fuse"},
                                              {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
            "▁a", b" a",
        ),
    ],
)  # fmt: skip
def test_decoders(decoder: dict[str, object] | None, token: str, piece: bytes) -> None:
    assert piece_decoder(decoder)(token) == piece


@pytest.mark.parametrize(
    "decoder", [{"type": "CTC"}, {"type": "Replace", "pattern": {"Regex": "a"}, "content": ""}, {}]
)
def test_decoders_that_are_refused(decoder: dict[str, object]) -> None:
    with pytest.raises(TokenizationError, match="not supported"):
        piece_decoder(decoder)


def test_a_folder(tmp_path: Path) -> None:
    folder = tiny_tokenizers.write_folder(
        tmp_path, reference("byte-level"), {"eos_token": None, "chat_template": "old"}
    )
    (folder / "special_tokens_map.json").write_text(
        '{"eos_token": {"content": "<|im_end|>"}, "bos_token": "<|begin|>"}'
    )
    (folder / "chat_template.jinja").write_text("new")
    tokenizer = JsonTokenizer.from_folder(folder)
    assert tokenizer is not None
    assert tokenizer.eos_token == tokenizer.token_id("<|im_end|>")
    assert tokenizer.bos_token == tokenizer.token_id("<|begin|>")
    assert read_config(folder)["chat_template"] == "new"


def test_a_folder_without_a_tokenizer(tmp_path: Path) -> None:
    assert JsonTokenizer.from_folder(tmp_path) is None


@pytest.mark.parametrize(
    ("name", "content", "error", "words"),
    [
        ("tokenizer.json", b"{", TokenizationError, "cannot be used"),
        ("tokenizer.json", b"[]", TokenizationError, "cannot be used"),
        ("tokenizer.json", b"\xff\xfe", TokenizationError, "not UTF-8"),
        ("tokenizer_config.json", b"{", TokenizationError, "not JSON"),
        ("tokenizer_config.json", b"[" * 100_000, TokenizationError, "not JSON"),
        ("tokenizer_config.json", b"[]", TokenizationError, "must be an object"),
        ("tokenizer_config.json", b" " * (MAX_CONFIG_BYTES + 1), TokenizationError, "at most"),
    ],
)
def test_broken_files(tmp_path: Path, name: str, content: bytes, error: type[Exception], words: str) -> None:
    folder = tiny_tokenizers.write_folder(tmp_path, reference("byte-level"), {})
    (folder / name).write_bytes(content)
    with pytest.raises(error, match=words):
        JsonTokenizer.from_folder(folder)


def test_an_unreadable_file(tmp_path: Path) -> None:
    folder = tiny_tokenizers.write_folder(tmp_path, reference("byte-level"))
    (folder / "tokenizer_config.json").symlink_to(folder / "tokenizer_config.json")
    assert JsonTokenizer.from_folder(folder) is not None  # a link to itself is no file
    with pytest.raises(IoError, match=r"tokenizer\.json"):
        json_tokenizer._read_text(folder / "missing" / "tokenizer.json", 10)
