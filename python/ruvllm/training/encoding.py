"""From records to tokens, and which of them are the assistant's: those alone are learned.

A conversation is rendered whole by the model's own template, and once more up to each answer, as a model sees
it that is about to give it. What is in the whole beyond that, up to the token that ends the answer, is the
answer. Where a template writes something else before an answer when more follows, the two do not fit, and the
line is refused: what would be trained is not what the model will be asked.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ruvllm.errors import TokenizationError
from ruvllm.text.chat_template import ChatTemplate
from ruvllm.text.loading import ModelText
from ruvllm.text.marks import Rendered
from ruvllm.text.messages import Message
from ruvllm.text.tokenizer import Tokenizer, encode_rendered
from ruvllm.training.records import Conversation, Preference, Record, TokenRecord, complain

__all__ = ["Encoder", "Example", "Lengths"]


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """What the engine learns from: after each token, which ones should follow, and how much that counts.

    Attributes:
        tokens: All but the last, `[n]`.
        ids: Those that may follow, `[n, k]`.
        shares: How much each counts, `[n, k]`; 0 is not at all.
        answer_tokens: How many tokens are learned.
    """

    tokens: NDArray[np.uint32]
    ids: NDArray[np.uint32]
    shares: NDArray[np.float32]
    answer_tokens: int

    @classmethod
    def of(cls, tokens: Sequence[int], is_answer: Sequence[bool]) -> "Example":
        """Of a text's tokens and which of them are learned."""
        shares = np.array(is_answer[1:], np.float32)
        return cls(
            tokens=np.array(tokens[:-1], np.uint32),
            ids=np.array(tokens[1:], np.uint32)[:, None],
            shares=shares[:, None],
            answer_tokens=int(shares.sum()),
        )

    @property
    def whole(self) -> list[int]:
        """All of its tokens."""
        return [*self.tokens.tolist(), int(self.ids[-1, 0])]


@dataclass(slots=True)
class Lengths:
    """What became of examples that are too long, or not good enough.

    Attributes:
        cut: Trained on without their ends.
        left_out: Not trained on, since nothing of the answer is left, or one of a pair is too long.
        below_quality: Not trained on, since they are not good enough.
    """

    cut: int = 0
    left_out: int = 0
    below_quality: int = 0


@dataclass(slots=True, kw_only=True)
class Encoder:
    """Makes examples of records, for one model.

    Attributes:
        text: Its tokenizer and template.
        end_tokens: Those that end an answer.
        max_tokens: What is longer is cut.
        quality_threshold: What is worse is left out.
        lengths: What became of the records so far.
    """

    text: ModelText
    end_tokens: frozenset[int]
    max_tokens: int
    quality_threshold: float
    lengths: Lengths = field(default_factory=Lengths)
    _tokenizer: Tokenizer = field(init=False)
    _template: ChatTemplate | None = field(init=False)

    def __post_init__(self) -> None:
        self._tokenizer = self.text.required_tokenizer()
        self._template = self.text.template()

    def conversations(self, records: Sequence[Record]) -> list[Example]:
        """Examples of answers; `TrainingError` names all records that cannot be."""
        examples: list[Example] = []
        reasons: list[str] = []
        for record in records:
            if isinstance(record, Preference):
                reasons.append(f"{record.where}: a pair of answers is for the objective dpo")
            elif self._is_good(record) and (encoded := self._tried(record, reasons)):
                tokens, is_answer = encoded
                self._keep(tokens, is_answer, examples)
        complain(reasons)
        return examples

    def preferences(self, records: Sequence[Record]) -> list[tuple[Example, Example]]:
        """Pairs of examples, the better one first; the same."""
        pairs: list[tuple[Example, Example]] = []
        reasons: list[str] = []
        for record in records:
            if not isinstance(record, Preference):
                reasons.append(f"{record.where}: no pair of answers; dpo wants prompt, chosen, rejected")
            elif self._is_good(record.chosen):
                both = [self._tried(one, reasons) for one in (record.chosen, record.rejected)]
                found = [Example.of(*one) for one in both if one and len(one[0]) <= self.max_tokens]
                if len(found) == 2:
                    pairs.append((found[0], found[1]))
                else:
                    self.lengths.left_out += 1
        complain(reasons)
        return pairs

    def _is_good(self, record: Conversation | TokenRecord) -> bool:
        if record.quality is None or record.quality >= self.quality_threshold:
            return True
        self.lengths.below_quality += 1
        return False

    def _keep(self, tokens: list[int], is_answer: list[bool], examples: list[Example]) -> None:
        if len(tokens) > self.max_tokens:
            tokens, is_answer = tokens[: self.max_tokens], is_answer[: self.max_tokens]
            if not any(is_answer[1:]):
                self.lengths.left_out += 1
                return
            self.lengths.cut += 1
        examples.append(Example.of(tokens, is_answer))

    def _tried(
        self, record: Conversation | TokenRecord, reasons: list[str]
    ) -> tuple[list[int], list[bool]] | None:
        if isinstance(record, TokenRecord):
            prompt, answer = record.sample.prompt.tolist(), record.sample.answer.tolist()
            return [*prompt, *answer], [False] * len(prompt) + [True] * len(answer)
        try:
            tokens, is_answer = self._encoded(record)
        except TokenizationError as error:
            reasons.append(f"{record.where}: {error.message.removeprefix(f'{error.prefix}: ')}")
            return None
        if not any(is_answer[1:]):
            reasons.append(f"{record.where}: nothing of it is an answer's")
            return None
        return tokens, is_answer

    def _encoded(self, record: Conversation) -> tuple[list[int], list[bool]]:
        if self._template is not None:
            return self._conversation(self._template, record.messages)
        if record.plain is None:
            raise TokenizationError(
                f"the model {self.text.name} has no chat template; give texts as prompt and completion"
            )
        return self._plain(*record.plain)

    def _plain(self, prompt: str, completion: str) -> tuple[list[int], list[bool]]:
        """A text that goes on, up to the token that ends it."""
        asked = self._tokenizer.encode(prompt, parse_special=False)
        whole = self._tokenizer.encode(prompt + completion, parse_special=False)
        _check_begins(whole, asked, "the answer")
        end = self._tokenizer.eos_token
        if end is not None:
            whole = [*whole, end]
        return whole, [place >= len(asked) for place in range(len(whole))]

    def _conversation(
        self, template: ChatTemplate, messages: Sequence[Message]
    ) -> tuple[list[int], list[bool]]:
        whole = _WholeConversation(self._tokenizer, template, messages)
        is_answer = [False] * len(whole.tokens)
        for index, message in enumerate(messages):
            if message["role"] == "assistant":
                begin = whole.begin_of(index)
                last = whole.end_of(index)
                ends = (place + 1 for place in range(begin, last) if whole.tokens[place] in self.end_tokens)
                end = next(ends, last)
                is_answer[begin:end] = [True] * (end - begin)
        return whole.tokens, is_answer


class _WholeConversation:
    """A conversation as the template writes it, and where in its tokens answers stand."""

    def __init__(self, tokenizer: Tokenizer, template: ChatTemplate, messages: Sequence[Message]) -> None:
        self._tokenizer = tokenizer
        self._template = template
        self._messages = messages
        self._rendered = template.rendered(messages, add_generation_prompt=False)
        self.tokens = encode_rendered(tokenizer, self._rendered)

    def begin_of(self, index: int) -> int:
        """How many tokens the model sees before it gives the answer in a message."""
        if index == 0:
            raise TokenizationError("message 0 is the assistant's; an answer must follow a question")
        before = self._template.rendered(self._messages[:index])
        if not _is_beginning(before, self._rendered):
            raise TokenizationError(
                f"the chat template {self._template.name} writes something else before the answer in message "
                f"{index} when that stands there, so that what is trained is not what the model will be asked"
            )
        seen = encode_rendered(self._tokenizer, before)
        _check_begins(self.tokens, seen, f"the answer in message {index}")
        return len(seen)

    def end_of(self, index: int) -> int:
        """Where what the template writes of a message ends."""
        if index + 1 == len(self._messages):
            return len(self.tokens)
        upto = self._template.rendered(self._messages[: index + 1], add_generation_prompt=False)
        if not _is_beginning(upto, self._rendered):
            raise TokenizationError(
                f"the chat template {self._template.name} writes message {index} otherwise when more "
                "follows; make an example of each answer, with what stands before it"
            )
        return min(len(self.tokens), len(encode_rendered(self._tokenizer, upto)))


def _is_beginning(beginning: Rendered, whole: Rendered) -> bool:
    """Whether a text begins another, marks and all."""
    first, all_pieces = beginning.pieces(), whole.pieces()
    count = len(first) - 1
    return (
        len(first) <= len(all_pieces)
        and first[:count] == all_pieces[:count]
        and all_pieces[count].startswith(first[count])
    )


def _check_begins(tokens: list[int], beginning: list[int], what: str) -> None:
    if tokens[: len(beginning)] != beginning:
        raise TokenizationError(
            f"{what} begins inside a token that also holds what stands before it; let it begin with a "
            "letter, or the prompt end without a space"
        )
