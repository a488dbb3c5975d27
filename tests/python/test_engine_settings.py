"""The settings of an engine, spelt once: what every face says of them is what stands in the one table."""

import inspect
import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from ruvllm import LLM, AsyncEngine, ConfigError, ModelConfig, _native
from ruvllm._settings import Setting, settings_of
from ruvllm.engine_settings import EngineKeywords, EngineSettings, Isa
from tests.conftest import FIXTURES

MODEL = FIXTURES / "gguf" / "llama-gqa.gguf"
DOCS = Path(__file__).resolve().parents[2] / "docs"
SETTINGS = settings_of(EngineSettings)
FACES = [LLM.__init__, AsyncEngine.__init__, AsyncEngine.open]


def test_every_field_is_a_setting() -> None:
    assert [one.name for one in SETTINGS] == [field.name for field in fields(EngineSettings)]


def test_type_checkers_are_told_the_same() -> None:
    assert list(get_type_hints(EngineKeywords).items()) == list(get_type_hints(EngineSettings).items())


@pytest.mark.parametrize("face", FACES, ids=lambda face: face.__qualname__)
def test_a_face_shows_all_of_them(face: Any) -> None:
    """To `help`, to `inspect`, and to whoever asks for annotations, as documentation tools do."""
    parameters = inspect.signature(face).parameters
    assert {"model", "config", "progress"} == set(parameters) - {one.name for one in SETTINGS} - {"self"}
    for one in SETTINGS:
        assert parameters[one.name].kind is inspect.Parameter.KEYWORD_ONLY
        assert parameters[one.name].default == one.default
        assert get_type_hints(face)[one.name] == one.annotation
        said = re.search(rf"^ *{one.name}: ((?:.|\n)+?)(?=\n *\w+: |\Z)", inspect.getdoc(face), re.M)
        assert said, f"{face.__qualname__} does not tell of {one.name}"
        assert " ".join(said.group(1).split()) == one.help
    assert "settings" not in parameters


def test_a_class_shows_what_its_beginning_takes() -> None:
    assert list(inspect.signature(LLM).parameters) == list(inspect.signature(LLM.__init__).parameters)[1:]


@pytest.mark.parametrize("face", [LLM, AsyncEngine])
def test_a_name_that_is_none_is_a_type_error_that_helps(face: Any) -> None:
    with pytest.raises(TypeError, match=r"'kv_formt'.*did you mean 'kv_format'"):
        face(MODEL, kv_formt="int16")
    with pytest.raises(TypeError, match=r"'quux'.*there are threads, isa, "):
        face(MODEL, quux=1)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("n_ctx", "it is 'max_context' here"),
        ("max_model_len", "it is 'max_context' here"),
        ("n_threads", "it is 'threads' here"),
        ("model_path", "it is 'model' here"),
        ("type_k", "it is 'kv_format' here"),
        ("n_gpu_layers", "runs on the processor: leave it out"),
        ("torch_dtype", "org/repo:Q4_K_M"),
        ("seed", "GenerateParams"),
        ("max_num_seqs", "limits=Limits"),
    ],
)
def test_names_of_other_libraries_are_answered_with_ours(name: str, words: str) -> None:
    with pytest.raises(TypeError, match=f"{name!r}.*{re.escape(words)}"):
        LLM(MODEL, **{name: 4})


def test_what_they_are_answered_with_is_there() -> None:
    from ruvllm.engine_settings import _ELSEWHERE

    ours = {*inspect.signature(LLM).parameters}
    assert not ours & set(_ELSEWHERE)
    meant = {name for said in _ELSEWHERE.values() for name in re.findall(r"'(\w+)'", said)} - {"ruvllm"}
    assert meant
    assert meant <= ours


WRONG = {
    "threads": 0,
    "max_context": -1,
    "activations": "int4",
    "kv_format": "q5",
    "kv_cache_bytes": 1.5,
    "prefix_cache": 3,
    "limits": {"max_waiting": 3},
}


@pytest.mark.parametrize("one", [one for one in SETTINGS if one.name in WRONG], ids=lambda one: one.name)
def test_a_wrong_value_is_refused_before_anything_is_loaded(one: Setting) -> None:
    with pytest.raises(ConfigError, match=f"{one.name} is ") as refused:
        LLM("/no/such/model.gguf", **{one.name: WRONG[one.name]})
    for choice in one.choices:
        assert choice in str(refused.value)


def test_the_names_of_instruction_sets_are_those_of_the_engine() -> None:
    table = (DOCS / "kernels.md").read_text(encoding="utf-8").partition("## Instruction sets")[2]
    rows = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    assert sorted(name for row in rows for name in re.findall(r"`(.+?)`", row)) == sorted(get_args(Isa))
    assert set(_native.System.detect().available_isas) <= set(get_args(Isa))


def test_a_model_that_is_loaded_takes_no_settings(tiny_gguf: LLM) -> None:
    """They would do nothing."""
    for given in ({"kv_format": "int8"}, {"config": ModelConfig()}, {"progress": print}):
        with pytest.raises(ConfigError, match=f"{next(iter(given))}: a model that is loaded"):
            AsyncEngine(tiny_gguf, **given)


def test_only_what_is_about_the_machine_is_read_from_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that changed answers would change those of every program beside."""
    monkeypatch.setenv("RUVLLM_MAX_CONTEXT", "16")
    monkeypatch.setenv("RUVLLM_KV_FORMAT", "int8")
    assert [one.name for one in SETTINGS if one.of_machine] == ["threads", "isa"]
    with LLM(MODEL, max_context=64) as f16, LLM(MODEL, max_context=64, kv_format="int8") as int8:
        bytes_of = [llm.pool_stats().block_bytes for llm in (f16, int8)]
    with LLM(MODEL) as llm:
        assert llm.model_info.max_context > 64
    assert bytes_of[0] > bytes_of[1]


def documented(one: Setting) -> str:
    """The row of a setting in docs/python.md."""
    flags = ", ".join(f"`{flag}`" for flag in one.flags) if one.has_flag else "none"
    default = one.default if one.default is None else json.dumps(one.default)
    return f"| `{one.name}={default}` | {flags} | {one.help} |"


def test_the_page_has_a_row_of_each() -> None:
    page = (DOCS / "python.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `\w+=.+` \|.*\|$", page, re.M)
    assert rows == [documented(one) for one in SETTINGS]
