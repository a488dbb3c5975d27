"""What a request's `model` means: a model, and an adapter on it where the name is an adapter's.

`NAME` is a model, or else the adapter of that name; `BASE:NAME` is the adapter of this model. What a name
stands for is found once for a request, when it comes, and holds for all that the request comes to.
"""

import hashlib
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ruvllm.async_engine import AsyncEngine
from ruvllm.errors import NotFoundError
from ruvllm.llm import LLM
from ruvllm.serve.models import ServedModel
from ruvllm.serve.served_models import ServedModels

if TYPE_CHECKING:
    from ruvllm.adapters.registry import ChosenAdapters

__all__ = ["AskedModel", "asked_model"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedModel:
    """A model as a request asked for it, loaded.

    Attributes:
        name: As it was asked for; answers repeat it.
        served: The model.
        adapter: The name of the adapter, by which metrics count it.
        adapters: The adapter as it was when the request came.
    """

    name: str
    served: ServedModel
    adapter: str | None = None
    adapters: "ChosenAdapters" = ()

    @property
    def llm(self) -> LLM:
        """The loaded model, for what does not wait."""
        return self.served.llm

    @property
    def fingerprint(self) -> str:
        """What answers depend on besides the request: `system_fingerprint`."""
        if not self.adapters:
            return self.served.fingerprint
        [(generation, _)] = self.adapters
        both = f"{self.served.fingerprint} {generation.digest}"
        return f"fp_{hashlib.blake2s(both.encode(), digest_size=5).hexdigest()}"

    async def ready(self) -> AsyncEngine:
        """The engine."""
        return await self.served.ready()


async def asked_model(models: ServedModels, name: str | None, ends: ExitStack) -> AskedModel:
    """What a name means, loaded first where it is not; the first model where there is none. Else 404.

    The model is held until `ends` are closed.
    """
    served, adapter = models.meant_by(name)
    ends.enter_context(served.uses.one())
    engine = await served.ready()
    if adapter is None:
        return AskedModel(name=name or served.name, served=served)
    try:
        chosen = engine.adapters.chosen(adapter)
    except NotFoundError:
        raise models.not_found(name or adapter) from None
    return AskedModel(name=name or adapter, served=served, adapter=adapter, adapters=chosen)
