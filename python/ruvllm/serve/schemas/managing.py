"""Bodies that load, give up and fetch models, as llama.cpp's server has them."""

from typing import Annotated

from pydantic import Field

from ruvllm.serve.schemas.base import Body, Finite

__all__ = ["ManagedModel", "WaitedFor"]


class ManagedModel(Body):
    """Which model is meant."""

    model: str = Field(min_length=1, max_length=4096, description="A name that /v1/models lists.")


class WaitedFor(ManagedModel):
    """The same where it may take a while."""

    wait: Annotated[
        Finite | None, Field(ge=0, le=600, description="Seconds that the answer may wait for it.")
    ] = None
