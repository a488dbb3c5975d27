"""The backends that the conformance suite runs against. A new one adds a row to `BACKENDS`."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ruvllm.backends import LlmBackend, NativeBackend

BACKENDS: dict[str, Callable[[], Any]] = {"native": NativeBackend}


@pytest.fixture(params=BACKENDS)
def make_backend(request: pytest.FixtureRequest) -> Iterator[Callable[[], LlmBackend]]:
    """Makes backends with nothing loaded, and closes them after the test."""
    made: list[Any] = []

    def make() -> LlmBackend:
        made.append(BACKENDS[request.param]())
        return made[-1]

    yield make
    for backend in made:
        backend.close()


@pytest.fixture(params=BACKENDS, scope="module")
def backend(request: pytest.FixtureRequest, smollm2_path: Path) -> Iterator[LlmBackend]:
    """A backend with the default model, for tests that only ask it."""
    made = BACKENDS[request.param]()
    made.load_model(str(smollm2_path))
    yield made
    made.close()
