"""What a model's makers recommend: read from its files, taken for `params="model"`, never trusted blindly."""

import json
import os
import shutil
import struct
from pathlib import Path
from typing import Any

import gguf
import pytest

from ruvllm import LLM, AsyncEngine, ChatSession, ConfigError, GenerateParams, Mirostat, Xtc
from ruvllm.errors import InvalidModelError, IoError, ModelError
from tests.chat.conftest import with_template
from tests.conftest import FIXTURES
from tests.hostile.gguf_file import STRING, GgufFile

FOLDER = FIXTURES / "models" / "llama-gqa"
TINY = FIXTURES / "gguf" / "llama-gqa.gguf"
OFF: dict[str, Any] = {"temperature": 1.0, "top_p": 1.0, "repetition_penalty": 1.0}
# Of Qwen3's repository.
QWEN: dict[str, Any] = {
    "bos_token_id": 1,
    "do_sample": True,
    "eos_token_id": [2],
    "pad_token_id": 1,
    "temperature": 0.6,
    "top_k": 20,
    "top_p": 0.95,
    "transformers_version": "4.51.0",
}
SHORT: dict[str, Any] = {"max_tokens": 6, "ignore_eos": True, "seed": 3}
IDS = [5, 6, 7, 8]
# As the writer of the PyPI package `gguf` writes them, for which this is the independent word.
KEYS = gguf.Keys.General
INT32, FLOAT32 = 5, 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of a model; each test says anew what it recommends."""
    path = tmp_path_factory.mktemp("recommended") / "model"
    path.mkdir()
    for name in ("config.json", "model.safetensors"):
        shutil.copy(FOLDER / name, path)
    return path


@pytest.fixture
def llm(folder: Path) -> Any:
    """It, loaded while it recommends nothing."""
    (folder / "generation_config.json").unlink(missing_ok=True)
    with LLM(folder, max_context=128) as llm:
        yield llm


def says(folder: Path, content: Any) -> None:
    text = content if isinstance(content, bytes | str) else json.dumps(content)
    path = folder / "generation_config.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (QWEN, {"temperature": 0.6, "top_k": 20, "top_p": 0.95}),
        ({"do_sample": True, "temperature": 0.6, "top_p": 0.9}, {"temperature": 0.6, "top_p": 0.9}),
        ({"repetition_penalty": 1.05}, {"repetition_penalty": 1.05}),
        ({"min_p": 0.1, "typical_p": 0.9, "top_k": None}, {"min_p": 0.1, "typical_p": 0.9}),
        ({"top_k": -1, "temperature": 2}, {"top_k": 0, "temperature": 2}),
        # Greedy: what draws is no part of it.
        ({"do_sample": False, "temperature": 0.6, "top_p": 0.9}, {"temperature": 0.0}),
        ({"do_sample": False, "repetition_penalty": 1.2}, {"temperature": 0.0, "repetition_penalty": 1.2}),
        ({"do_sample": True}, {}),
        ({"temperature": 0.5, "num_beams": 1, "no_repeat_ngram_size": 0}, {"temperature": 0.5}),
        (
            {"presence_penalty": 1.5, "frequency_penalty": 0.5},
            {"presence_penalty": 1.5, "frequency_penalty": 0.5},
        ),
        ({"do_sample": False, "presence_penalty": 1.5}, {"temperature": 0.0, "presence_penalty": 1.5}),
        # What has no effect.
        (
            {
                "temperature": 0.5,
                "suppress_tokens": [],
                "begin_suppress_tokens": None,
                "bad_words_ids": [],
                "guidance_scale": 1.0,
                "sequence_bias": {},
                "num_beam_groups": 1,
                "diversity_penalty": 0.0,
                "forced_eos_token_id": None,
                "min_length": 0,
                "min_new_tokens": None,
                "top_h": None,
            },
            {"temperature": 0.5},
        ),
        ({"do_sample": False, "top_h": 0.4, "eta_cutoff": 0.1}, {"temperature": 0.0}),
    ],
)
def test_of_a_folder(llm: LLM, folder: Path, said: dict[str, Any], expected: dict[str, Any]) -> None:
    says(folder, said)
    assert llm.recommended_params() == GenerateParams(**{**OFF, **expected})


def with_keys(path: Path, keys: dict[str, Any]) -> Path:
    file = GgufFile.read(TINY)
    for key, value in keys.items():
        if isinstance(value, str):
            file.set_text(key, value)
        elif isinstance(value, int):
            file.values[key] = (INT32, struct.pack("<i", value))
        else:
            file.values[key] = (FLOAT32, struct.pack("<f", value))
    path.write_bytes(file.to_bytes())
    return path


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (
            {KEYS.SAMPLING_TEMP: 0.6, KEYS.SAMPLING_TOP_K: 20, KEYS.SAMPLING_TOP_P: 0.95},
            {"temperature": 0.6, "top_k": 20, "top_p": 0.95},
        ),
        (
            {KEYS.SAMPLING_MIN_P: 0.05, KEYS.SAMPLING_PENALTY_REPEAT: 1.1, KEYS.SAMPLING_PENALTY_LAST_N: -1},
            {"min_p": 0.05, "repetition_penalty": 1.1},
        ),
        ({KEYS.SAMPLING_PENALTY_REPEAT: 1.1, KEYS.SAMPLING_PENALTY_LAST_N: 0}, {}),
        ({KEYS.SAMPLING_PENALTY_REPEAT: 1.0, KEYS.SAMPLING_PENALTY_LAST_N: 64}, {}),
        ({KEYS.SAMPLING_PENALTY_REPEAT: 1.0}, {}),
        (
            {KEYS.SAMPLING_XTC_PROBABILITY: 0.5, KEYS.SAMPLING_XTC_THRESHOLD: 0.2},
            {"xtc": Xtc(probability=0.5, threshold=0.2)},
        ),
        (
            {KEYS.SAMPLING_MIROSTAT: 2, KEYS.SAMPLING_MIROSTAT_TAU: 4.0, KEYS.SAMPLING_MIROSTAT_ETA: 0.2},
            {"mirostat": Mirostat(tau=4.0, eta=0.2)},
        ),
        ({KEYS.SAMPLING_MIROSTAT: 0, KEYS.SAMPLING_TEMP: 1.5}, {"temperature": 1.5}),
    ],
)
def test_of_a_gguf_file(tmp_path: Path, said: dict[str, Any], expected: dict[str, Any]) -> None:
    with LLM(with_keys(tmp_path / "model.gguf", said), max_context=128) as llm:
        assert llm.recommended_params() == GenerateParams(**{**OFF, **expected})


# -- in calls


def test_calls_take_it(llm: LLM, folder: Path) -> None:
    says(folder, {"do_sample": True, "temperature": 3.0, "top_k": 12})
    expected = llm.generate(
        IDS, GenerateParams(**{**OFF, "temperature": 3.0, "top_k": 12}), **SHORT
    ).token_ids
    assert expected != llm.generate(IDS, **SHORT).token_ids
    assert llm.generate(IDS, "model", **SHORT).token_ids == expected
    assert [one.token_ids for one in llm.generate([IDS, IDS], "model", **SHORT)] == [expected] * 2
    assert tuple(t for chunk in llm.stream(IDS, "model", **SHORT) for t in chunk.token_ids) == expected
    outcomes = dict(llm.as_completed([IDS], "model", **SHORT))
    assert outcomes[0].token_ids == expected  # type: ignore[union-attr]
    # Keywords stand above it.
    greedy = llm.generate(IDS, temperature=0, repetition_penalty=1, **SHORT).token_ids
    assert llm.generate(IDS, "model", temperature=0, **SHORT).token_ids == greedy


async def test_in_asyncio_too(llm: LLM, folder: Path) -> None:
    says(folder, {"do_sample": True, "temperature": 3.0, "top_k": 12})
    expected = llm.generate(IDS, "model", **SHORT).token_ids
    engine = AsyncEngine(llm)
    assert engine.recommended_params() == llm.recommended_params()
    assert (await engine.generate(IDS, "model", **SHORT)).token_ids == expected
    assert (await llm.agenerate(IDS, "model", **SHORT)).token_ids == expected
    for stream in (engine.stream(IDS, "model", **SHORT), llm.astream(IDS, "model", **SHORT)):
        assert [token async for chunk in stream for token in chunk.token_ids] == [*expected]


async def test_in_conversations_and_values(tmp_path: Path) -> None:
    path = with_keys(tmp_path / "model.gguf", {KEYS.SAMPLING_TEMP: 3.0, KEYS.SAMPLING_TOP_K: 12})
    params = GenerateParams(**{**OFF, "temperature": 3.0, "top_k": 12})
    with LLM(path) as model:
        llm = with_template(model)
        expected = llm.chat("you", params, **SHORT).token_ids
        assert llm.chat("you", "model", **SHORT).token_ids == expected
        assert (await AsyncEngine(llm).chat("you", "model", **SHORT)).token_ids == expected
        schema = {"enum": [*range(100, 120)]}
        values = [llm.generate_json("you", schema, given, seed=3) for given in (params, "model")]
        assert values[0] == values[1]
        # What keeps its parameters takes them as they are.
        session = ChatSession(llm, params=llm.recommended_params(), **SHORT)
        assert session.send("you").token_ids == expected
        with pytest.raises(ConfigError, match=r"elsewhere give what recommended_params\(\) gives"):
            ChatSession(llm, params="model")  # type: ignore[arg-type]


def test_another_text_is_a_mistake(llm: LLM) -> None:
    for call in (llm.generate, llm.stream):
        with pytest.raises(
            ConfigError, match=r"params is 'modle'; it must be GenerateParams, or .* \"model\""
        ):
            call(IDS, "modle")  # type: ignore[operator]


@pytest.mark.parametrize("said", [None, {}, {"eos_token_id": 2, "max_new_tokens": 9}, {"temperature": None}])
def test_a_model_that_recommends_nothing(llm: LLM, folder: Path, said: Any) -> None:
    if said is not None:
        says(folder, said)
    for call in (
        llm.recommended_params,
        lambda: llm.generate(IDS, "model"),
        lambda: llm.stream(IDS, "model"),
    ):
        with pytest.raises(ConfigError, match=r"recommends no sampling: .*; say how tokens are to be chosen"):
            call()


def test_a_gguf_file_that_recommends_nothing(tiny_gguf: LLM) -> None:
    with pytest.raises(ConfigError, match=r"the model .* recommends no sampling"):
        tiny_gguf.recommended_params()


@pytest.mark.parametrize(
    "said",
    [
        {KEYS.SAMPLING_PENALTY_LAST_N: 64},
        {KEYS.SAMPLING_XTC_THRESHOLD: 0.2, KEYS.SAMPLING_MIROSTAT_TAU: 4.0},
        {"general.sampling.new": 0.5, "general.sampling.newer": "x"},
    ],
)
def test_keys_that_choose_nothing_recommend_nothing(tmp_path: Path, said: dict[str, Any]) -> None:
    with (
        LLM(with_keys(tmp_path / "model.gguf", said), max_context=128) as llm,
        pytest.raises(ConfigError, match="recommends no sampling"),
    ):
        llm.recommended_params()


# -- once


def test_it_is_read_once(llm: LLM, folder: Path) -> None:
    says(folder, {"temperature": 0.5})
    first = llm.recommended_params()
    says(folder, {"temperature": 0.25})
    assert llm.recommended_params() is first
    with LLM(folder, max_context=128) as again:
        assert again.recommended_params().temperature == 0.25


def test_an_error_is_kept_as_well(llm: LLM, folder: Path) -> None:
    says(folder, {"num_beams": 4})
    told = []
    for _ in range(3):
        with pytest.raises(ModelError, match="num_beams = 4") as caught:
            llm.recommended_params()
        told.append(caught.value)
        says(folder, {"temperature": 0.5})
    assert len({id(one) for one in told}) == 3, "each has a traceback of its own"
    assert len({(type(one), str(one)) for one in told}) == 1


def test_what_lies_there_later_is_another_model(tmp_path: Path) -> None:
    path = with_keys(tmp_path / "model.gguf", {KEYS.SAMPLING_TEMP: 0.5})
    says(tmp_path, {"temperature": 0.25})
    with LLM(path, max_context=128) as llm:
        path.rename(tmp_path / "moved.gguf")
        path.mkdir()
        with pytest.raises(ModelError, match=r"model\.gguf"):
            llm.recommended_params()


# -- files that lie


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (b"{", "generation_config.json is not JSON"),
        (b"\xff\xfe{", "generation_config.json is not JSON"),
        (b"[" * 100_000, "generation_config.json is not JSON"),
        (b'{"temperature": NaN}', "NaN is no number in JSON"),
        (b'{"temperature": -Infinity}', "-Infinity is no number in JSON"),
        (b'{"temperature": 1e999}', "temperature is inf"),
        (b'{"top_k": ' + b"9" * 5000 + b"}", "generation_config.json is not JSON"),
        (b'{"top_k": -' + b"9" * 4000 + b"}", "recommends what cannot be: top_k is -999"),
        (b'{"pad": "' + b"x" * 1_100_000 + b'"}', "generation_config.json has more than 1048576 bytes"),
        ([1], "generation_config.json is a list; it must be an object"),
        ({"do_sample": "yes"}, "do_sample 'yes'; it must be true or false"),
        ({"do_sample": 1}, "do_sample 1; it must be true or false"),
        ({"temperature": "0.6"}, "recommends what cannot be: temperature is '0.6'"),
        ({"temperature": True}, "recommends what cannot be: temperature is True"),
        ({"temperature": -1}, "recommends what cannot be: temperature is -1"),
        ({"temperature": [0.6]}, r"recommends what cannot be: temperature is \[0.6\]"),
        ({"top_k": 1.5}, "recommends what cannot be: top_k is 1.5"),
        ({"top_k": 10**23}, "recommends what cannot be: top_k is 1000"),
        ({"top_p": 0}, "recommends what cannot be: top_p is 0"),
        ({"num_beams": 4}, "generation_config.json recommends num_beams = 4, which is not here"),
        ({"no_repeat_ngram_size": 3}, "recommends no_repeat_ngram_size = 3, which is not here"),
        ({"suppress_tokens": [1, 2]}, r"recommends suppress_tokens = \[1, 2\], which is not here"),
        ({"begin_suppress_tokens": [1]}, r"recommends begin_suppress_tokens = \[1\], which"),
        ({"bad_words_ids": [[7]]}, r"recommends bad_words_ids = \[\[7\]\], which is not here"),
        ({"guidance_scale": 1.5}, "recommends guidance_scale = 1.5, which is not here"),
        ({"sequence_bias": [[[5], -1.0]]}, "recommends sequence_bias = "),
        ({"num_beam_groups": 2}, "recommends num_beam_groups = 2, which is not here"),
        ({"diversity_penalty": 0.5}, "recommends diversity_penalty = 0.5, which is not here"),
        ({"forced_eos_token_id": 0}, "recommends forced_eos_token_id = 0, which is not here"),
        ({"min_length": 8}, "recommends min_length = 8, which is not here"),
        ({"min_new_tokens": 8}, "recommends min_new_tokens = 8, which is not here"),
        ({"top_h": 0.4}, "recommends top_h = 0.4, which is not here"),
        ({"do_sample": True, "epsilon_cutoff": 0.1}, "recommends epsilon_cutoff = 0.1, which is not here"),
        ({"presence_penalty": 9}, "recommends what cannot be: presence_penalty is 9"),
    ],
)
def test_a_folder_that_recommends_what_cannot_be(llm: LLM, folder: Path, said: Any, message: str) -> None:
    says(folder, said)
    for call in (llm.recommended_params, lambda: llm.generate(IDS, "model")):
        with pytest.raises(ModelError, match=message) as caught:
            call()
        assert "generation_config.json" in str(caught.value)
        assert len(str(caught.value)) < 500


def test_what_is_no_file_is_not_waited_for(llm: LLM, folder: Path) -> None:
    path = folder / "generation_config.json"
    if hasattr(os, "mkfifo"):
        os.mkfifo(path)
    else:
        path.mkdir()
    try:
        with pytest.raises(IoError, match=r"generation_config\.json"):
            llm.recommended_params()
    finally:
        path.unlink() if not path.is_dir() else path.rmdir()


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({KEYS.SAMPLING_TEMP: float("nan")}, "temperature is nan"),
        ({KEYS.SAMPLING_TEMP: float("inf")}, "temperature is inf"),
        ({KEYS.SAMPLING_TEMP: "hot"}, r"general\.sampling\.temp 'hot'; it must be a number"),
        ({KEYS.SAMPLING_TOP_K: 1.5}, "top_k is 1.5"),
        ({KEYS.SAMPLING_TOP_P: 2.0}, "top_p is 2"),
        ({KEYS.SAMPLING_MIROSTAT: 1}, "mirostat is 1"),
        ({KEYS.SAMPLING_MIROSTAT: 2, KEYS.SAMPLING_MIROSTAT_TAU: float("nan")}, "tau"),
        ({KEYS.SAMPLING_XTC_PROBABILITY: 7.0}, r"xtc\.probability is 7"),
        (
            {KEYS.SAMPLING_SEQUENCE: "temperature;top_p"},
            r"an order of samplers \(general\.sampling\.sequence\)",
        ),
        (
            {KEYS.SAMPLING_PENALTY_REPEAT: 1.1, KEYS.SAMPLING_PENALTY_LAST_N: 64},
            "of the last 64 tokens alone",
        ),
        # As llama.cpp has it where nothing is said.
        ({KEYS.SAMPLING_PENALTY_REPEAT: 1.1}, "of the last 64 tokens alone"),
    ],
)
def test_a_gguf_file_that_recommends_what_cannot_be(
    tmp_path: Path, said: dict[str, Any], message: str
) -> None:
    with (
        LLM(with_keys(tmp_path / "model.gguf", said), max_context=128) as llm,
        pytest.raises(ModelError, match=message) as caught,
    ):
        llm.recommended_params()
    assert "model.gguf" in str(caught.value)


def test_a_list_is_no_number(tmp_path: Path) -> None:
    file = GgufFile.read(TINY)
    file.values[KEYS.SAMPLING_TEMP] = (9, struct.pack("<IQ", STRING, 0))
    (tmp_path / "model.gguf").write_bytes(file.to_bytes())
    with (
        LLM(tmp_path / "model.gguf", max_context=128) as llm,
        pytest.raises(InvalidModelError, match=r"model\.gguf has the general\.sampling\.temp None"),
    ):
        llm.recommended_params()
