"""What is recommended of a model holds where a question is asked as it is, and nobody says otherwise."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ruvllm import LLM, ChatSession, GenerateParams
from ruvllm.hub import NOTHING, Recommended, recommended_for
from ruvllm.hub.catalogue import DEFAULT_REGISTRY
from ruvllm.hub.registry import RegistryEntry
from tests.conftest import FIXTURES

QUESTION = "What is the capital of France?"
PLAIN = [{"role": "user", "content": QUESTION}]
LICENCE = FIXTURES / "adapters" / "smollm2-licence" / "adapter"
OWN_WORDS = "SmolLM"
"""A word of what the model's template puts before a conversation that has no system prompt."""


def recommended() -> Recommended:
    entry = DEFAULT_REGISTRY.find("smollm2-135m")
    assert isinstance(entry, RegistryEntry)
    return entry.recommended


def test_it_is_of_one_file_and_not_of_others_that_are_called_so(tmp_path: Path) -> None:
    entry = DEFAULT_REGISTRY.find("smollm2-135m")
    assert isinstance(entry, RegistryEntry)
    path = tmp_path / entry.file_name
    path.write_bytes(b"GGUF")
    assert recommended_for(path) is NOTHING
    with path.open("wb") as file:
        file.truncate(entry.size_bytes)
    assert recommended_for(path) == entry.recommended != NOTHING
    assert recommended_for(path.rename(tmp_path / "another.gguf")) is NOTHING


def test_a_system_prompt_that_is_there_stays() -> None:
    begun: list[dict[str, Any]] = [{"role": "user", "content": "a"}]
    some = Recommended(system_prompt="Be brief.")
    assert some.before(begun) == [{"role": "system", "content": "Be brief."}, *begun]
    for role in ("system", "developer"):
        with_one = [{"role": role, "content": "b"}, *begun]
        assert some.before(with_one) == with_one
    assert NOTHING.before(begun) == begun


@pytest.mark.real_model
def test_a_text_is_asked_so_and_messages_are_as_they_stand(smollm2: LLM) -> None:
    assert smollm2.recommended == recommended()
    asked = smollm2.chat([QUESTION, QUESTION], max_tokens=1)
    plain = smollm2.chat(PLAIN, max_tokens=1)
    assert [OWN_WORDS in str(one.prompt) for one in (*asked, plain)] == [False, False, True]
    assert str(plain.prompt) == smollm2.apply_chat_template(PLAIN)
    emptied = [{"role": "system", "content": ""}, *PLAIN]
    assert str(asked[0].prompt) == smollm2.apply_chat_template(emptied)


@pytest.mark.real_model
def test_its_sampling_holds_where_there_are_no_params(smollm2: LLM) -> None:
    emptied = [{"role": "system", "content": ""}, *PLAIN]
    own = GenerateParams(seed=3, max_tokens=24)
    # A temperature at which another one shows.
    lively = replace(own, temperature=2.0)
    so = replace(own, **recommended().sampling)
    assert smollm2.chat(QUESTION, seed=3, max_tokens=24).token_ids == smollm2.chat(emptied, so).token_ids
    expected = smollm2.chat(emptied, replace(so, temperature=2.0)).token_ids
    assert smollm2.chat(QUESTION, seed=3, max_tokens=24, temperature=2.0).token_ids == expected
    several = smollm2.chat(QUESTION, seed=3, max_tokens=24, n=2, variables={"unused": 1}).choices
    of_messages = smollm2.chat(emptied, replace(so, n=2)).choices
    assert [one.token_ids for one in several] == [one.token_ids for one in of_messages]
    assert smollm2.chat(QUESTION, lively).token_ids == smollm2.chat(emptied, lively).token_ids != expected


@pytest.mark.real_model
def test_nothing_is_recommended_with_tools_or_an_adapter(smollm2: LLM) -> None:
    name = smollm2.adapters.load("recommended", LICENCE).name
    try:
        adapted = smollm2.chat([QUESTION], max_tokens=1, adapter=name)[0]
        session = ChatSession(smollm2, adapter=name)
        assert (session.recommended, session.params) == (NOTHING, GenerateParams())
    finally:
        smollm2.adapters.unload(name)
    assert str(adapted.prompt) == smollm2.apply_chat_template(PLAIN)
    weather = {"name": "weather", "description": "The weather.", "parameters": {"type": "object"}}
    called = smollm2.chat(QUESTION, tools=[weather], max_tokens=1)
    assert str(called.prompt) == smollm2.apply_chat_template(PLAIN, tools=[weather])


@pytest.mark.real_model
def test_nothing_is_recommended_with_a_template_of_ones_own(smollm2_path: Path) -> None:
    with LLM(smollm2_path, max_context=256, chat_template="chatml") as llm:
        asked = llm.chat(QUESTION, seed=3, max_tokens=8)
        assert str(asked.prompt) == llm.apply_chat_template(PLAIN)
        assert asked.token_ids == llm.chat(PLAIN, GenerateParams(seed=3, max_tokens=8)).token_ids
        session = ChatSession(llm)
        assert (llm.recommended, session.recommended, session.params) == (NOTHING, NOTHING, GenerateParams())


@pytest.mark.real_model
def test_a_conversation_is_sampled_so_and_its_history_has_what_was_said(smollm2: LLM) -> None:
    session = ChatSession(smollm2, max_tokens=4)
    assert session.params == GenerateParams(max_tokens=4, **recommended().sampling)
    assert ChatSession(smollm2, params=GenerateParams()).params == GenerateParams()
    with session.stream(QUESTION) as answer:
        [*_] = answer
        assert answer.task is not None
        assert OWN_WORDS not in str(answer.task.prompt)
    assert [one["role"] for one in session.history] == ["user", "assistant"]
    given = ChatSession(smollm2, "Be brief.", max_tokens=4)
    with given.stream(QUESTION) as answer:
        assert answer.task is not None
        assert "Be brief." in str(answer.task.prompt)
