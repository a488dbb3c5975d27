"""`ruvllm doctor MODEL`: what it says, with the real engine's word on the model."""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

import ruvllm._native as real_native
from ruvllm import InferenceConfig, SystemCapabilities, hub
from tests.conftest import FIXTURES

Ruvllm = Callable[..., Any]
TINY = str(FIXTURES / "gguf" / "llama-gqa.gguf")


@pytest.fixture(autouse=True)
def real_engine(clean: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The extension itself, of which the commands' stand-in has no models."""
    monkeypatch.setitem(sys.modules, "ruvllm._native", real_native)


def machine_with(free: int | None, monkeypatch: pytest.MonkeyPatch) -> SystemCapabilities:
    system = replace(SystemCapabilities.detect(), free_bytes=free)
    monkeypatch.setattr(SystemCapabilities, "detect", staticmethod(lambda **asked: system))
    return system


def test_it_says_what_is_planned_and_why(ruvllm: Ruvllm, monkeypatch: pytest.MonkeyPatch) -> None:
    system = machine_with(10**10, monkeypatch)
    config = InferenceConfig.auto(TINY, system)
    result = ruvllm("doctor", TINY, "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["config"] == asdict(config)
    assert report["machine"] == asdict(system) | {"device": "cpu"}
    assert (report["model"], report["path"]) == (TINY, TINY)
    result = ruvllm("doctor", TINY)
    assert (result.exit_code, result.stderr) == (0, "")
    for reason in config.reasons.values():
        assert reason in result.stdout
    for value in ("10.0 GB free of", "quantization    F32:", "kv format       f32:", "512 tokens:"):
        assert value in result.stdout


def test_a_format_that_is_only_recommended_is_said_to_be(
    ruvllm: Ruvllm, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = InferenceConfig.auto(TINY).weight_bytes
    machine_with(weights + 300_000, monkeypatch)
    result = ruvllm("doctor", TINY)
    assert result.exit_code == 0
    assert "kv format       int8:" in result.stdout
    assert "without --kv-format int8 it stays f32, with a context of" in result.stderr
    assert ruvllm("doctor", TINY, "--kv-format", "int8").stderr == ""


def test_what_does_not_fit_is_a_problem(ruvllm: Ruvllm, monkeypatch: pytest.MonkeyPatch) -> None:
    machine_with(1000, monkeypatch)
    result = ruvllm("doctor", TINY)
    assert result.exit_code == 1
    assert "does not fit: its weights take" in result.stderr
    report = json.loads(ruvllm("doctor", TINY, "--json").stdout)
    assert (report["config"]["fits"], report["config"]["unasked"]) == (False, None)


def test_what_nobody_knows_is_said(ruvllm: Ruvllm, monkeypatch: pytest.MonkeyPatch) -> None:
    machine_with(None, monkeypatch)
    result = ruvllm("doctor", TINY)
    assert result.exit_code == 0
    assert "an unknown number of bytes free of" in result.stdout
    assert "the system does not tell what is free" in result.stdout


def test_flags_of_the_engine_stand(ruvllm: Ruvllm, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ("--max-context", "100", "--threads", "1", "--kv-format", "int8", "--isa", "scalar")
    report = json.loads(ruvllm("doctor", TINY, *arguments, "--json").stdout)
    config = report["config"]
    assert (config["max_context"], config["threads"], config["kv_format"]) == (100, 1, "int8")
    assert report["machine"]["isa"] == "scalar"
    monkeypatch.setenv("RUVLLM_KV_FORMAT", "k8v4")
    assert json.loads(ruvllm("doctor", TINY, "--json").stdout)["config"]["kv_format"] == "k8v4"
    # And a variable that is about models does not disturb who asks about the machine.
    assert ruvllm("doctor").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("nothing",), 1, "no model, file or folder is called 'nothing'"),
        (("smollm2-135m",), 1, "smollm2-135m is not on this machine; `ruvllm pull smollm2-135m` fetches it"),
        ((__file__,), 1, "a GGUF file begins with 'GGUF'"),
        ((TINY, "--max-context", "1000000"), 2, "made for 512 tokens at most"),
        ((TINY, "--measure"), 2, "leave MODEL out"),
        (("--max-context", "5"), 2, "name one"),
    ],
)
def test_what_is_wrong(ruvllm: Ruvllm, arguments: tuple[str, ...], status: int, words: str) -> None:
    result = ruvllm("doctor", *arguments)
    assert result.exit_code == status
    assert words in " ".join(result.stderr.split())
    assert result.stdout == ""


def test_nothing_is_fetched(ruvllm: Ruvllm, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fetch(*arguments: object, **options: object) -> Path:
        raise AssertionError("it was to be looked for, not fetched")

    monkeypatch.setattr(hub.download, "fetch", fetch)
    monkeypatch.setattr(hub.pypi, "fetch", fetch)
    assert "is not on this machine" in ruvllm("doctor", "org/repo:Q4_K_M").stderr
    assert "is not on this machine" in ruvllm("doctor", "gemma-3-270m").stderr
