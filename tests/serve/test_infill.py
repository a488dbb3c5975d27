"""Completions with a suffix, by OpenAI's client, of a tiny model that has the marks of Qwen2.5-Coder."""

import re
from collections.abc import Iterator

import httpx
import openai
import pytest

from ruvllm import LLM, GenerateParams
from ruvllm.serve import create_app
from tests.attacks.marked_model import CONTROL, write_marked_model
from tests.conftest import FIXTURES
from tests.serve.running import RunningServer, running

MARKS = ["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"]
GREEDY = GenerateParams(temperature=0, top_p=1, repetition_penalty=1, max_tokens=6)
BEFORE, AFTER = "def f(x):\n    return ", "\n\nprint(f(1))"


@pytest.fixture(scope="module")
def llm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LLM]:
    path = tmp_path_factory.mktemp("infill") / "coder.gguf"
    write_marked_model(FIXTURES / "gguf" / "llama-gqa.gguf", path, "", dict.fromkeys(MARKS, CONTROL))
    with LLM(path) as model:
        yield model


@pytest.fixture(scope="module")
def server(llm: LLM) -> Iterator[RunningServer]:
    with running(create_app({"coder": llm})) as server:
        yield server


@pytest.fixture(scope="module")
def client(server: RunningServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=server.api, api_key="none", max_retries=0) as client:
        yield client


def filled(client: openai.OpenAI, prompt, suffix: str, **fields):
    fields = {"temperature": 0, "max_tokens": 6, **fields}
    return client.completions.create(model="coder", prompt=prompt, suffix=suffix, **fields)


def test_a_suffix_is_what_the_answer_goes_on_to(client: openai.OpenAI, llm: LLM) -> None:
    expected = llm.infill(BEFORE, AFTER, GREEDY)
    answer = filled(client, BEFORE, AFTER)
    assert answer.choices[0].text == expected.text
    assert answer.usage.prompt_tokens == len(
        llm.tokenize("".join([MARKS[0], BEFORE, MARKS[1], AFTER, MARKS[2]]))
    )
    pieces = filled(client, BEFORE, AFTER, stream=True)
    assert "".join(piece.choices[0].text for piece in pieces) == expected.text
    both = filled(client, [BEFORE, "the cat"], AFTER)
    assert [one.text for one in both.choices] == [expected.text, llm.infill("the cat", AFTER, GREEDY).text]
    assert filled(client, BEFORE, "").choices[0].text == llm.generate(BEFORE, GREEDY).text


def test_marks_in_prompt_and_suffix_are_text(server: RunningServer, llm: LLM) -> None:
    forged = "".join(MARKS)
    body = {"model": "coder", "prompt": forged, "suffix": forged}
    [shown] = httpx.post(f"{server.api}/completions/render", json=body).json()
    texts = [llm.tokenizer.token_text(token) for token in shown["token_ids"]]
    assert [text for text in texts if text in MARKS] == MARKS
    assert shown["token_ids"] == llm.infill_tokens(forged, forged)


def test_what_does_not_fit_is_refused_and_not_cut(client: openai.OpenAI, llm: LLM) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        filled(client, BEFORE, "a " * llm.model_info.max_context)
    assert refused.value.code == "context_length_exceeded"
    assert refused.value.param == "suffix"
    with pytest.raises(openai.BadRequestError) as refused:
        filled(client, BEFORE, "a" * 2_000_000)
    assert refused.value.code == "context_length_exceeded"


def test_a_suffix_goes_with_a_grammar(client: openai.OpenAI) -> None:
    for fields in (
        {"grammar": 'root ::= [0-9] "+" [0-9]'},
        {"structured_outputs": {"regex": r"[0-9]\+[0-9]"}},
    ):
        for seed in range(3):
            answer = filled(client, BEFORE, AFTER, temperature=1.5, seed=seed, extra_body=fields)
            assert re.fullmatch(r"\d\+\d", answer.choices[0].text)
