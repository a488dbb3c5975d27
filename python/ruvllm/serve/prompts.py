"""Texts and token ids of bodies on their way into a model, and back: bounded; long ones beside the loop."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ruvllm.errors import ContextLengthError, RuvLLMError
from ruvllm.runtime.prompts import check_tokens
from ruvllm.serve.asked_model import AskedModel
from ruvllm.serve.errors import ApiError, api_error
from ruvllm.serve.generation import check_length
from ruvllm.serve.off_loop import Errand
from ruvllm.text.infill import Infill, InfillTokens

__all__ = ["PromptField", "check_texts", "infills_tokens", "text_of", "texts_of", "tokens_of"]

# A text is taken up to so many bytes of UTF-8, or so many for each token of the context where that is more: a
# tokenizer takes forty bytes of memory for each.
MOST_BYTES = 1_048_576
BYTES_PER_TOKEN = 8
# Token ids are made into text up to so many, or as many as the context has.
MOST_TOKENS = 131_072
# Elements of a list that one call goes through.
SLICE = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptField:
    """A field that holds prompts: its name, and what is said where one of them has no tokens.

    With `makes_text` there must be room for an answer; else the context may be filled. Texts such as
    `<|im_end|>` become the tokens of that name where it parses special ones.
    """

    name: str
    if_empty: str
    makes_text: bool = False
    parse_special: bool = True


async def tokens_of(
    errand: Errand, model: AskedModel, given: Sequence[str | list[int]], prompt_field: PromptField
) -> list[list[int]]:
    """The tokens of texts, or token ids checked; 400 by the field where there are none, or too many."""

    def work() -> list[list[int]]:
        seen: dict[int, int] = {}
        return [_tokens_of(model, one, prompt_field, seen) for one in given]

    return await errand.do(sum(map(len, given)), work)


def _tokens_of(
    model: AskedModel, given: str | list[int], prompt_field: PromptField, seen: dict[int, int]
) -> list[int]:
    llm = model.llm
    limit = llm.model_info.max_context
    try:
        if isinstance(given, str):
            check_texts(model, [given], param=prompt_field.name)
            given = llm.tokenize(given, parse_special=prompt_field.parse_special)
        if prompt_field.makes_text:
            check_length(model, len(given))
        elif len(given) > limit:
            raise ContextLengthError.exceeded(prompt_tokens=len(given), max_context=limit)
        tokens = check_tokens(given, llm.model_info.vocab_size) if given else []
    except RuvLLMError as error:
        raise api_error(error, param=prompt_field.name) from error
    if not tokens:
        raise ApiError(400, prompt_field.if_empty, code="invalid_value", param=prompt_field.name)
    _share(tokens, seen)
    return tokens


def _share(tokens: list[int], seen: dict[int, int]) -> None:
    """Let equal ids be one object: otherwise a list of them takes five times the memory while it waits."""
    for start in range(0, len(tokens), SLICE):
        piece = tokens[start : start + SLICE]
        tokens[start : start + SLICE] = map(seen.setdefault, piece, piece)


def check_texts(model: AskedModel, texts: Iterable[str], *, param: str) -> None:
    """Refuse texts that are together longer than what is turned into tokens at once."""
    most = max(MOST_BYTES, BYTES_PER_TOKEN * model.llm.model_info.max_context)
    num_bytes = sum(len(text) if text.isascii() else len(text.encode()) for text in texts)
    if num_bytes > most:
        message = f"the text in {param} has {num_bytes} bytes; at most {most} are turned into tokens"
        raise ApiError(400, message, code="context_length_exceeded", param=param)


async def infills_tokens(
    errand: Errand, model: AskedModel, infills: Sequence[Infill], *, param: str, room_for: int | None = None
) -> list[InfillTokens]:
    """The tokens of what is to be filled in; 400 by the field where the model cannot, or it does not fit.

    With `room_for` what is farthest from the cursor is left out, so that an answer has so much room.
    """
    texts = [_texts_of_infill(infill) for infill in infills]

    def work() -> list[InfillTokens]:
        found = []
        for infill, parts in zip(infills, texts, strict=True):
            check_texts(model, parts, param=param)
            found.append(model.llm.infill_prompt(infill, room_for=room_for))
            check_length(model, len(found[-1].token_ids))
        return found

    try:
        return await errand.do(sum(len(part) for parts in texts for part in parts), work)
    except RuvLLMError as error:
        raise api_error(error, param=param) from error


def _texts_of_infill(infill: Infill) -> list[str]:
    files = [part for file in infill.extra for part in file]
    return [infill.prefix, infill.suffix, infill.begun, *files]


async def text_of(errand: Errand, model: AskedModel, tokens: list[int], *, param: str) -> str:
    """The text of token ids; 400 where they are too many, or make too long a text."""
    most = max(MOST_TOKENS, model.llm.model_info.max_context)
    if len(tokens) > most:
        message = f"{param} has {len(tokens)} token ids; at most {most} are made into text"
        raise ApiError(400, message, code="invalid_value", param=param)
    return (await texts_of(errand, model, [tokens], param=param))[0]


async def texts_of(
    errand: Errand, model: AskedModel, given: Sequence[str | list[int]], *, param: str
) -> list[str]:
    """Prompts as texts; 400 where they make too long ones: a token may be eighty characters."""

    def work() -> list[str]:
        texts, num_characters = [], 0
        for one in given:
            text = one if isinstance(one, str) else model.llm.detokenize(one) if one else ""
            texts.append(text)
            num_characters += len(text) if isinstance(one, list) else 0
            if num_characters > MOST_BYTES:
                message = f"the token ids of {param} make a text of more than {MOST_BYTES} characters"
                raise ApiError(400, message, code="invalid_value", param=param)
        return texts

    try:
        return await errand.do(sum(len(one) for one in given if isinstance(one, list)), work)
    except RuvLLMError as error:
        raise api_error(error, param=param) from error
