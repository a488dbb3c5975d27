"""A model that was trained to call tools calls them: Qwen2.5-Coder, asked a public benchmark's questions."""

import pytest

from ruvllm import LLM, GenerateParams
from tests.chat.bfcl_questions import Question, questions
from tests.text.response.bfcl import fetch_wheel

pytestmark = [pytest.mark.slow, pytest.mark.real_model, pytest.mark.timeout(7200)]


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> list[Question]:
    return list(questions(fetch_wheel(tmp_path_factory.mktemp("bfcl"))))


@pytest.mark.parametrize(("choice", "least"), [("auto", 50), ("required", 50)])
def test_it_calls_what_is_right(qwen_coder: LLM, asked: list[Question], choice: str, least: int) -> None:
    params = GenerateParams(temperature=0.0, repetition_penalty=1.0, max_tokens=160)
    right = called = 0
    for question in asked:
        answer = qwen_coder.chat(
            question.messages, params, tools=question.tools, tool_choice=choice, parallel_tool_calls=False
        )
        called += bool(answer.tool_calls)
        right += question.is_answered_by(answer.tool_calls)
    print(f"{choice}: {called} of {len(asked)} called, {right} are right")
    assert right >= least
    assert choice == "auto" or called == len(asked)
