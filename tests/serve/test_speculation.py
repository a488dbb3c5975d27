"""Guesses over HTTP: a prediction is used, what came of it is in the usage, and the tokens are the same."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest

from ruvllm import LLM
from ruvllm.serve import create_app
from tests.serve.conftest import REAL
from tests.serve.running import RunningServer, running


@pytest.fixture(scope="module")
def guessing_server(smollm2_path: Path) -> Iterator[RunningServer]:
    with (
        LLM(smollm2_path, speculation="auto") as llm,
        running(create_app({REAL: llm})) as server,
    ):
        yield server


ASKED = [{"role": "user", "content": "Name ten things that float on water, one a line."}]
SAMPLING = {"max_tokens": 48, "temperature": 0}


def details(answer: openai.types.chat.ChatCompletion) -> tuple[int, int]:
    assert answer.usage
    assert answer.usage.completion_tokens_details
    counted = answer.usage.completion_tokens_details
    assert counted.accepted_prediction_tokens is not None
    assert counted.rejected_prediction_tokens is not None
    return counted.accepted_prediction_tokens, counted.rejected_prediction_tokens


@pytest.mark.real_model
def test_a_prediction_is_used_and_counted(guessing_server: RunningServer) -> None:
    client = openai.OpenAI(base_url=guessing_server.api, api_key="none", max_retries=0)
    ask = client.chat.completions.create
    plain = ask(model=REAL, messages=ASKED, **SAMPLING, extra_body={"speculate": False})
    text = plain.choices[0].message.content or ""
    assert details(plain) == (0, 0)
    foretold = ask(model=REAL, messages=ASKED, **SAMPLING, prediction={"type": "content", "content": text})
    assert foretold.choices[0].message.content == text
    accepted, rejected = details(foretold)
    assert accepted > rejected
    timings = (foretold.model_extra or {})["timings"]
    assert (timings["draft_n"], timings["draft_n_accepted"]) == (accepted + rejected, accepted)
    parts = [{"type": "text", "text": text[:20]}, {"type": "text", "text": text[20:]}]
    again = ask(model=REAL, messages=ASKED, **SAMPLING, prediction={"type": "content", "content": parts})
    assert again.choices[0].message.content == text
    client.close()
    metrics = httpx.get(f"{guessing_server.url}/metrics").text
    counted = {
        name: float(line.rsplit(" ", 1)[1])
        for line in metrics.splitlines()
        for name in ("draft", "accepted")
        if line.startswith(f"ruvllm:spec_decode_num_{name}_tokens_total{{")
    }
    assert counted["draft"] >= counted["accepted"] >= accepted


@pytest.mark.parametrize(
    "prediction",
    ["text", {"type": "other", "content": "x"}, {"type": "content", "content": [{"type": "image_url"}]}],
)
def test_what_is_no_prediction_is_refused(tiny_server: RunningServer, prediction: object) -> None:
    body = {"model": "tiny", "messages": ASKED, "max_tokens": 2, "prediction": prediction}
    answer = httpx.post(f"{tiny_server.api}/chat/completions", json=body, timeout=20)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"].startswith("prediction")
