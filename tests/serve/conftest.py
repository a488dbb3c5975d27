"""Servers that many tests ask: the real model, and a tiny one where the text does not matter."""

import asyncio
import gc
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import openai
import pytest

from ruvllm import LLM
from ruvllm.serve import create_app
from tests.conftest import FIXTURES
from tests.serve.running import RunningServer, running
from tests.serve.tiny_models import with_chat_template
from tests.serve.tool_models import tool_server

REAL = "smollm2-135m"
TINY = "tiny"


@pytest.fixture(scope="session")
def real_server(smollm2: LLM) -> Iterator[RunningServer]:
    """SmolLM2 behind a server, under the name `smollm2-135m`."""
    with running(create_app({REAL: smollm2})) as server:
        yield server


@pytest.fixture(scope="session")
def tiny_chat_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of random weights, with a chat template that it never learned."""
    path = tmp_path_factory.mktemp("models") / f"{TINY}.gguf"
    return with_chat_template(FIXTURES / "gguf" / "llama-gqa.gguf", path)


@pytest.fixture(scope="session")
def tiny_chat(tiny_chat_path: Path) -> Iterator[LLM]:
    """That model, loaded."""
    with LLM(tiny_chat_path) as llm:
        yield llm


@pytest.fixture(scope="session")
def tiny_server(tiny_chat: LLM) -> Iterator[RunningServer]:
    """That model behind a server, under the name `tiny`."""
    with running(create_app({TINY: tiny_chat})) as server:
        yield server


@pytest.fixture
def real(real_server: RunningServer) -> Iterator[openai.OpenAI]:
    """OpenAI's client, pointed at SmolLM2."""
    with openai.OpenAI(base_url=real_server.api, api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
def tiny(tiny_server: RunningServer) -> Iterator[openai.OpenAI]:
    """OpenAI's client, pointed at the tiny model."""
    with openai.OpenAI(base_url=tiny_server.api, api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture(scope="session")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Models that call tools as scripts tell them, behind a server."""
    with tool_server(tmp_path_factory.mktemp("scripts")) as server:
        yield server


@pytest.fixture
def litellm(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """LiteLLM, which keeps a list of prices, connections and a loop of its own."""
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    import litellm

    yield litellm
    # What it leaves open is to trouble no other test.
    asyncio.set_event_loop(None)
    loop.close()
    litellm.in_memory_llm_clients_cache.flush_cache()
    gc.collect()
