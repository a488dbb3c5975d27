"""Logprobs: bytes that are the text's, probabilities that are the model's."""

import math

import numpy as np
import pytest

from ruvllm import LLM
from tests.serve.conftest import REAL, TINY

MESSAGES = [{"role": "user", "content": "Say something with an emoji 🦜 and the word naïve."}]


def create(client, name, **fields):
    return client.chat.completions.create(
        model=name, messages=MESSAGES, max_tokens=30, logprobs=True, top_logprobs=5, **fields
    )


@pytest.mark.real_model
@pytest.mark.parametrize(
    "fields", [{"temperature": 0}, {"temperature": 1.3, "seed": 3}, {"stop": ["e", "n"]}]
)
def test_bytes_join_to_the_text(real, fields) -> None:
    choice = create(real, REAL, **fields).choices[0]
    entries = choice.logprobs.content
    joined = b"".join(bytes(entry.bytes) for entry in entries)
    text = choice.message.content.encode()
    if fields.get("stop"):
        # A token may hold the beginning of a stop text; what stands before it is the answer's.
        assert joined.startswith(text)
        assert len(joined) - len(text) < len(bytes(entries[-1].bytes) if entries else b" ")
    else:
        assert joined == text
    for entry in entries:
        assert bytes(entry.bytes).decode("utf-8", "replace") == entry.token
        assert sum(math.exp(top.logprob) for top in entry.top_logprobs) <= 1 + 1e-5
        assert len(entry.top_logprobs) == 5
        assert all(top.logprob <= 1e-6 for top in entry.top_logprobs)


@pytest.mark.real_model
def test_a_stream_carries_the_same(real) -> None:
    whole = create(real, REAL, temperature=0).choices[0].logprobs.content
    streamed = [
        entry
        for chunk in create(real, REAL, temperature=0, stream=True)
        for choice in chunk.choices
        if choice.logprobs
        for entry in choice.logprobs.content
    ]
    assert [entry.token for entry in streamed] == [entry.token for entry in whole]
    assert [entry.logprob for entry in streamed] == [entry.logprob for entry in whole]


@pytest.mark.real_model
def test_an_end_token_is_not_among_them(real) -> None:
    answer = real.chat.completions.create(
        model=REAL, messages=[{"role": "user", "content": "Hi"}], temperature=0, max_tokens=50, logprobs=True
    )
    assert answer.choices[0].finish_reason == "stop"
    assert len(answer.choices[0].logprobs.content) == answer.usage.completion_tokens - (
        answer.usage.completion_tokens > len(answer.choices[0].logprobs.content)
    )
    assert all(entry.bytes for entry in answer.choices[0].logprobs.content)


def test_probabilities_are_the_model_s(tiny, tiny_chat: LLM) -> None:
    """Against NumPy's log-softmax of the model's own logits."""
    prompt = tiny_chat.tokenize("the cat sat on the mat")
    answer = tiny.completions.create(
        model=TINY, prompt=prompt, max_tokens=0, echo=True, logprobs=3, temperature=0
    )
    logits = tiny_chat.logits(prompt).astype(np.float64)
    log_probabilities = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    lists = answer.choices[0].logprobs
    assert lists.token_logprobs[0] is None
    expected = [log_probabilities[place, token] for place, token in enumerate(prompt[1:])]
    np.testing.assert_allclose(lists.token_logprobs[1:], expected, atol=2e-4)
    best = log_probabilities[:-1].max(axis=1)
    np.testing.assert_allclose([max(top.values()) for top in lists.top_logprobs[1:]], best, atol=2e-4)


def test_older_lists_have_one_length_and_real_offsets(tiny, tiny_chat: LLM) -> None:
    answer = tiny.completions.create(
        model=TINY, prompt="the cat sat", max_tokens=6, echo=True, logprobs=1, temperature=0, seed=1
    )
    lists = answer.choices[0].logprobs
    lengths = {len(lists.tokens), len(lists.token_logprobs), len(lists.top_logprobs), len(lists.text_offset)}
    assert lengths == {len(lists.tokens)}
    position = 0
    for token, offset in zip(lists.tokens, lists.text_offset, strict=True):
        assert offset == position
        position += len(token)
