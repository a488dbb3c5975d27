"""Fill in the middle: each family's own order, texts that stay text, what is cut, who is refused."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from ruvllm import LLM, ContextLengthError, GenerateParams, TokenizationError
from ruvllm.text import JsonTokenizer
from ruvllm.text.infill import Infill, infill_format
from tests.attacks.marked_model import CONTROL, write_marked_model
from tests.conftest import FIXTURES
from tests.hostile.gguf_file import GgufFile
from tests.support.tiny_tokenizers import byte_level

QWEN = ["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|repo_name|>", "<|file_sep|>"]
GREEDY = GenerateParams(temperature=0.0, max_tokens=4, ignore_eos=True)


@pytest.fixture(scope="module")
def llm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LLM]:
    """A tiny model with the marks of Qwen2.5-Coder."""
    path = tmp_path_factory.mktemp("infill") / "coder.gguf"
    write_marked_model(FIXTURES / "gguf" / "llama-gqa.gguf", path, "", dict.fromkeys(QWEN, CONTROL))
    with LLM(path) as model:
        yield model


def written(llm: LLM, prompt: str) -> list[int]:
    """A prompt as somebody writes it by hand, marks and all."""
    return llm.tokenize(prompt)


def tokenizer_with(*marks: str) -> JsonTokenizer:
    tokenizer = byte_level()
    tokenizer.add_special_tokens([tokenizers.AddedToken(mark, special=True) for mark in marks])
    return JsonTokenizer(tokenizer.to_str())


# As the model's makers write it: Qwen2.5-Coder, StarCoder, DeepSeek-Coder, Codestral, Seed-Coder, Code Llama.
FAMILIES = {
    "<|fim_prefix|>PRE<|fim_suffix|>SUF<|fim_middle|>": QWEN[:3],
    "<fim_prefix>PRE<fim_suffix>SUF<fim_middle>": ["<fim_prefix>", "<fim_suffix>", "<fim_middle>"],
    "<\uff5cfim\u2581begin\uff5c>PRE<\uff5cfim\u2581hole\uff5c>SUF<\uff5cfim\u2581end\uff5c>": [
        "<\uff5cfim\u2581begin\uff5c>", "<\uff5cfim\u2581hole\uff5c>", "<\uff5cfim\u2581end\uff5c>"],
    "[SUFFIX]SUF[PREFIX]PRE": ["[PREFIX]", "[SUFFIX]"],
    "<[fim-suffix]>SUF<[fim-prefix]>PRE<[fim-middle]>": [
        "<[fim-prefix]>", "<[fim-suffix]>", "<[fim-middle]>"],
    "\u2581<PRE>PRE\u2581<SUF>SUF\u2581<MID>": ["\u2581<PRE>", "\u2581<SUF>", "\u2581<MID>"],
}  # fmt: skip


@pytest.mark.parametrize("prompt", FAMILIES)
def test_each_family_in_its_own_order(prompt: str) -> None:
    tokenizer = tokenizer_with(*FAMILIES[prompt])
    found = infill_format(tokenizer)
    assert found is not None
    before, after = "def f(x):\n    return ", "\n\nprint(f(1))"
    tokens = found.tokens(tokenizer, Infill(prefix=before, suffix=after)).token_ids
    assert tokens == tokenizer.encode(prompt.replace("PRE", "\0").replace("<\0>", "<PRE>")
                                      .replace("SUF", "\1").replace("<\1>", "<SUF>")
                                      .replace("[\1FIX]", "[SUFFIX]").replace("[\0FIX]", "[PREFIX]")
                                      .replace("\0", before).replace("\1", after))  # fmt: skip


def test_a_model_file_with_other_files_beside_the_cursor(llm: LLM) -> None:
    assert llm.can_infill
    plain = llm.infill_tokens("the cat", " sat")
    assert plain == written(llm, "<|fim_prefix|>the cat<|fim_suffix|> sat<|fim_middle|>")
    with_files = llm.infill_tokens("the cat", " sat", extra=[("a.py", "a = 1"), ("b.py", "b")], begun="ca")
    assert with_files == written(
        llm,
        "<|repo_name|>project\n<|file_sep|>a.py\na = 1\n<|file_sep|>b.py\nb\n<|file_sep|>current\n"
        "<|fim_prefix|>the cat<|fim_suffix|> sat<|fim_middle|>ca",
    )


@pytest.mark.parametrize("older", [False, True])
def test_what_a_file_says_goes_before_what_is_known(tmp_path: Path, older: bool) -> None:
    """Marks of a family that nobody knows, which its file names; the known ones beside them are not taken."""
    own = ["<|before|>", "<|after|>", "<|here|>", "<|project|>", "<|another|>"]
    path = tmp_path / "coder.gguf"
    marks = dict.fromkeys([*QWEN, *own], CONTROL)
    write_marked_model(FIXTURES / "gguf" / "llama-gqa.gguf", path, "", marks)
    file = GgufFile.read(path)
    with LLM(path) as known:
        ids = [known.tokenizer.token_id(mark) for mark in own]
        assert known.infill_tokens("a", "b") == written(known, f"{QWEN[0]}a{QWEN[1]}b{QWEN[2]}")
    names = ["prefix", "suffix", "middle"] if older else ["fim_pre", "fim_suf", "fim_mid"]
    for name, token in zip([*names, "fim_rep", "fim_sep"], ids, strict=True):
        file.set_number(f"tokenizer.ggml.{name}_token_id", token)
    path.write_bytes(file.to_bytes())
    with LLM(path) as llm:
        assert llm.infill_tokens("a", "b") == written(llm, "<|before|>a<|after|>b<|here|>")
        with_files = llm.infill_tokens("a", "b", extra=[("a.py", "x")])
        files = "<|project|>project\n<|another|>a.py\nx\n<|another|>current\n"
        assert with_files == written(llm, f"{files}<|before|>a<|after|>b<|here|>")


@pytest.mark.parametrize("token", [2**31, 7, -1])
def test_a_file_that_names_what_is_no_mark_says_nothing(tmp_path: Path, token: int) -> None:
    path = tmp_path / "coder.gguf"
    write_marked_model(FIXTURES / "gguf" / "llama-gqa.gguf", path, "", dict.fromkeys(QWEN, CONTROL))
    file = GgufFile.read(path)
    for name in ("fim_pre", "fim_suf", "fim_mid"):
        if token < 0:
            file.set_text(f"tokenizer.ggml.{name}_token_id", "seven")
        else:
            file.set_number(f"tokenizer.ggml.{name}_token_id", token)
    path.write_bytes(file.to_bytes())
    with LLM(path) as llm:
        assert llm.infill_tokens("a", "b") == written(llm, f"{QWEN[0]}a{QWEN[1]}b{QWEN[2]}")


def test_the_answer_is_that_of_the_prompt(llm: LLM) -> None:
    answer = llm.infill("the cat", " sat", GREEDY, extra=[("a.py", "a")])
    tokens = llm.infill_tokens("the cat", " sat", extra=[("a.py", "a")])
    assert answer.token_ids == llm.generate(tokens, GREEDY).token_ids
    assert answer.usage.prompt_tokens == len(tokens)


PIECES = st.sampled_from([*QWEN, "<|fim_", "prefix|>", "<|", "|>", "a", "\n", " ", "日", "</s>", "<s>"])
TEXTS = st.lists(PIECES, max_size=6).map("".join)


@settings(max_examples=150, deadline=None)
@given(prefix=TEXTS, suffix=TEXTS, name=TEXTS, text=TEXTS, begun=TEXTS)
def test_what_looks_like_a_mark_in_a_text_is_text(
    llm: LLM, prefix: str, suffix: str, name: str, text: str, begun: str
) -> None:
    tokens = llm.infill_tokens(prefix, suffix, extra=[(name, text)], begun=begun)
    marks = [llm.tokenizer.token_text(token) for token in tokens]
    order = [QWEN[3], QWEN[4], QWEN[4], *QWEN[:3]]
    assert [mark for mark in marks if mark in llm.tokenizer.marks - {"<s>"}] == order
    assert "<s>" not in marks[1:]
    middle = f"{QWEN[0]}{prefix}{QWEN[1]}{suffix}{QWEN[2]}{begun}"
    files = f"{QWEN[3]}project\n{QWEN[4]}{name}\n{text}\n{QWEN[4]}current\n"
    assert llm.detokenize(tokens).removeprefix("<s>") == files + middle


def parts(llm: LLM, tokens: list[int]) -> tuple[list[int], list[int]]:
    prefix, suffix, middle = (tokens.index(llm.tokenizer.token_id(mark)) for mark in QWEN[:3])
    return tokens[prefix + 1 : suffix], tokens[suffix + 1 : middle]


def test_what_is_nearest_to_the_cursor_stays(llm: LLM) -> None:
    limit = llm.model_info.max_context
    before, after = "".join(map(str, range(limit))), "".join(map(str, range(limit, 2 * limit)))
    whole = [llm.tokenize(text, add_bos=False) for text in (before, after)]
    cut = llm.infill_tokens(before, after, extra=[("a.py", "a")], room_for=16)
    assert len(cut) == limit - 16
    prefix, suffix = parts(llm, cut)
    assert prefix == whole[0][-len(prefix) :]
    assert suffix == whole[1][: len(suffix)]
    assert len(suffix) == (len(prefix) + len(suffix)) // 4
    assert llm.tokenizer.token_id("<|file_sep|>") not in cut
    # What one does not need the other gets.
    assert parts(llm, llm.infill_tokens("a", after, room_for=16))[0] == llm.tokenize("a", add_bos=False)
    assert len(llm.infill_tokens("a", after, room_for=16)) == limit - 16
    assert len(llm.infill_tokens(before, "", room_for=16)) == limit - 16


def test_files_go_whole_the_first_one_first(llm: LLM) -> None:
    limit = llm.model_info.max_context
    long = "x" * (limit // 2)
    files = [("first.py", long), ("second.py", long), ("third.py", "c")]
    cut = llm.infill_prompt(Infill(prefix="a", suffix="b", extra=files), room_for=limit // 3)
    assert cut.was_cut
    text = llm.detokenize(cut.token_ids)
    assert "first.py" not in text
    assert "third.py\nc\n<|file_sep|>current\n<|fim_prefix|>a" in text
    whole = llm.infill_prompt(Infill(prefix="a", suffix="b", extra=files[2:]), room_for=limit // 3)
    assert not whole.was_cut
    assert whole.token_ids == llm.infill_tokens("a", "b", extra=files[2:])


def test_nothing_is_cut_unasked(llm: LLM) -> None:
    with pytest.raises(ContextLengthError):
        llm.infill("a " * llm.model_info.max_context, "b", GREEDY)
    assert llm.infill("a " * llm.model_info.max_context, "b", GREEDY, cut=True).usage.completion_tokens == 4
    with pytest.raises(ContextLengthError, match="beginning take"):
        llm.infill_tokens("a", "b", begun="b " * llm.model_info.max_context, room_for=1)


def test_a_model_that_never_learned_it_is_refused(tiny_gguf: LLM, tiny_folder: LLM) -> None:
    assert not tiny_gguf.can_infill
    with pytest.raises(TokenizationError, match="not trained to fill in the middle"):
        tiny_gguf.infill("a", "b")
    with pytest.raises(TokenizationError, match="tokenizer"):
        tiny_folder.infill("a", "b")


@pytest.mark.real_model
def test_smollm2_has_marks_of_files_and_none_of_the_middle(smollm2: LLM) -> None:
    assert "<file_sep>" in smollm2.tokenizer.marks
    assert not smollm2.can_infill


@pytest.mark.parametrize("extra", ["a.py", [("a.py",)], [("a.py", 3)], [b"ab"], 7])
def test_files_are_pairs_of_texts(llm: LLM, extra: object) -> None:
    with pytest.raises(TokenizationError, match="extra"):
        llm.infill("a", "b", extra=extra)  # type: ignore[arg-type]


def test_texts_are_texts(llm: LLM, tmp_path: Path) -> None:
    with pytest.raises(TokenizationError, match="prefix is a"):
        llm.infill(tmp_path, "b")  # type: ignore[arg-type]
