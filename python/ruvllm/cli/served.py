"""From the arguments of `ruvllm serve`, and names that clients have fetched, to models that it serves."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import ruvllm.hub as hub
from ruvllm.cli.fetching import fetched
from ruvllm.cli.model_files import LEARNED, file_of_model
from ruvllm.cli.options import EngineOptions
from ruvllm.cli.serve_options import Serving
from ruvllm.config import Limits
from ruvllm.errors import ConfigError

if TYPE_CHECKING:
    from ruvllm.hub.progress import Report
    from ruvllm.llm import LLM
    from ruvllm.serve import ModelStore, ServedModel

__all__ = ["ModelMaker", "check_is_fetched", "give_adapters"]


@dataclass(frozen=True, slots=True)
class ModelMaker:
    """Makes the models of one server, all with the same settings."""

    engine: EngineOptions
    serving: Serving

    def of_argument(self, argument: str, *, quiet: bool) -> "ServedModel":
        """A model by its argument, its file fetched now, so that a wrong name ends the command."""
        name, separator, reference = argument.partition("=")
        if not separator or Path(argument).exists():
            name, reference = argument, argument
        settings = self.engine.settings
        path = fetched(reference, quiet=quiet, cache=self.engine.cache_dir, settings=settings)
        if name == reference:
            name = hub.called(reference, hub.DEFAULT_REGISTRY)
        return self._made(name, path)

    def store(self) -> "ModelStore":
        """Where clients may have further ones fetched from."""
        from ruvllm.serve import ModelStore

        return ModelStore(check_is_fetched, self._fetch, self._remove)

    def _fetch(self, name: str, report: "Report") -> "ServedModel":
        model = self._made(name, hub.pull(name, cache=self.engine.cache_dir, report=report))
        model.was_fetched = True
        return model

    def _remove(self, name: str) -> object:
        return hub.remove(name, cache=self.engine.cache_dir)

    def _made(self, name: str, path: Path) -> "ServedModel":
        from ruvllm.serve import ServedModel

        # Whole, so that answers, which name no folder, know one where they see it.
        path = path.absolute()
        serving = self.serving
        served = ServedModel(
            name,
            lambda: self._open(path, served.loading.note),
            prefix_file=file_of_model(serving.prefix_cache_dir, name, "prefixes"),
        )
        served.learned_folder = file_of_model(serving.learn_dir, name, LEARNED)
        served.adapter_list = file_of_model(serving.adapter_list_dir, name, "adapters.json")
        return served

    def _open(self, path: Path, progress: Callable[[int, int], None]) -> "LLM":
        from ruvllm.llm import LLM

        limits = Limits(max_waiting=self.serving.max_waiting) if self.serving.max_waiting else None
        # It may load while it serves, and says so in its log and at /v1/models.
        return LLM(path, progress=progress, **replace(self.engine.settings, limits=limits).keywords())


def check_is_fetched(name: str, registry: hub.Registry = hub.DEFAULT_REGISTRY) -> None:
    """Refuse a path: what lies here is the operator's, and no client's to name."""
    if isinstance(hub.parse(name, registry), hub.LocalModelPath):
        raise ConfigError(
            "a path is not fetched: give the name of a model, as smollm2-135m or org/repo:Q4_K_M"
        )


def give_adapters(given: Iterable[str], served: Sequence["ServedModel"]) -> None:
    """Tell the models which adapters they come with; what is no folder ends the command."""
    models = {one.name: one for one in served}
    for argument in given:
        # A model's name may have a colon; an adapter's has none.
        whole_name, _, folder = argument.partition("=")
        base, _, name = whole_name.rpartition(":")
        model = models.get(base) if base else served[0]
        if not name or not folder or model is None or name in models or model.has_adapter(name):
            raise ConfigError(
                f"--adapter {argument!r}: it must be NAME=FOLDER or MODEL:NAME=FOLDER, with a name that is "
                f"given once and is no model's, and one of the models {', '.join(models)}"
            )
        if not Path(folder).is_dir():
            raise ConfigError(f"--adapter {argument!r}: {folder} is no folder")
        model.comes_with(name, Path(folder).absolute())
