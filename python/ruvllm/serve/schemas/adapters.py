"""Bodies that load and unload adapters, as vLLM has them."""

from pydantic import Field

from ruvllm.serve.schemas.base import Body

__all__ = ["LoadAdapterRequest", "UnloadAdapterRequest"]


class UnloadAdapterRequest(Body):
    """Which adapter is to go."""

    lora_name: str = Field(min_length=1, max_length=1000, description="What requests give as `model`.")
    model: str | None = Field(None, description="The model that it is for; the first where it is left out.")


class LoadAdapterRequest(UnloadAdapterRequest):
    """Which adapter is to come, and from where."""

    lora_path: str = Field(
        min_length=1,
        max_length=4096,
        description="A folder of PEFT's in one of those that the server was told by --adapter-dir.",
    )
    load_inplace: bool | None = Field(
        None, description="Where the name is taken, give it this content; requests that run keep theirs."
    )
