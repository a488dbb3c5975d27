"""All models of a server, by the names that requests ask for."""

import difflib
from collections.abc import Iterator, Sequence

from ruvllm.errors import ConfigError
from ruvllm.serve.errors import ApiError
from ruvllm.serve.keys import KeyRing
from ruvllm.serve.models import ServedModel

__all__ = ["LATEST", "ServedModels"]

# Adapters of each model that an error names.
SHOWN = 8
# The version of a model that names without one mean to Ollama's clients.
LATEST = "latest"


class ServedModels:
    """All of them; the first is the one that `/health` speaks of, and loads at the start."""

    def __init__(
        self, models: Sequence[ServedModel], keys: KeyRing, *, keep_seconds: float | None = None
    ) -> None:
        """Serve models, each of which stays loaded for `keep_seconds` after its last use."""
        self._models: dict[str, ServedModel] = {}
        self._keep_seconds = keep_seconds
        self._quotas = {key.tenant: key.kv_quota_bytes for key in keys if key.kv_quota_bytes is not None}
        for model in models:
            self.add(model)

    def __iter__(self) -> Iterator[ServedModel]:
        # While somebody awaits in a loop over them, one may come or go.
        return iter(list(self._models.values()))

    @property
    def first(self) -> ServedModel:
        """The model of requests that may leave it open."""
        return next(iter(self))

    def find(self, name: str) -> ServedModel | None:
        """The model of this name; adapters have other names, see `meant_by`."""
        return self._models.get(name)

    def named(self, name: str) -> ServedModel:
        """The model of this name, and no adapter; 404. `NAME:latest` is `NAME`, as in `meant_by`."""
        if (model := self.served_as(name)) is None:
            raise self.not_found(name)
        return model

    def served_as(self, name: str) -> ServedModel | None:
        """The same, or `None`."""
        return self._models.get(name) or self._models.get(self._without_version(name))

    def add(self, model: ServedModel) -> None:
        """Serve one more; where there is one of its name, that stays."""
        if model.name not in self._models:
            model.hold_tenants_to(self._quotas)
            if self._keep_seconds is not None and not model.is_owner:
                raise ConfigError(
                    f"idle_unload gives up what the server loads, and {model.name} is loaded by its program, "
                    "which closes it: leave it out, or pass `ServedModel`s"
                )
            model.keep_for(self._keep_seconds)
            self._models[model.name] = model

    def remove(self, model: ServedModel) -> None:
        """Serve one no more."""
        del self._models[model.name]

    def meant_by(self, name: str | None) -> tuple[ServedModel, str | None]:
        """The model that a name asks for, and the adapter; the first model where there is no name; 404.

        A model goes before an adapter of its name, and of adapters of one name that of the earlier model;
        `BASE:NAME` says which is meant. Whether that one is there is known once its model is loaded.
        `NAME:latest`, as Ollama's clients complete a name, is `NAME` where it is not itself a name.
        """
        if name is None:
            return self.first, None
        if name not in self._models:
            name = self._without_version(name)
        if (model := self._models.get(name)) is not None:
            return model, None
        if (model := next((one for one in self if one.has_adapter(name)), None)) is not None:
            return model, name
        # A model's name may have a colon, and an adapter's has none.
        base, _, adapter = name.rpartition(":")
        if (model := self._models.get(base)) is not None:
            return model, adapter
        raise self.not_found(name)

    def _without_version(self, name: str) -> str:
        base, _, version = name.rpartition(":")
        model = self._models.get(base)
        is_adapter = model is not None and model.has_adapter(LATEST)
        return base if base and version == LATEST and not is_adapter else name

    def adapter_id(self, model: ServedModel, adapter: str) -> str:
        """What requests call an adapter of a model: its name, where that means no other."""
        plain = adapter not in self._models and self.meant_by(adapter) == (model, adapter)
        return adapter if plain else f"{model.name}:{adapter}"

    def not_found(self, name: str) -> ApiError:
        """The answer to a name that nothing has: what there is, what was meant, and what else to do."""
        known = [*self._models, *(one.name for model in self for one in model.adapters()[:SHOWN])]
        meant = difflib.get_close_matches(name[:100], known, n=1)
        hint = f" Did you mean {meant[0]!r}?" if meant else ""
        message = (
            f"the model {name[:100]!r} does not exist; there is {', '.join(known)}.{hint} Another is named "
            "when the server is started (`ruvllm serve NAME`), or fetched by an admin key at POST /models"
        )
        return ApiError(404, message, code="model_not_found", param="model")

    @property
    def are_being_opened(self) -> bool:
        """Whether threads still load some of them."""
        return any(model.is_being_opened for model in self)

    async def close(self) -> None:
        """End all of them."""
        for model in self:
            await model.close()
