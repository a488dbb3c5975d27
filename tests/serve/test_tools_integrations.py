"""Other people's clients, unmodified, with tools: LangChain and LiteLLM, there and back."""

import json
from types import ModuleType

import pytest

from tests.serve.running import RunningServer
from tests.serve.tool_models import ARGUMENTS, ASK, FUNCTION, TOOL

CITIES = [json.loads(arguments) for arguments in ARGUMENTS]


def test_langchain(tools: RunningServer) -> None:
    from langchain_core.messages import AIMessageChunk, HumanMessage, ToolMessage
    from langchain_openai import ChatOpenAI

    model = ChatOpenAI(base_url=tools.api, api_key="none", model="calls", temperature=0).bind_tools(
        [FUNCTION]
    )
    question = HumanMessage(ASK[0]["content"])
    answer = model.invoke([question])
    assert [call["args"] for call in answer.tool_calls] == CITIES
    joined = AIMessageChunk("")
    for chunk in model.stream([question]):
        joined += chunk
    assert [call["args"] for call in joined.tool_calls] == CITIES
    results = [ToolMessage("sunny", tool_call_id=call["id"]) for call in answer.tool_calls]
    assert model.invoke([question, answer, *results]).tool_calls
    broken = ChatOpenAI(base_url=tools.api, api_key="none", model="broken", temperature=0)
    told = broken.bind_tools([FUNCTION]).invoke([question])
    (call,) = told.invalid_tool_calls
    refused = ToolMessage("no JSON", tool_call_id=call["id"])
    assert broken.bind_tools([FUNCTION]).invoke([question, told, refused]).invalid_tool_calls


@pytest.mark.filterwarnings("ignore")  # its own, of pydantic and asyncio
def test_litellm(tools: RunningServer, litellm: ModuleType) -> None:
    fields = {"model": "openai/calls", "api_base": tools.api, "api_key": "none", "temperature": 0}
    answer = litellm.completion(**fields, messages=ASK, tools=[TOOL]).choices[0]
    assert answer.finish_reason == "tool_calls"
    assert [call.function.arguments for call in answer.message.tool_calls] == ARGUMENTS
    assert answer.message.reasoning_content == "Two cities."
    chunks = list(litellm.completion(**fields, messages=ASK, tools=[TOOL], stream=True))
    whole = litellm.stream_chunk_builder(chunks, messages=ASK).choices[0].message
    assert [call.function.arguments for call in whole.tool_calls] == ARGUMENTS
    results = [
        {"role": "tool", "tool_call_id": call.id, "content": "sunny"} for call in answer.message.tool_calls
    ]
    again = litellm.completion(**fields, messages=[*ASK, answer.message, *results], tools=[TOOL])
    assert again.choices[0].finish_reason == "tool_calls"
