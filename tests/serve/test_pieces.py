"""How many pieces a stream's tokens come in."""

import openai
import pytest

from ruvllm import LLM, GenerateParams
from ruvllm.serve import ServerSettings, create_app
from tests.serve.conftest import REAL
from tests.serve.running import running

TOKENS = 60
PROMPT = "The list of all numbers: one, two,"


def texts_of(smollm2: LLM, interval: float) -> list[str]:
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
        return [event.choices[0].text for event in stream if event.choices and event.choices[0].text]


@pytest.mark.parametrize("interval", [0.0, 0.3])
def test_tokens_made_within_the_interval_come_together(smollm2: LLM, interval: float) -> None:
    texts = texts_of(smollm2, interval)
    params = GenerateParams(max_tokens=TOKENS, temperature=0.0, repetition_penalty=1.0, ignore_eos=True)
    whole = smollm2.generate(PROMPT, params)
    assert "".join(texts) == whole.text
    if interval:
        # The first token, one piece each 0.3 s, the end: even slow machines make several tokens in that time.
        assert len(texts) < TOKENS / 2
    else:
        # Tokens that have no text of their own, or came while the loop was busy, join the next.
        assert len(texts) > TOKENS / 2
