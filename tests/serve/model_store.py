"""Where a server of the tests fetches a model from: a registry of one, from an index of the test's own."""

import threading
from dataclasses import replace
from pathlib import Path

import ruvllm.hub as hub
from ruvllm import LLM
from ruvllm.cli.served import check_is_fetched
from ruvllm.hub import Registry
from ruvllm.hub.progress import Report
from ruvllm.serve import ServedModel
from ruvllm.serve.pulling import ModelStore
from tests.hub.wheels import make_entry

__all__ = ["NEW", "Store"]

NEW = "brand-new"


class Store:
    """What `ruvllm serve` has, for a registry of one model; `hold` stops a fetch in its middle."""

    def __init__(self, path: Path, cache: Path) -> None:
        content = path.read_bytes()
        middle = len(content) // 2
        self.pieces = [content[:middle], content[middle:]]
        self.entry = make_entry(self.pieces, name=NEW)
        self.registry = Registry([replace(self.entry, aliases=())])
        self.cache = cache
        self.hold = threading.Event()
        self.hold.set()
        self.fetched = 0

    def check(self, name: str) -> None:
        check_is_fetched(name, self.registry)

    def fetch(self, name: str, report: Report) -> ServedModel:
        self.fetched += 1

        def held(done: int, total: int) -> None:
            report(done, total)
            if done >= len(self.pieces[0]):
                assert self.hold.wait(20)

        path = hub.pull(name, cache=self.cache, registry=self.registry, report=held)
        model = ServedModel(name, lambda: LLM(path))
        model.was_fetched = True
        return model

    def remove(self, name: str) -> object:
        return hub.remove(name, cache=self.cache, registry=self.registry)

    def made(self) -> ModelStore:
        return ModelStore(self.check, self.fetch, self.remove)
