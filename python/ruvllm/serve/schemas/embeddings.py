"""The body of `/v1/embeddings`."""

from typing import ClassVar, Literal

from pydantic import Field

from ruvllm.serve.schemas.base import Body
from ruvllm.serve.schemas.token_ids import Prompts

__all__ = ["EmbeddingRequest"]


class EmbeddingRequest(Body):
    """Texts, or token ids, that are to become vectors."""

    model: str
    input: Prompts
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = Field(None, ge=1, description="Keep so many values, at unit length again.")
    accepted: ClassVar[frozenset[str]] = frozenset({"user"})
    refused: ClassVar[dict[str, str]] = {"input_type": "the model knows one kind of input"}
