"""Adapters in the server: in every API by their names, loaded and unloaded while it answers, told of."""

import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anthropic
import httpx
import numpy as np
import openai
import pytest
from prometheus_client.parser import text_string_to_metric_families

from ruvllm import LLM, GenerateParams
from ruvllm.serve import ServedModel, create_app
from ruvllm.serve.asked_model import AskedModel
from ruvllm.serve.metrics import COUNTED_ADAPTERS, OTHER_ADAPTERS, Metrics
from ruvllm.serve.served_models import ServedModels
from tests.conftest import FIXTURES
from tests.serve.adapters import FIRST, SECOND, USER, adapter_server, folder, load, post, unload
from tests.serve.conftest import TINY
from tests.serve.running import RunningServer, running

PROMPT = "the cat sat on"
MESSAGES: Any = [{"role": "user", "content": PROMPT}]
GREEDY = GenerateParams(
    max_tokens=12, temperature=0.0, top_p=1.0, repetition_penalty=1.0, ignore_eos=True, top_k=0, min_p=0.0
)
FIELDS: dict[str, Any] = {"max_tokens": 12, "temperature": 0, "ignore_eos": True}
# What is asked for, and the adapter that it means.
NAMES = {TINY: None, "first": "first", f"{TINY}:first": "first", "a/second": "a/second"}


@pytest.fixture(scope="module")
def llm(tiny_chat_path: Path) -> Iterator[LLM]:
    with LLM(tiny_chat_path) as llm:
        llm.adapters.load("first", folder(FIRST))
        llm.adapters.load("a/second", folder(SECOND))
        yield llm


@pytest.fixture(scope="module")
def server(llm: LLM) -> Iterator[RunningServer]:
    with adapter_server(llm, FIXTURES / "adapters") as server:
        yield server


def user_get(server: RunningServer, path: str) -> httpx.Response:
    return httpx.get(f"{server.url}{path}", headers={"x-api-key": USER})


# -- by their names, in every API


def chat(server: RunningServer, model: str) -> tuple[str, str]:
    answer = post(server, "/v1/chat/completions", USER, model=model, messages=MESSAGES, **FIELDS).json()
    return answer["model"], answer["choices"][0]["message"]["content"]


def chat_stream(server: RunningServer, model: str) -> tuple[str, str]:
    with openai.OpenAI(base_url=server.api, api_key=USER) as client:
        more = {"ignore_eos": True}
        stream = client.chat.completions.create(
            model=model, messages=MESSAGES, max_tokens=12, temperature=0, stream=True, extra_body=more
        )
        pieces = list(stream)
    names = {piece.model for piece in pieces}
    return names.pop(), "".join(piece.choices[0].delta.content or "" for piece in pieces)


def several(server: RunningServer, model: str) -> tuple[str, str]:
    answer = post(server, "/v1/chat/completions", USER, model=model, messages=MESSAGES, n=3, **FIELDS).json()
    texts = {choice["message"]["content"] for choice in answer["choices"]}
    assert len(texts) == 1
    return answer["model"], texts.pop()


def response(server: RunningServer, model: str) -> tuple[str, str]:
    fields = {"temperature": 0, "ignore_eos": True, "max_output_tokens": 12}
    answer = post(server, "/v1/responses", USER, model=model, input=PROMPT, **fields).json()
    kept = user_get(server, f"/v1/responses/{answer['id']}").json()
    assert kept == answer
    return answer["model"], answer["output"][0]["content"][0]["text"]


def message(server: RunningServer, model: str) -> tuple[str, str]:
    with anthropic.Anthropic(base_url=server.url, api_key=USER) as client:
        more = {"temperature": 0, "ignore_eos": True}
        answer = client.messages.create(model=model, messages=MESSAGES, max_tokens=12, extra_body=more)
    (block,) = answer.content
    assert isinstance(block, anthropic.types.TextBlock)
    return answer.model, block.text


CHATS: dict[str, Callable[[RunningServer, str], tuple[str, str]]] = {
    "chat": chat,
    "a stream": chat_stream,
    "several answers": several,
    "responses": response,
    "messages": message,
}


@pytest.mark.parametrize("way", CHATS)
def test_a_conversation_is_answered_by_the_adapter_that_is_named(
    server: RunningServer, llm: LLM, way: str
) -> None:
    texts = set()
    for name, adapter in NAMES.items():
        expected = llm.chat(MESSAGES, GREEDY, adapter=adapter).text
        assert CHATS[way](server, name) == (name, expected)
        texts.add(expected)
    assert len(texts) == 3


def test_texts_are_gone_on_from_and_scored_with_it(server: RunningServer, llm: LLM) -> None:
    tokens = llm.tokenize(PROMPT)
    for name, adapter in NAMES.items():
        body = {"model": name, "prompt": [PROMPT, PROMPT], "echo": True, "logprobs": 0, **FIELDS}
        answer = post(server, "/v1/completions", USER, **body).json()
        assert answer["model"] == name
        expected = llm.generate(PROMPT, GREEDY, adapter=adapter).text
        scores = [one.logprob for one in llm.token_logprobs(tokens, adapter=adapter)]
        for choice in answer["choices"]:
            assert choice["text"] == PROMPT + expected
            logprobs = choice["logprobs"]["token_logprobs"][1 : len(tokens)]
            assert logprobs == pytest.approx(scores, abs=1e-5)


def test_embeddings_are_the_adapters(server: RunningServer, llm: LLM) -> None:
    for name, adapter in NAMES.items():
        answer = post(server, "/v1/embeddings", USER, model=name, input=PROMPT).json()
        assert answer["model"] == name
        vector = llm.embed(PROMPT, adapter=adapter)
        np.testing.assert_allclose(answer["data"][0]["embedding"], vector, atol=1e-6)


def test_tokens_are_those_of_the_model(server: RunningServer, llm: LLM) -> None:
    for name in NAMES:
        answer = post(server, "/tokenize", USER, model=name, prompt=PROMPT).json()
        assert answer["tokens"] == llm.tokenize(PROMPT)


@pytest.mark.parametrize("name", ["nobody", f"{TINY}:nobody", "nobody:first", ":first", f"{TINY}:", "FIRST"])
def test_a_name_that_nothing_has_is_a_404_of_the_api_s_own(server: RunningServer, name: str) -> None:
    answer = post(server, "/v1/chat/completions", USER, model=name, messages=MESSAGES)
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "model_not_found"
    assert TINY in answer.json()["error"]["message"]
    answer = post(server, "/v1/messages", USER, model=name, messages=MESSAGES, max_tokens=1)
    assert answer.status_code == 404
    assert answer.json()["error"]["type"] == "not_found_error"
    assert user_get(server, f"/v1/models/{name}").status_code == 404


def test_the_fingerprint_says_which_content_answered(server: RunningServer) -> None:
    def fingerprint(model: str) -> str:
        answer = post(server, "/v1/completions", USER, model=model, prompt="a", max_tokens=1)
        found: str = answer.json()["system_fingerprint"]
        return found

    assert len({fingerprint(name) for name in (TINY, "first", "a/second")}) == 3
    assert fingerprint("first") == fingerprint(f"{TINY}:first")


# -- told of


def test_adapters_are_listed_with_the_model_that_they_are_for(server: RunningServer, llm: LLM) -> None:
    listed = user_get(server, "/v1/models").json()["data"]
    assert [(one["id"], one["parent"], one["root"]) for one in listed] == [
        (TINY, None, TINY),
        ("a/second", TINY, TINY),
        ("first", TINY, TINY),
    ]
    for one in listed:
        assert user_get(server, f"/v1/models/{one['id']}").json() == one
    adapters = user_get(server, "/v1/lora_adapters").json()["data"]
    assert [one["name"] for one in adapters] == ["a/second", "first"]
    for one in adapters:
        info = llm.adapters.info(one["name"])
        assert one["id"] == one["name"]
        assert one["base"] == TINY
        assert (one["generation"], one["rank"], one["bytes"]) == (info.generation, info.rank, info.num_bytes)
        assert one["modules"] == list(info.modules)
    # Where it was read is nobody's business.
    assert str(FIXTURES) not in user_get(server, "/v1/lora_adapters").text


def test_a_model_goes_before_an_adapter_and_the_earlier_model_s_adapter_before_another(
    llm: LLM, tiny_chat_path: Path
) -> None:
    with LLM(tiny_chat_path) as other:
        # Each other's content under the same name; one of them called as the other model is.
        other.adapters.load("first", folder(SECOND))
        other.adapters.load("one", folder(FIRST))
        with running(create_app({"one": llm, "org/two:Q4": other})) as server:

            def text(name: str) -> str:
                body = {"model": name, "messages": MESSAGES, **FIELDS}
                answer = httpx.post(f"{server.api}/chat/completions", json=body).json()
                assert answer["model"] == name
                found: str = answer["choices"][0]["message"]["content"]
                return found

            of_first = llm.chat(MESSAGES, GREEDY, adapter="first").text
            of_second = llm.chat(MESSAGES, GREEDY, adapter="a/second").text
            assert text("first") == text("one:first") == text("org/two:Q4:one") == of_first
            assert text("org/two:Q4:first") == text("a/second") == of_second
            assert text("one") == llm.chat(MESSAGES, GREEDY).text
            names = [one["id"] for one in httpx.get(f"{server.api}/models").json()["data"]]
            own, others = ["a/second", "first"], ["org/two:Q4:first", "org/two:Q4:one"]
            assert names == ["one", "org/two:Q4", *own, *others]
            for name in names:
                httpx.get(f"{server.api}/models/{name}").raise_for_status()
            assert [
                one["id"] for one in httpx.get(f"{server.api}/lora_adapters").json()["data"]
            ] == own + others


def test_the_description_has_the_routes(server: RunningServer) -> None:
    paths = httpx.get(f"{server.url}/openapi.json").json()["paths"]
    assert {"/v1/load_lora_adapter", "/v1/unload_lora_adapter", "/v1/lora_adapters"} <= set(paths)
    schema = paths["/v1/load_lora_adapter"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert "LoadAdapterRequest" in str(schema)


def samples(server: RunningServer) -> dict[tuple[str, str], float]:
    """The figures about adapters, by name and adapter."""
    families = text_string_to_metric_families(user_get(server, "/metrics").text)
    return {
        (sample.name.removeprefix("ruvllm:"), sample.labels.get("lora_name", "")): sample.value
        for family in families
        for sample in family.samples
        if "lora" in sample.name and sample.labels["model_name"] == TINY
    }


def test_metrics_count_adapters_and_what_asks_for_them(server: RunningServer, llm: LLM) -> None:
    before = samples(server)
    assert before["lora_adapters", ""] == 2
    assert before["lora_adapter_bytes", ""] == sum(one.num_bytes for one in llm.adapters.list())
    chat(server, "first")
    several(server, f"{TINY}:first")
    chat(server, TINY)
    post(server, "/v1/embeddings", USER, model="first", input="a").raise_for_status()
    post(server, "/v1/chat/completions", USER, model="nobody", messages=MESSAGES)
    after = samples(server)
    key = "lora_requests_total", "first"
    assert after[key] - before.get(key, 0) == 3
    assert ("lora_requests_total", "nobody") not in after


def test_a_scrape_is_bounded_however_many_adapters_are_asked_for(llm: LLM) -> None:
    served = ServedModel(TINY, lambda: llm)
    metrics = Metrics(ServedModels([served], []))  # type: ignore[arg-type]
    for number in range(COUNTED_ADAPTERS + 50):
        for _ in range(2):
            metrics.asked(AskedModel(name="", served=served, adapter=f"a{number}"))
    lines = [
        line for line in metrics.text().decode().splitlines() if line.startswith("ruvllm:lora_requests_t")
    ]
    assert len(lines) == COUNTED_ADAPTERS + 1
    (others,) = (line for line in lines if f'"{OTHER_ADAPTERS}"' in line)
    assert others.endswith(" 100.0")


# -- loaded and unloaded while it answers


def test_vllm_s_routes_load_replace_and_unload(server: RunningServer, llm: LLM) -> None:
    # Relative to a folder that is allowed, or whole.
    assert load(server, "new", f"{FIRST}/adapter").status_code == 200
    try:
        assert chat(server, "new") == ("new", llm.chat(MESSAGES, GREEDY, adapter="first").text)
        again = load(server, "new", folder(SECOND))
        assert again.status_code == 400
        assert "loaded already" in again.json()["error"]["message"]
        assert chat(server, "new")[1] == llm.chat(MESSAGES, GREEDY, adapter="first").text
        replaced = load(server, "new", folder(SECOND), load_inplace=True)
        assert replaced.status_code == 200
        assert replaced.text == "Success: LoRA adapter 'new' added successfully."
        assert chat(server, "new")[1] == llm.chat(MESSAGES, GREEDY, adapter="a/second").text
    finally:
        gone = unload(server, "new")
    assert (gone.status_code, gone.text) == (200, "Success: LoRA adapter 'new' removed successfully.")
    assert post(server, "/v1/chat/completions", model="new", messages=MESSAGES).status_code == 404
    assert unload(server, "new").status_code == 404
    # In place of nothing it is loaded.
    assert load(server, "new", folder(FIRST), load_inplace=True, model=TINY).status_code == 200
    assert unload(server, "new", model=TINY).status_code == 200


def whole_text(lines: Iterator[str]) -> str:
    events = [line.removeprefix("data: ") for line in lines if line.startswith("data: {")]
    return "".join(json.loads(event)["choices"][0]["text"] for event in events)


@pytest.mark.parametrize("change", ["unload", "replace"])
def test_a_stream_goes_on_with_what_it_began_with(server: RunningServer, llm: LLM, change: str) -> None:
    load(server, "passing", folder(FIRST)).raise_for_status()
    params = GenerateParams(
        max_tokens=200, temperature=0.0, top_p=1.0, repetition_penalty=1.0, ignore_eos=True
    )
    expected = llm.generate(PROMPT, params, adapter="passing").text
    body = {"model": "passing", "prompt": PROMPT, "stream": True, **FIELDS, "max_tokens": 200}
    headers = {"authorization": f"Bearer {USER}"}
    with httpx.stream("POST", f"{server.api}/completions", json=body, headers=headers, timeout=30) as stream:
        lines = stream.iter_lines()
        first = next(line for line in lines if line.startswith("data: {"))
        if change == "unload":
            unload(server, "passing").raise_for_status()
        else:
            load(server, "passing", folder(SECOND), load_inplace=True).raise_for_status()
        assert whole_text(iter([first, *lines])) == expected
    if change == "replace":
        assert chat(server, "passing")[1] == llm.chat(MESSAGES, GREEDY, adapter="a/second").text
        unload(server, "passing").raise_for_status()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_nobody_waits_for_adapters_that_are_read_slowly(llm: LLM, tmp_path: Path) -> None:
    """Their configurations are pipes, as on a disk that does not answer."""
    names = [f"slow-{number}" for number in range(6)]
    for name in names:
        shutil.copytree(folder(FIRST), tmp_path / name)
        (tmp_path / name / "adapter_config.json").unlink()
        os.mkfifo(tmp_path / name / "adapter_config.json")
    outcomes: dict[str, int] = {}
    config = (folder(FIRST) / "adapter_config.json").read_bytes()

    def load_slowly(name: str) -> None:
        outcomes[name] = load(server, name, name).status_code

    def answer_at_last(name: str) -> None:
        # Waits for the one that reads.
        (tmp_path / name / "adapter_config.json").write_bytes(config)

    with adapter_server(llm, tmp_path) as server:
        loads = [threading.Thread(target=load_slowly, args=(name,), daemon=True) for name in names]
        for one in loads:
            one.start()
        try:
            for _ in range(3):
                assert httpx.get(f"{server.url}/health").status_code == 200
                assert chat(server, "first")[1] == llm.chat(MESSAGES, GREEDY, adapter="first").text
                # Long work beside the loop, with the same key, has threads of its own.
                assert post(server, "/tokenize", prompt="the cat " * 4000).status_code == 200
            assert not outcomes
        finally:
            for name in names:
                threading.Thread(target=answer_at_last, args=(name,), daemon=True).start()
            for one in loads:
                one.join(20)
        assert outcomes == dict.fromkeys(names, 200)
        for name in names:
            unload(server, name).raise_for_status()


# -- with a model that is loaded later


def test_a_model_comes_with_its_adapters(tiny_chat_path: Path, llm: LLM) -> None:
    models = [
        ServedModel("one", lambda: LLM(tiny_chat_path), adapters={"tone": folder(FIRST)}),
        ServedModel("two", lambda: LLM(tiny_chat_path), adapters={"law": folder(SECOND)}),
    ]
    with running(create_app(models)) as server:

        def text(name: str) -> str:
            body = {"model": name, "messages": MESSAGES, **FIELDS}
            answer = httpx.post(f"{server.api}/chat/completions", json=body, timeout=30)
            found: str = answer.raise_for_status().json()["choices"][0]["message"]["content"]
            return found

        # The second model is loaded by a request for its adapter.
        assert text("law") == text("two:law") == llm.chat(MESSAGES, GREEDY, adapter="a/second").text
        assert text("tone") == text("one:tone") == llm.chat(MESSAGES, GREEDY, adapter="first").text


def test_a_model_whose_adapter_does_not_fit_cannot_be_used(tiny_chat_path: Path, tmp_path: Path) -> None:
    model = ServedModel("one", lambda: LLM(tiny_chat_path), adapters={"tone": tmp_path})
    with running(create_app([model])) as server:
        body = {"model": "one", "prompt": "a"}
        answer = httpx.post(f"{server.api}/completions", json=body, timeout=30)
        assert answer.status_code == 503
        assert "adapter_config.json" in answer.json()["error"]["message"]
        assert str(tmp_path) not in answer.text
