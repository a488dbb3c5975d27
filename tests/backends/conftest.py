"""The backends that the suites run against, each where what it stands on is installed."""

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ruvllm import LLM
from ruvllm.backends import EngineBackend, LlmBackend, NativeBackend
from ruvllm.backends.registry import backend_called
from ruvllm.backends.supports import Supports
from tests.backends.outside import installed
from tests.conftest import FIXTURES
from tests.serve.tiny_models import with_chat_template

WITHOUT_MISTRALRS = pytest.mark.skipif(
    importlib.util.find_spec("mistralrs") is None, reason="mistralrs is not installed"
)
WITHOUT_CANDLE = pytest.mark.skipif(
    importlib.util.find_spec("ruvllm_candle") is None,
    reason="ruvllm-candle is not installed: make test-candle builds it",
)
# For texts, on a real model.
BACKENDS: dict[str, Callable[[], Any]] = {
    "native": NativeBackend,
    "mistralrs": lambda: EngineBackend("mistralrs"),
    "candle": lambda: EngineBackend("candle"),
}
NEEDED: dict[str, Any] = {"mistralrs": WITHOUT_MISTRALRS, "candle": WITHOUT_CANDLE}
ROWS = [pytest.param(name, marks=NEEDED.get(name, ())) for name in BACKENDS]
# With all that stands on `LLM`, on a model of random weights.
ENGINES = [*ROWS, pytest.param("numpy")]
TINY = FIXTURES / "gguf" / "llama-gqa.gguf"


@pytest.fixture(autouse=True, scope="package")
def one_thread() -> Iterator[None]:
    """mistralrs spins while its threads wait: as many as processors, and others at work, take very long."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RUVLLM_THREADS", "1")
        yield


@pytest.fixture(autouse=True, scope="package")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A package that brings the backend `numpy`, installed for the tests here."""
    folder = installed(
        tmp_path_factory.mktemp("outside"), numpy="tests.support.reference_backend:ReferenceBackend"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield folder


@pytest.fixture(params=ROWS)
def make_backend(request: pytest.FixtureRequest) -> Iterator[Callable[[], LlmBackend]]:
    """Makes backends with nothing loaded, and closes them after the test."""
    made: list[Any] = []

    def make() -> LlmBackend:
        made.append(BACKENDS[request.param]())
        return made[-1]

    yield make
    for backend in made:
        backend.close()


@pytest.fixture(params=ROWS, scope="module")
def backend(request: pytest.FixtureRequest, smollm2_path: Path) -> Iterator[LlmBackend]:
    """A backend with the default model, for tests that only ask it."""
    made = BACKENDS[request.param]()
    made.load_model(str(smollm2_path))
    yield made
    made.close()


@pytest.fixture(scope="module")
def supports(backend: LlmBackend) -> Supports:
    """What the backend can."""
    assert isinstance(backend, EngineBackend)
    made: Supports = backend_called(backend._backend).supports
    return made


@pytest.fixture(scope="package")
def tiny_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of random weights, with a chat template that it never learned."""
    return with_chat_template(TINY, tmp_path_factory.mktemp("models") / TINY.name)


@pytest.fixture(params=ENGINES, scope="module")
def engine(request: pytest.FixtureRequest, outside: Path, tiny_path: Path) -> Iterator[LLM]:
    """That model on each engine."""
    with LLM(tiny_path, backend=request.param, progress=False) as llm:
        yield llm
