"""Other people's clients, unmodified: LangChain and LiteLLM complete a chat."""

from types import ModuleType

import pytest

from tests.serve.conftest import REAL
from tests.serve.running import RunningServer

pytestmark = pytest.mark.real_model

QUESTION = "What is the capital of France? Answer in one short sentence."


def test_langchain(real_server: RunningServer) -> None:
    from langchain_openai import ChatOpenAI

    model = ChatOpenAI(base_url=real_server.api, api_key="none", model=REAL, temperature=0, max_tokens=24)
    answer = model.invoke([("system", "Be brief."), ("user", QUESTION)])
    assert "Paris" in answer.content
    assert answer.usage_metadata["output_tokens"] > 0
    assert "".join(chunk.content for chunk in model.stream(QUESTION)) == model.invoke(QUESTION).content


@pytest.mark.filterwarnings("ignore")  # its own, of pydantic and asyncio
def test_litellm(real_server: RunningServer, litellm: ModuleType) -> None:
    fields = {"model": f"openai/{REAL}", "api_base": real_server.api, "api_key": "none", "temperature": 0}
    messages = [{"role": "user", "content": QUESTION}]
    answer = litellm.completion(**fields, messages=messages, max_tokens=24)
    assert "Paris" in answer.choices[0].message.content
    chunks = litellm.completion(**fields, messages=messages, max_tokens=24, stream=True)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == answer.choices[0].message.content
