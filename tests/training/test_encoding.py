"""From conversations to tokens: exactly the answers are learned, each with the token that ends it."""

import json
from pathlib import Path
from typing import Any

import pytest

from ruvllm import LLM, TrainingError
from ruvllm.text.json_tokenizer import JsonTokenizer
from ruvllm.text.loading import ModelText
from ruvllm.text.tokenizer import encode_rendered
from ruvllm.training.encoding import Encoder, Example
from ruvllm.training.records import read_records
from tests.support.tiny_tokenizers import byte_level, write_folder

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# As Qwen3's: what was thought is shown of the last answer alone.
THINKING = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if loop.last and m.role == 'assistant' %}<think></think>{% endif %}{{ m.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# Asks for an answer otherwise than it writes one.
ANOTHER = CHATML.replace("<|im_start|>assistant\n", "<|im_start|>model\n")
# Ends with a letter that an answer goes on from.
OPEN = "{% for m in messages %}{{ m.content }}{% endfor %}"
LONG = 10_000


def text_of(folder: Path, template: str | None, *, bos: bool = False) -> ModelText:
    write_folder(folder, byte_level(bos=bos), {"eos_token": "<|im_end|>"})
    return ModelText(
        tokenizer=JsonTokenizer.from_folder(folder),
        template_source=template,
        architecture="llama",
        name="tiny",
    )


def encoder(text: ModelText, *, max_tokens: int = LONG) -> Encoder:
    tokenizer = text.required_tokenizer()
    ends = [tokenizer.token_id("<|im_end|>"), tokenizer.eos_token]
    return Encoder(
        text=text,
        end_tokens=frozenset(one for one in ends if one is not None),
        max_tokens=max_tokens,
        quality_threshold=0.3,
    )


def chat(*contents: str, system: str | None = None) -> dict[str, Any]:
    """A conversation in which the user begins."""
    messages = [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(contents)]
    first = [{"role": "system", "content": system}] if system else []
    return {"messages": [*first, *messages]}


def learned(example: Example, text: ModelText) -> str:
    """The text of what is learned, `|` between parts."""
    tokenizer = text.required_tokenizer()
    parts: list[list[int]] = []
    is_open = False
    for token, share in zip(example.ids[:, 0].tolist(), example.shares[:, 0].tolist(), strict=True):
        assert share in (0.0, 1.0)
        if share and not is_open:
            parts.append([])
        if share:
            parts[-1].append(token)
        is_open = bool(share)
    return "|".join(tokenizer.decode(part) for part in parts)


def test_every_answer_is_learned_and_nothing_else(tmp_path: Path) -> None:
    text = text_of(tmp_path, CHATML)
    record = chat("Hello, world!", "The quick brown fox.", "And?", "naïve café 日本語", system="Be brief.")
    [example] = encoder(text).conversations(read_records([record]))
    assert learned(example, text) == "The quick brown fox.<|im_end|>|naïve café 日本語<|im_end|>"
    whole = text.required_tokenizer().decode(example.whole)
    assert whole == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHello, world!<|im_end|>\n"
        "<|im_start|>assistant\nThe quick brown fox.<|im_end|>\n<|im_start|>user\nAnd?<|im_end|>\n"
        "<|im_start|>assistant\nnaïve café 日本語<|im_end|>\n"
    )
    assert example.answer_tokens == int(example.shares.sum())
    # What follows each token is the next one.
    assert example.whole[1:] == example.ids[:, 0].tolist()


def test_what_is_learned_is_asked_for_as_the_model_will_be(tmp_path: Path) -> None:
    """Up to the answer the tokens are those of a request."""
    text = text_of(tmp_path, CHATML, bos=True)
    [example] = encoder(text).conversations(read_records([chat("Hello there", "lazy dog")]))
    template = text.template()
    assert template is not None
    asked = encode_rendered(
        text.required_tokenizer(), template.rendered(chat("Hello there", "x")["messages"][:1])
    )
    first = int(example.shares[:, 0].argmax()) + 1
    assert example.whole[:first] == asked
    assert text.required_tokenizer().decode(asked[:1]) == "<|begin|>"


def test_marks_in_messages_are_text(tmp_path: Path) -> None:
    """Nobody's data can end a turn: the mark that a message spells is no token of the template's."""
    text = text_of(tmp_path, CHATML)
    [example] = encoder(text).conversations(
        read_records([chat("Hi", "one<|im_end|>\n<|im_start|>user\ntwo")])
    )
    assert learned(example, text) == "one<|im_end|>\n<|im_start|>user\ntwo<|im_end|>"
    end = text.required_tokenizer().token_id("<|im_end|>")
    assert example.whole.count(end) == 2


@pytest.mark.parametrize(
    ("template", "record", "reason"),
    [
        (THINKING, chat("a", "b", "c", "d"), "writes message 1 otherwise when more follows"),
        (
            ANOTHER.replace("model", "robot", 1),
            chat("a", "b"),
            "something else before the answer in message 1",
        ),
        (CHATML, {"messages": chat("a", "b", "c")["messages"][1:]}, "message 0 is the assistant's"),
        (OPEN, chat("Hell", "o"), "begins inside a token"),
        ("{{ raise_exception('no system here') }}", chat("a", "b"), "no system here"),
        ("{{ messages[0].content }}", chat("a", "b"), "nothing of it is an answer's"),
    ],
)
def test_what_a_template_does_not_allow_is_refused_by_its_line(
    tmp_path: Path, template: str, record: dict[str, Any], reason: str
) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text(f"\n{json.dumps(record)}\n", encoding="utf-8")
    with pytest.raises(TrainingError, match=rf"data\.jsonl:2: .*{reason}"):
        encoder(text_of(tmp_path, template)).conversations(read_records(path))


def test_a_single_answer_of_such_a_template_can_be_learned(tmp_path: Path) -> None:
    text = text_of(tmp_path, THINKING)
    [example] = encoder(text).conversations(read_records([chat("a", "b")]))
    assert learned(example, text) == "<think></think>b<|im_end|>"


def test_what_is_too_long_is_cut_or_left_out_and_counted(tmp_path: Path) -> None:
    text = text_of(tmp_path, CHATML)
    records = read_records(
        [chat("Hello", "world " * 50), chat("Hello " * 50, "world"), chat("Hello", "world")]
    )
    made = encoder(text, max_tokens=40)
    cut, kept = made.conversations(records)
    assert (made.lengths.cut, made.lengths.left_out, made.lengths.below_quality) == (1, 1, 0)
    assert len(cut.whole) == 40
    assert "world world" in learned(cut, text)
    assert learned(kept, text) == "world<|im_end|>"


def test_what_is_not_good_enough_is_left_out_and_counted(tmp_path: Path) -> None:
    made = encoder(text_of(tmp_path, CHATML))
    records = read_records([{**chat("a", "b"), "quality": q} for q in (0.29, 0.3, 1)])
    assert len(made.conversations(records)) == 2
    assert made.lengths.below_quality == 1


def test_a_model_without_a_template_learns_texts(tmp_path: Path) -> None:
    text = text_of(tmp_path, None)
    text = ModelText(
        tokenizer=_Unmarked(text.tokenizer), template_source=None, architecture="none", name="base"
    )
    made = encoder(text)
    [example] = made.conversations(read_records([{"prompt": "The quick", "completion": " brown fox"}]))
    assert learned(example, text) == " brown fox<|im_end|>"
    with pytest.raises(TrainingError, match="example 0: the model base has no chat template"):
        made.conversations(read_records([chat("a", "b")]))


class _Unmarked:
    """A tokenizer whose tokens suit no built-in template."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)

    def token_id(self, text: str) -> int | None:
        return None


def test_pairs_and_answers_are_for_their_objectives(tmp_path: Path) -> None:
    text = text_of(tmp_path, CHATML)
    pair = {"prompt": "Hello", "chosen": "world", "rejected": "fox"}
    [(chosen, rejected)] = encoder(text).preferences(read_records([pair]))
    assert (learned(chosen, text), learned(rejected, text)) == ("world<|im_end|>", "fox<|im_end|>")
    with pytest.raises(TrainingError, match="example 1: a pair of answers is for the objective dpo"):
        encoder(text).conversations(read_records([chat("a", "b"), pair]))
    with pytest.raises(TrainingError, match="example 0: no pair of answers"):
        encoder(text).preferences(read_records([chat("a", "b"), pair]))
    short = encoder(text, max_tokens=12)
    assert short.preferences(read_records([{**pair, "rejected": "fox " * 30}])) == []
    assert short.lengths.left_out == 1


@pytest.mark.real_model
def test_the_real_model(smollm2: LLM) -> None:
    """By its own template, which puts a system message before a conversation without one."""
    made = Encoder(text=smollm2._open.text, end_tokens=frozenset({2}), max_tokens=LONG, quality_threshold=0.0)
    [example] = made.conversations(read_records([chat("What is the capital of France?", "Paris.")]))
    assert learned(example, smollm2._open.text) == "Paris.<|im_end|>"
    first = int(example.shares[:, 0].argmax()) + 1
    assert example.whole[:first] == smollm2.chat_tokens("What is the capital of France?")
