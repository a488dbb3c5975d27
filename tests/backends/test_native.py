"""What is the native backend's own: which model's threads run."""

import threading
import time
from pathlib import Path

import pytest

from ruvllm import GenerateParams, InvalidOperationError
from ruvllm.backends import NativeBackend
from tests.conftest import FIXTURES

TINY = str(FIXTURES / "gguf" / "llama-gqa.gguf")
LONG = GenerateParams(temperature=0.0, max_tokens=800, ignore_eos=True, cache_prefix=False)


def engines() -> int:
    """Engines that run in this process, those of other tests' models included."""
    return sum(thread.name == "ruvllm-engine" for thread in threading.enumerate())


@pytest.mark.real_model
def test_a_model_in_place_of_another_ends_the_other(smollm2_path: Path) -> None:
    """Even while it makes an answer, whose caller holds it."""
    backend = NativeBackend()
    before = engines()
    backend.load_model(str(smollm2_path))
    outcomes: list[str | Exception] = []

    def ask() -> None:
        try:
            outcomes.append(backend.generate("Once upon a time", LONG))
        except InvalidOperationError as error:
            outcomes.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    deadline = time.monotonic() + 20
    while not backend.memory_stats().running_requests:
        assert time.monotonic() < deadline
        time.sleep(0.002)
    backend.load_model(TINY)
    asking.join(50)
    (outcome,) = outcomes
    assert isinstance(outcome, InvalidOperationError), "the answer went on"
    assert "closed before the request was done" in str(outcome)
    assert engines() == before + 1
    assert backend.generate("The terms", GenerateParams(max_tokens=2, ignore_eos=True))
    backend.close()
    assert engines() == before
