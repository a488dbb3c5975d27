"""The adapters that are published to all workers, as one of them has them."""

import logging
from collections.abc import Mapping
from pathlib import Path

from ruvllm.adapters.registry import Adapters
from ruvllm.adapters.source import read_adapter
from ruvllm.errors import RuvLLMError

__all__ = ["PublishedAdapters"]

logger = logging.getLogger("ray.serve")


class PublishedAdapters:
    """Those of one worker."""

    def __init__(self, adapters: Adapters) -> None:
        self._adapters = adapters
        self._folders: dict[str, Path] = {}
        self._has_begun = False

    def take(self, wanted: Mapping[str, Path]) -> None:
        """Have these, by name; a folder that is had already is not read again.

        A worker that begins raises where one cannot be had, and takes no requests. One that runs says so in
        its log, and goes on with what it has: it would be ended for the error, and all others with it.
        """
        try:
            self._take({name: folder for name, folder in wanted.items() if self._folders.get(name) != folder})
        except (RuvLLMError, OSError):
            if not self._has_begun:
                raise
            logger.exception("the adapters that are published cannot be had; those of before stay")
            return
        self._has_begun = True
        for name in self._folders.keys() - wanted.keys():
            self._adapters.unload(name)
            del self._folders[name]

    def _take(self, new: Mapping[str, Path]) -> None:
        # All are read before the first is changed.
        weights = {name: read_adapter(folder) for name, folder in new.items()}
        for name, folder in new.items():
            put = self._adapters.replace if name in self._folders else self._adapters.load
            info = put(name, weights[name])
            self._folders[name] = folder
            logger.info("the adapter %s is generation %s of %s", name, info.generation, folder)
