"""vLLM's `prompt_logprobs`: how likely a prompt's own tokens are, beside what the model makes of it."""

import math
from typing import Any

import httpx
import numpy as np
import pytest

from ruvllm import LLM
from tests.serve.conftest import TINY
from tests.serve.running import RunningServer

TEXT = "the cat sat on the mat"
MESSAGES = [{"role": "user", "content": "the cat sat"}]
PLAIN: dict[str, Any] = {"model": TINY, "max_tokens": 3, "temperature": 0}


@pytest.fixture
def ask(tiny_server: RunningServer) -> Any:
    """Posts a body to a route of the API; gives what it answers."""

    def post(route: str, status: int = 200, **fields: Any) -> Any:
        answer = httpx.post(f"{tiny_server.api}/{route}", json={**PLAIN, **fields}, timeout=60)
        assert answer.status_code == status, answer.text
        return answer.json()

    return post


def check(entries: Any, llm: LLM, ids: list[int], count: int) -> None:
    """Against NumPy's log-softmax of the model's logits, and against `score` to the last digit of JSON."""
    logits = llm.logits(ids).astype(np.float64)
    reference = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    assert len(entries) == len(ids)
    assert entries[0] is None
    told = llm.token_logprobs(ids, top_logprobs=count)
    for row, token, entry, one in zip(reference, ids[1:], entries[1:], told, strict=False):
        # Its own comes first, as clients of vLLM read it.
        assert next(iter(entry)) == str(token)
        likeliest = np.argsort(-row, kind="stable")[:count].tolist()
        assert {*map(int, entry)} == {token, *likeliest}
        for name, its in entry.items():
            assert its["logprob"] == pytest.approx(row[int(name)], abs=2e-4)
            assert its["rank"] == (likeliest.index(int(name)) + 1 if int(name) in likeliest else None)
            shown = llm.token_bytes(int(name)).decode("utf-8", "replace")
            assert its["decoded_token"] == (shown or llm.tokenizer.token_text(int(name)))  # type: ignore[union-attr]
        assert entry[str(token)]["logprob"] == one.logprob


@pytest.mark.parametrize("count", [0, 1, 5])
def test_of_a_text(ask: Any, tiny_chat: LLM, count: int) -> None:
    plain = ask("completions", prompt=TEXT)
    answer = ask("completions", prompt=TEXT, prompt_logprobs=count)
    [choice] = answer["choices"]
    check(choice.pop("prompt_logprobs"), tiny_chat, tiny_chat.tokenize(TEXT), count)
    assert choice == plain["choices"][0]
    counted = ("prompt_tokens", "completion_tokens", "total_tokens")
    assert [answer["usage"][name] for name in counted] == [plain["usage"][name] for name in counted]


def test_of_several_texts_and_choices(ask: Any, tiny_chat: LLM) -> None:
    ids = [tiny_chat.tokenize("the cat"), tiny_chat.tokenize(TEXT), [7]]
    choices = ask("completions", prompt=ids, n=2, prompt_logprobs=1)["choices"]
    assert len(choices) == 6
    for index, choice in enumerate(choices[:4]):
        check(choice["prompt_logprobs"], tiny_chat, ids[index // 2], 1)
    assert [choice["prompt_logprobs"] for choice in choices[4:]] == [[None]] * 2


def test_beside_a_prompt_that_is_given_back(ask: Any, tiny_chat: LLM) -> None:
    """One scoring serves both, and neither gets more than it asked for."""
    ids = tiny_chat.tokenize(TEXT)
    for logprobs, count in ((1, 4), (4, 1)):
        both = ask("completions", prompt=TEXT, echo=True, logprobs=logprobs, prompt_logprobs=count)
        [choice] = both["choices"]
        check(choice.pop("prompt_logprobs"), tiny_chat, ids, count)
        alone = ask("completions", prompt=TEXT, echo=True, logprobs=logprobs)
        assert choice == alone["choices"][0]
    scored = ask("completions", prompt=TEXT, echo=True, logprobs=0, prompt_logprobs=0, max_tokens=0)
    check(scored["choices"][0]["prompt_logprobs"], tiny_chat, ids, 0)


def test_of_a_conversation(ask: Any, tiny_chat: LLM) -> None:
    answer = ask("chat/completions", messages=MESSAGES, n=2, prompt_logprobs=2)
    check(answer["prompt_logprobs"], tiny_chat, tiny_chat.chat_tokens(MESSAGES), 2)
    assert len(answer["choices"]) == 2
    assert all("prompt_logprobs" not in choice for choice in answer["choices"])
    assert "prompt_logprobs" not in ask("chat/completions", messages=MESSAGES)
    assert "prompt_logprobs" not in ask("completions", prompt=TEXT)["choices"][0]


@pytest.mark.parametrize(
    ("route", "more"), [("completions", {"prompt": TEXT}), ("chat/completions", {"messages": MESSAGES})]
)
def test_what_does_not_fit(ask: Any, route: str, more: dict[str, Any]) -> None:
    streamed = ask(route, 400, **more, stream=True, prompt_logprobs=0)["error"]
    assert streamed["param"] == "prompt_logprobs"
    assert "cannot be streamed" in streamed["message"]
    for wrong in (-1, 21, True, 1.5, "2"):
        assert ask(route, 400, **more, prompt_logprobs=wrong)["error"]["param"] == "prompt_logprobs"
    # A null asks for nothing.
    assert ask(route, **more, stream=None, prompt_logprobs=None)["choices"]


def test_a_prompt_is_told_as_it_would_be_sent_on(ask: Any) -> None:
    shown = ask("completions/render", prompt=TEXT, prompt_logprobs=3)[0]["sampling_params"]
    assert shown["prompt_logprobs"] == 3
    assert ask("completions/render", prompt=TEXT)[0]["sampling_params"]["prompt_logprobs"] is None


def test_probabilities_add_up(ask: Any) -> None:
    entries = ask("completions", prompt=TEXT, prompt_logprobs=20)["choices"][0]["prompt_logprobs"]
    for entry in entries[1:]:
        assert 0 < sum(math.exp(one["logprob"]) for one in entry.values()) <= 1 + 1e-5
