"""Conversations on their way into a model: the one place where any API's messages become tokens."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ruvllm.errors import RuvLLMError
from ruvllm.serve.asked_model import AskedModel
from ruvllm.serve.errors import api_error
from ruvllm.serve.generation import check_length
from ruvllm.serve.off_loop import Errand
from ruvllm.serve.prompts import check_texts

__all__ = ["MESSAGE_SIZE", "Conversation", "conversation_tokens", "prompt_tokens"]

# How long a message takes on its way, be it empty, in the unit of `off_loop.AT_ONCE`.
MESSAGE_SIZE = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """Messages that are to be answered.

    Attributes:
        messages: Each with `role` and `content`, a text.
        continues_last: Whether the last message, the assistant's, is the beginning of the answer.
        parse_special: Whether texts of control tokens in messages become these tokens.
        thinks: Whether a model that may think first does so; templates know it as `enable_thinking`.
        param: The field that they came in, for errors.
    """

    messages: Sequence[Mapping[str, Any]]
    continues_last: bool = False
    parse_special: bool = False
    thinks: bool = True
    param: str = "messages"


async def conversation_tokens(errand: Errand, model: AskedModel, conversation: Conversation) -> list[int]:
    """The tokens of a conversation, fit they the context or not; 400 where the template refuses it."""
    variables = None if conversation.thinks else {"enable_thinking": False}
    contents = [message["content"] for message in conversation.messages]

    def work() -> list[int]:
        check_texts(model, contents, param=conversation.param)
        return model.llm.chat_tokens(
            conversation.messages,
            continue_last=conversation.continues_last,
            variables=variables,
            parse_special=conversation.parse_special,
        )

    try:
        return await errand.do(sum(map(len, contents)) + MESSAGE_SIZE * len(contents), work)
    except RuvLLMError as error:
        raise api_error(error, param=conversation.param) from error


async def prompt_tokens(errand: Errand, model: AskedModel, conversation: Conversation) -> list[int]:
    """The same for one that is to be answered: 400 where it leaves no room for an answer."""
    token_ids = await conversation_tokens(errand, model, conversation)
    try:
        check_length(model, len(token_ids))
    except RuvLLMError as error:
        raise api_error(error, param=conversation.param) from error
    return token_ids
