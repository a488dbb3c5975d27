"""Chat completions as OpenAI's own client sees them, from SmolLM2 over a real socket."""

import math
from itertools import pairwise

import openai
import pytest

from ruvllm import LLM, GenerateParams
from tests.serve.conftest import REAL

pytestmark = pytest.mark.real_model

CAPITAL = [{"role": "user", "content": "What is the capital of France? Answer in one short sentence."}]
STORY = [{"role": "user", "content": "Write a long story about a parrot."}]


def ask(client, messages=CAPITAL, **fields):
    fields = {"temperature": 0, "max_tokens": 24, **fields}
    return client.chat.completions.create(model=REAL, messages=messages, **fields)


def streamed(client, messages=CAPITAL, **fields):
    return list(ask(client, messages, stream=True, **fields))


def text_of(chunks, index=0):
    return "".join(
        choice.delta.content or "" for chunk in chunks for choice in chunk.choices if choice.index == index
    )


def test_an_answer_has_the_shape_that_clients_know(real, smollm2: LLM) -> None:
    first, second = ask(real), ask(real)
    assert first.id.startswith("chatcmpl-")
    assert first.id != second.id
    assert first.object == "chat.completion"
    assert first.model == REAL
    assert first.system_fingerprint
    assert first.system_fingerprint == second.system_fingerprint
    (choice,) = first.choices
    assert (choice.index, choice.message.role, choice.message.refusal) == (0, "assistant", None)
    assert "Paris" in choice.message.content
    usage = first.usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert usage.prompt_tokens == len(smollm2.chat_tokens(CAPITAL))


def test_the_answer_is_the_engine_s(real, smollm2: LLM) -> None:
    expected = smollm2.chat(
        STORY, GenerateParams(temperature=0, top_p=1, repetition_penalty=1, max_tokens=40)
    )
    answer = ask(real, STORY, max_tokens=40)
    assert answer.choices[0].message.content == expected.text
    assert answer.usage.completion_tokens == expected.usage.completion_tokens


def test_a_stream_says_the_same_piece_by_piece(real) -> None:
    whole = ask(real, STORY)
    chunks = streamed(real, STORY)
    assert chunks[0].choices[0].delta.role == "assistant"
    assert text_of(chunks) == whole.choices[0].message.content
    assert len(chunks) > 4, "pieces are sent as they are made, those that came together in one"
    assert len({chunk.id for chunk in chunks}) == 1
    reasons = [chunk.choices[0].finish_reason for chunk in chunks]
    assert reasons[-1] == whole.choices[0].finish_reason == "length"
    assert not any(reasons[:-1])
    assert all("usage" not in chunk.model_fields_set for chunk in chunks)


def test_a_stream_s_usage_comes_when_asked_for(real) -> None:
    chunks = streamed(real, stream_options={"include_usage": True})
    *others, last = chunks
    assert last.choices == []
    # What was found in the cache, and how many guesses were computed, differs from run to run.
    details = ("prompt_tokens_details", "completion_tokens_details")
    asked = ask(real).usage
    assert last.usage == asked.model_copy(update={name: getattr(last.usage, name) for name in details})
    assert all(chunk.usage is None and "usage" in chunk.model_fields_set for chunk in others)


def test_headers_of_a_stream(real) -> None:
    with real.chat.completions.with_streaming_response.create(
        model=REAL, messages=CAPITAL, max_tokens=2, stream=True
    ) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["cache-control"] == "no-cache"
        assert response.headers["x-accel-buffering"] == "no"
        assert response.headers.get("content-encoding") is None
        lines = [line for line in response.iter_lines() if line]
    assert lines[-1] == "data: [DONE]"


def test_cached_tokens_are_counted(real) -> None:
    messages = [{"role": "system", "content": "You answer about islands. " * 8}, *CAPITAL]
    first = ask(real, messages).usage
    second = ask(real, messages).usage
    assert first.prompt_tokens_details.cached_tokens < second.prompt_tokens_details.cached_tokens
    assert second.prompt_tokens_details.cached_tokens == second.prompt_tokens - 1
    assert second.prompt_tokens_details.cache_write_tokens == 1
    assert second.completion_tokens_details.reasoning_tokens == 0


def test_a_second_turn_computes_only_what_is_new(real) -> None:
    messages = [{"role": "user", "content": "Tell me something about the sea near the islands of Greece."}]
    first = ask(real, messages, max_tokens=40)
    answer = first.choices[0].message.content
    messages += [{"role": "assistant", "content": answer}, {"role": "user", "content": "And in winter?"}]
    second = ask(real, messages).usage
    # The answer's last token was chosen and not computed, and what ends it was never made.
    known = first.usage.prompt_tokens + first.usage.completion_tokens - 2
    assert second.prompt_tokens_details.cached_tokens >= known


def test_characters_never_break_between_tokens(real) -> None:
    messages = [{"role": "user", "content": "Repeat exactly: 🦜🌍 日本語 naïve Ünicode"}]
    whole = ask(real, messages, max_tokens=60, temperature=1.5, seed=11).choices[0].message.content
    chunks = streamed(real, messages, max_tokens=60, temperature=1.5, seed=11)
    assert text_of(chunks) == whole
    for chunk in chunks[:-1]:
        for choice in chunk.choices:
            assert "\ufffd" not in (choice.delta.content or "")


@pytest.mark.parametrize(
    "stop", ["jungle", ["jungle"], ["never said", "jungle", "vibrant", "Polly had been"]]
)
def test_stop_texts_end_an_answer_and_are_not_shown(real, stop) -> None:
    plain = ask(real, STORY, max_tokens=60).choices[0].message.content
    assert "jungle" in plain
    answer = ask(real, STORY, max_tokens=60, stop=stop)
    assert answer.choices[0].finish_reason == "stop"
    assert answer.choices[0].message.content == plain[: plain.index("jungle")]
    assert text_of(streamed(real, STORY, max_tokens=60, stop=stop)) == plain[: plain.index("jungle")]


def test_the_newer_name_of_the_limit_wins(real) -> None:
    for fields in ({"max_tokens": 5}, {"max_completion_tokens": 5}):
        answer = ask(real, STORY, **{"max_tokens": openai.NOT_GIVEN, **fields})
        assert answer.usage.completion_tokens == 5
        assert answer.choices[0].finish_reason == "length"
    assert ask(real, STORY, max_tokens=9, max_completion_tokens=5).usage.completion_tokens == 5


def test_several_answers_are_numbered(real) -> None:
    answer = ask(real, STORY, n=3, temperature=1, seed=5)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert len({choice.message.content for choice in answer.choices}) > 1
    chunks = streamed(real, STORY, n=3, temperature=1, seed=5)
    for choice in answer.choices:
        assert text_of(chunks, choice.index) == choice.message.content
    order = [choice.index for chunk in chunks for choice in chunk.choices]
    assert sum(a != b for a, b in pairwise(order)) > 5, "the answers did not run together"
    assert answer.usage.completion_tokens > max(
        len(choice.message.content.split()) for choice in answer.choices
    )


def test_a_seed_repeats_and_another_differs(real) -> None:
    def draw(seed: int, **fields):
        return ask(real, STORY, temperature=1, seed=seed, max_tokens=20, **fields).choices[0].message.content

    assert draw(1) == draw(1)
    assert len({draw(seed) for seed in range(4)}) > 1
    # The same alone as beside others, and cached or not.
    assert draw(1, n=4) == draw(1, extra_body={"cache_prefix": False})


def test_greedy_is_the_likeliest_token(real) -> None:
    answer = ask(real, STORY, logprobs=True, top_logprobs=5)
    for entry in answer.choices[0].logprobs.content:
        assert entry.logprob == max(top.logprob for top in entry.top_logprobs)
    for fields in ({"top_p": 1e-9}, {"extra_body": {"top_k": 1}}, {"extra_body": {"min_p": 0.9999}}):
        other = ask(real, STORY, temperature=1, **fields)
        assert other.choices[0].message.content == answer.choices[0].message.content, fields


def test_penalties_follow_their_formula(real) -> None:
    """With greedy choice a penalty that outweighs any lead forbids what was said; a small one need not."""
    said = ask(real, STORY, max_tokens=30, logprobs=True).choices[0].logprobs.content
    assert len({entry.token for entry in said}) < len(said)
    once = ask(real, STORY, max_tokens=30, presence_penalty=2, frequency_penalty=2, logprobs=True)
    tokens = [entry.token for entry in once.choices[0].logprobs.content]
    repeats = len(tokens) - len(set(tokens))
    assert repeats < len(said) - len({entry.token for entry in said})
    strong = ask(real, STORY, max_tokens=30, extra_body={"repetition_penalty": 9.0}, logprobs=True)
    tokens = [entry.token for entry in strong.choices[0].logprobs.content]
    assert len(set(tokens)) == len(tokens)


def test_biases_ban_and_force_tokens(real, smollm2: LLM) -> None:
    plain = ask(real, CAPITAL, logprobs=True).choices[0].logprobs.content[0].token
    (token,) = smollm2.tokenize(plain, add_bos=False)
    banned = ask(real, CAPITAL, logit_bias={str(token): -100}, logprobs=True)
    assert banned.choices[0].logprobs.content[0].token != plain
    (forced,) = smollm2.tokenize(" seven", add_bos=False)
    answer = ask(real, CAPITAL, logit_bias={str(forced): 100}, max_tokens=3)
    assert answer.choices[0].message.content == " seven seven seven"


def test_messages_come_in_all_their_forms(real) -> None:
    plain = ask(real, [{"role": "system", "content": "Be brief."}, *CAPITAL]).choices[0].message.content
    parts = [{"type": "text", "text": CAPITAL[0]["content"][:20]}]
    parts.append({"type": "text", "text": CAPITAL[0]["content"][20:]})
    other = ask(real, [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": parts}])
    assert other.choices[0].message.content == plain
    assert ask(real, [{**CAPITAL[0], "name": "anna"}]).choices[0].message.content


def test_an_answer_that_was_begun_goes_on(real) -> None:
    whole = ask(real, STORY, max_tokens=30).choices[0].message.content
    place = whole.index(" lush")
    begun = [*STORY, {"role": "assistant", "content": whole[:place]}]
    answer = ask(real, begun, max_tokens=4).choices[0].message.content
    assert whole[place:].startswith(answer)


def test_timings_are_there_and_add_up(real) -> None:
    answer = ask(real, STORY)
    timings = answer.model_extra["timings"]
    details = answer.usage.prompt_tokens_details
    assert timings["cache_n"] == details.cached_tokens
    assert timings["cache_n"] + timings["prompt_n"] == answer.usage.prompt_tokens
    assert timings["predicted_n"] == answer.usage.completion_tokens
    speed = (timings["predicted_n"] - 1) / timings["predicted_ms"] * 1000
    assert math.isclose(speed, timings["predicted_per_second"], rel_tol=0.01)
    assert streamed(real, STORY)[-1].model_extra["timings"]["predicted_n"] == 24
