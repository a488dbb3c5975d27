"""Which backends there are, and how they are named."""

from pathlib import Path

import pytest

from ruvllm import LLM, ConfigError, DeviceType, ModelConfig
from ruvllm.backends.registry import backend_called, backend_names, parse_backend
from ruvllm.cli.fetching import fetched
from ruvllm.engine_settings import EngineSettings
from tests.backends.conftest import TINY, WITHOUT_MISTRALRS
from tests.backends.outside import installed
from tests.support.reference_backend import ReferenceBackend

CUDA = DeviceType.Cuda(3)
# It would have to be fetched, and there is none.
ELSEWHERE = "org/there-is-no-such-model"


class WithoutCpu(ReferenceBackend):
    """One that has the card alone."""

    def devices(self) -> tuple[DeviceType, ...]:
        return (CUDA,)


def test_ours_come_first_and_others_are_found_by_their_entry_points() -> None:
    # That of another package of ours is found like anybody's, where it is installed.
    assert [one for one in backend_names() if one != "candle"] == ["native", "mistralrs", "numpy"]


def test_nobody_takes_the_name_of_one_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(installed(tmp_path, native="tests.nowhere:Nothing")))
    assert backend_called("native").name == "native"


def test_one_that_there_is_not_is_refused_before_anything_is_fetched() -> None:
    with pytest.raises(ConfigError, match=r"backend is 'nobody'; there are native, mistralrs,.* numpy"):
        LLM(ELSEWHERE, backend="nobody")


def test_one_of_ours_that_is_not_installed_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: ())
    with pytest.raises(
        ConfigError, match=r"'candle' needs the package ruvllm-candle: pip install 'ruvllm\[candle\]'"
    ):
        LLM(ELSEWHERE, backend="candle")


@pytest.mark.parametrize(
    ("backend", "message"),
    [
        ("native:x=1", "'native' has no option 'x'"),
        ("numpy:x=1", "'numpy' has no option 'x'"),
        pytest.param("mistralrs:speed=1", "has no option 'speed'", marks=WITHOUT_MISTRALRS),
        pytest.param("mistralrs:max_seqs=0", "max_seqs is 0", marks=WITHOUT_MISTRALRS),
        pytest.param("mistralrs:xlora_model_id=there", "X-LoRA needs both", marks=WITHOUT_MISTRALRS),
    ],
)
def test_an_option_is_refused_before_anything_is_fetched(backend: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LLM(ELSEWHERE, backend=backend)
    with pytest.raises(ConfigError, match=message):
        fetched(ELSEWHERE, quiet=True, cache=None, settings=EngineSettings(backend=backend))


def test_what_is_not_installed_is_refused_before_anything_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"needs the package mistralrs: pip install"):
        LLM(ELSEWHERE, backend="mistralrs")


def test_a_device_is_refused_before_anything_is_fetched() -> None:
    with pytest.raises(ConfigError, match=r"Cuda\(3\), and the backend 'native' has DeviceType.Cpu"):
        LLM(ELSEWHERE, config=ModelConfig(device=CUDA))


def test_one_without_a_cpu_runs_where_it_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(installed(tmp_path, card="tests.backends.test_registry:WithoutCpu")))
    with LLM(TINY, backend="card", progress=False) as llm:
        assert llm.model_info.device == CUDA


def test_one_that_cannot_be_imported_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(installed(tmp_path, broken="tests.nowhere:Nothing")))
    with pytest.raises(
        ConfigError, match=r"'broken' \(tests.nowhere:Nothing\) cannot be imported: No module"
    ):
        LLM(TINY, backend="broken")


@pytest.mark.parametrize("text", ["native:", "native:a", "native:=1", "native:a=1,"])
def test_what_is_no_option(text: str) -> None:
    if text == "native:":
        assert parse_backend(text) == ("native", {})
        return
    with pytest.raises(ConfigError, match="NAME or NAME:OPTION=VALUE"):
        parse_backend(text)


def test_an_option_is_given_once() -> None:
    with pytest.raises(ConfigError, match="gives a twice"):
        parse_backend("native:a=1,a=2")


@pytest.mark.parametrize("name", ["native", "numpy"])
def test_an_option_that_it_does_not_have(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"'{name}' has no option 'speed'"):
        LLM(TINY, backend=f"{name}:speed=1", progress=False)


def test_a_device_is_of_a_backend() -> None:
    """The tests' own says that it has one which ours does not."""
    assert DeviceType.auto() == DeviceType.Cpu
    assert CUDA.is_present
    assert DeviceType.present() == (DeviceType.Cpu, CUDA)
    config = ModelConfig(device=CUDA)
    with LLM(TINY, config=config, backend="numpy", progress=False) as llm:
        assert llm.model_info.device == CUDA
    with pytest.raises(
        ConfigError, match=r"DeviceType.Cuda\(3\), and the backend 'native' has DeviceType.Cpu"
    ):
        LLM(TINY, config=config, progress=False)
    with pytest.raises(
        ConfigError, match=r"present: DeviceType.Cpu \(native.*DeviceType.Cuda\(3\) \(numpy\)"
    ):
        ModelConfig(device=DeviceType.Metal)
