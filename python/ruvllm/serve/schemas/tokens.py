"""The bodies of `/tokenize` and `/detokenize`, as vLLM and llama.cpp have them."""

from typing import Annotated, ClassVar

from pydantic import Field

from ruvllm.serve.schemas.base import Body, Entries
from ruvllm.serve.schemas.chat import MAX_MESSAGES, ChatMessage
from ruvllm.serve.schemas.refusals import REFUSED_IN_TEMPLATES
from ruvllm.serve.schemas.token_ids import AnyTokenIds
from ruvllm.serve.schemas.tools import Tools

__all__ = ["DetokenizeRequest", "TokenizeRequest"]


class TokenizeRequest(Body):
    """A text, under either engine's name for it, or a conversation."""

    model: str | None = None
    prompt: str | None = None
    content: str | None = Field(None, description="llama.cpp's name for prompt.")
    messages: Annotated[list[ChatMessage], Entries(MAX_MESSAGES, least=1)] | None = None
    add_special_tokens: bool | None = Field(None, description="Put the model's first token before a text.")
    return_token_strs: bool | None = None
    parse_special: bool | None = Field(
        None,
        description="Take texts such as <|im_end|> for control tokens: in a text unless false, in "
        "messages if true.",
    )
    tools: Tools | None = None
    refused: ClassVar[dict[str, str]] = {
        **REFUSED_IN_TEMPLATES,
        "with_pieces": "ask for return_token_strs",
    }


class DetokenizeRequest(Body):
    """Tokens that are to become text."""

    model: str | None = None
    tokens: AnyTokenIds
