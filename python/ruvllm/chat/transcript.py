"""A conversation as text and as tokens, so that what was computed for one turn serves the next.

The text of an answer, tokenized again, need not give the tokens that the model made. So a turn keeps its
tokens, and the next prompt is made of them and of the template's text that follows. That holds only where
the template writes the earlier turns as it did before; where it does not (some leave out what a model
thought, or trim white space), the prompt is made from its text anew.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from ruvllm.errors import SessionError
from ruvllm.text.marks import Rendered
from ruvllm.text.messages import Message, MessageLike, check_messages
from ruvllm.text.tokenizer import Tokenizer, encode_rendered

__all__ = ["Piece", "Turn", "answer_piece", "extend", "joined", "messages_of", "turns_of"]

# A stop sequence or half a character at the end is not part of the answer's text; no more tokens than these.
MAX_DROPPED_TOKENS = 64


@dataclass(frozen=True, slots=True)
class Piece:
    """A text, and the tokens that stand for it in the prompt; of marks it has the stand-ins."""

    text: str = ""
    tokens: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Turn:
    """A question and its answer, and what both added to the piece of the turns before."""

    question: str
    answer: str
    piece: Piece = field(default_factory=Piece)


def messages_of(
    system_prompt: str | None, turns: Sequence[Turn], question: str | None = None
) -> list[Message]:
    """The turns as messages, and a question that has no answer yet."""
    messages = [{"role": "system", "content": system_prompt}] if system_prompt is not None else []
    for turn in turns:
        messages.append({"role": "user", "content": turn.question})
        messages.append({"role": "assistant", "content": turn.answer})
    if question is not None:
        messages.append({"role": "user", "content": question})
    return messages


def turns_of(history: Sequence[MessageLike]) -> tuple[str | None, list[Turn]]:
    """The system prompt and turns of messages, as `messages_of` makes them; `SessionError` for others."""
    messages = check_messages(history) if history else []
    system = messages[0]["content"] if messages and messages[0]["role"] == "system" else None
    said = messages if system is None else messages[1:]
    roles = [message["role"] for message in said]
    if roles != ["user", "assistant"] * (len(roles) // 2):
        raise SessionError(
            "a history is questions of the user and answers of the assistant by turns, behind a system "
            f"prompt if there is one; these are of {', '.join(roles)}"
        )
    pairs = zip(said[::2], said[1::2], strict=True)
    return system, [Turn(question["content"], answer["content"]) for question, answer in pairs]


def joined(turns: Sequence[Turn]) -> Piece:
    """All that the turns' pieces hold."""
    return Piece(
        "".join(turn.piece.text for turn in turns),
        tuple(token for turn in turns for token in turn.piece.tokens),
    )


def extend(tokenizer: Tokenizer, known: Piece, rendered: Rendered) -> Piece | None:
    """What a rendered conversation adds to what is known, or `None` where it does not go on from there."""
    if not known.tokens or not rendered.signed.startswith(known.text):
        return None
    added = rendered.after(len(known.text))
    tokens = tuple(tokenizer.encode_pieces(added.pieces(), add_bos=False))
    # The answer may have marks that its text does not show, or begin otherwise in the middle of a text.
    anew = encode_rendered(tokenizer, rendered)
    if tokenizer.decode([*known.tokens, *tokens]) != tokenizer.decode(anew):
        return None
    return Piece(added.signed, tokens)


def answer_piece(tokenizer: Tokenizer, answer: str, token_ids: Sequence[int]) -> Piece:
    """The longest beginning of the tokens that the model made whose text the answer begins with."""
    shortest = max(0, len(token_ids) - MAX_DROPPED_TOKENS)
    for count in range(len(token_ids), shortest, -1):
        text = tokenizer.decode(token_ids[:count], skip_special=True)
        if answer.startswith(text):
            return Piece(text, tuple(token_ids[:count]))
    return Piece()
