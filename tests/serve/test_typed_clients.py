"""Other people's clients, unmodified, that ask for values of a type: Pydantic AI and Instructor.

The model is too small to know what a call is, so each value that comes is one that the server has held it to.
"""

import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal

import anthropic
import openai
import pytest
from pydantic import BaseModel, Field

from tests.serve.conftest import REAL
from tests.serve.running import RunningServer
from tests.serve.tool_models import ASK

pytestmark = pytest.mark.real_model

QUESTION = "How is the weather in Paris for three days?"


class Weather(BaseModel):
    """The weather that was asked for."""

    city: Literal["Paris", "Rome"]
    days: int = Field(ge=1, le=9)


@pytest.fixture(params=["chat", "responses", "messages"])
async def pydantic_model(request: pytest.FixtureRequest, real_server: RunningServer) -> AsyncIterator[Any]:
    """The model as Pydantic AI reaches it by each API."""
    pytest.importorskip("pydantic_ai", reason="it is for Python 3.11 and later")
    from pydantic_ai.models.anthropic import AnthropicModel
    from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
    from pydantic_ai.providers.anthropic import AnthropicProvider
    from pydantic_ai.providers.openai import OpenAIProvider

    if request.param == "messages":
        async with anthropic.AsyncAnthropic(base_url=real_server.url, api_key="none") as claude:
            yield AnthropicModel(REAL, provider=AnthropicProvider(anthropic_client=claude))
        return
    kind = OpenAIChatModel if request.param == "chat" else OpenAIResponsesModel
    async with openai.AsyncOpenAI(base_url=real_server.api, api_key="none") as client:
        yield kind(REAL, provider=OpenAIProvider(openai_client=client))


async def test_pydantic_ai_gets_a_value_by_a_tool(pydantic_model: Any) -> None:
    from pydantic_ai import Agent

    agent = Agent(pydantic_model, output_type=Weather, model_settings={"temperature": 0, "max_tokens": 200})
    answer = await agent.run(QUESTION)
    assert isinstance(answer.output, Weather)
    assert answer.usage.output_tokens


# To Anthropic's API it sends schemas for models alone whose names it knows.
@pytest.mark.parametrize("pydantic_model", ["chat", "responses"], indirect=True)
async def test_pydantic_ai_gets_a_value_by_its_schema(pydantic_model: Any) -> None:
    from pydantic_ai import Agent, NativeOutput

    settings: Any = {"temperature": 0, "max_tokens": 200}
    agent = Agent(pydantic_model, output_type=NativeOutput(Weather), model_settings=settings)
    async with agent.run_stream(QUESTION) as stream:
        assert isinstance(await stream.get_output(), Weather)


async def test_pydantic_ai_runs_tools(tools: RunningServer) -> None:
    pytest.importorskip("pydantic_ai", reason="it is for Python 3.11 and later")
    from pydantic_ai import Agent, ModelRetry, Tool, UsageLimitExceeded, UsageLimits
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    asked: list[str] = []

    def weather(city: str) -> str:
        asked.append(city)
        if city == "Röm":
            raise ModelRetry("no such city")
        return "sunny"

    async with openai.AsyncOpenAI(base_url=tools.api, api_key="none") as client:
        model = OpenAIChatModel("calls", provider=OpenAIProvider(openai_client=client))
        # Held to a strict schema the model could not say what is in its script.
        tool = Tool(weather, strict=False)
        agent = Agent(model, tools=[tool], retries=9, model_settings={"temperature": 0})
        # It calls the same whatever it is told, so it has to be stopped.
        with pytest.raises(UsageLimitExceeded):
            await agent.run(ASK[0]["content"], usage_limits=UsageLimits(request_limit=2))
    assert sorted(asked) == ["Paris", "Paris", "Röm", "Röm"]


@pytest.fixture(scope="module")
def instructor(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Instructor, without what it asks for: that has bounds which OpenAI's last client is beyond."""
    folder = tmp_path_factory.mktemp("instructor")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile", "--target"]
    subprocess.run([*pip, str(folder), "instructor==1.17.0"], check=True, capture_output=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        import instructor

        yield instructor
        for name in [name for name in sys.modules if Path(name.partition(".")[0]).name == "instructor"]:
            del sys.modules[name]


# Its modes JSON and MD_JSON tell the model of the schema and ask for any object, or for nothing: SmolLM2
# answers with the schema itself, and the server cannot know that it is wrong. Qwen2.5-Coder gives values.
@pytest.mark.parametrize("mode", ["TOOLS", "TOOLS_STRICT", "RESPONSES_TOOLS", "JSON_SCHEMA"])
@pytest.mark.filterwarnings("ignore")  # its own, of pydantic
def test_instructor(instructor: Any, real: openai.OpenAI, mode: str) -> None:
    client = instructor.from_openai(real, mode=instructor.Mode[mode])
    fields = {"model": REAL, "response_model": Weather, "temperature": 0, "max_retries": 0}
    messages = [{"role": "user", "content": QUESTION}]
    assert isinstance(client.create(messages=messages, **fields), Weather)
