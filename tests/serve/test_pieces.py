"""How many pieces a stream's tokens come in."""

import time

import openai
import pytest

from ruvllm import LLM, GenerateParams
from ruvllm.serve import ServerSettings, create_app
from tests.serve.conftest import REAL
from tests.serve.running import running

pytestmark = pytest.mark.real_model

TOKENS = 60
PROMPT = "The list of all numbers: one, two,"


def texts_of(smollm2: LLM, interval: float) -> tuple[list[str], float]:
    """The pieces, and the seconds from the first to the last."""
    app = create_app({REAL: smollm2}, ServerSettings(stream_interval=interval))
    with running(app) as server, openai.OpenAI(base_url=server.api, api_key="none") as client:
        stream = client.completions.create(
            model=REAL,
            prompt=PROMPT,
            max_tokens=TOKENS,
            temperature=0,
            stream=True,
            extra_body={"ignore_eos": True},
        )
        texts, times = [], []
        for event in stream:
            if event.choices and event.choices[0].text:
                texts.append(event.choices[0].text)
                times.append(time.monotonic())
        return texts, times[-1] - times[0]


def test_tokens_made_within_the_interval_come_together(smollm2: LLM) -> None:
    single, _ = texts_of(smollm2, 0.0)
    joined, seconds = texts_of(smollm2, 0.3)
    params = GenerateParams(max_tokens=TOKENS, temperature=0.0, repetition_penalty=1.0, ignore_eos=True)
    whole = smollm2.generate(PROMPT, params)
    assert "".join(single) == "".join(joined) == whole.text
    # The first at once, one each 0.3 s, the end; however fast or slow the machine is.
    assert len(joined) <= seconds / 0.3 + 3
    assert len(joined) < len(single)
