"""Plain completions: prompts in every form, echo and scoring as lm-eval reads them, best_of."""

import openai
import pytest

from ruvllm import LLM, GenerateParams
from tests.serve.conftest import REAL, TINY

PROMPTS = ["The capital of France is", "One, two, three,"]


def complete(client, prompt, name=REAL, **fields):
    fields = {"temperature": 0, "max_tokens": 6, **fields}
    return client.completions.create(model=name, prompt=prompt, **fields)


@pytest.mark.real_model
def test_prompts_in_every_form_give_the_same(real, smollm2: LLM) -> None:
    params = GenerateParams(temperature=0, top_p=1, repetition_penalty=1, max_tokens=6)
    expected = [smollm2.generate(prompt, params).text for prompt in PROMPTS]
    tokens = [smollm2.tokenize(prompt) for prompt in PROMPTS]
    assert [complete(real, prompt).choices[0].text for prompt in PROMPTS] == expected
    assert [complete(real, ids).choices[0].text for ids in tokens] == expected
    for several in (PROMPTS, tokens):
        answer = complete(real, several)
        assert [choice.text for choice in answer.choices] == expected
        assert [choice.index for choice in answer.choices] == [0, 1]
        assert answer.usage.prompt_tokens == sum(map(len, tokens))
        assert answer.usage.completion_tokens == 12


@pytest.mark.real_model
def test_a_stream_of_several_prompts(real) -> None:
    whole = complete(real, PROMPTS, n=2, temperature=1, seed=3)
    texts = dict.fromkeys(range(4), "")
    chunks = list(
        complete(
            real, PROMPTS, n=2, temperature=1, seed=3, stream=True, stream_options={"include_usage": True}
        )
    )
    for chunk in chunks:
        for choice in chunk.choices:
            texts[choice.index] += choice.text
    assert [texts[index] for index in range(4)] == [choice.text for choice in whole.choices]
    assert chunks[-1].usage.total_tokens == whole.usage.total_tokens


def test_sixteen_tokens_are_the_default(tiny) -> None:
    answer = tiny.completions.create(model=TINY, prompt="the cat", extra_body={"ignore_eos": True})
    assert answer.usage.completion_tokens == 16


def test_echo_gives_the_prompt_back(tiny, tiny_chat: LLM) -> None:
    plain = complete(tiny, "the cat", TINY).choices[0].text
    assert complete(tiny, "the cat", TINY, echo=True).choices[0].text == "the cat" + plain
    tokens = tiny_chat.tokenize("the cat")
    echoed = complete(tiny, tokens, TINY, echo=True, stream=True)
    assert "".join(chunk.choices[0].text for chunk in echoed) == tiny_chat.detokenize(tokens) + plain


@pytest.mark.real_model
def test_scoring_as_lm_eval_reads_it(real, smollm2: LLM) -> None:
    """lm-eval sends context and continuation as tokens and adds up the continuation's logprobs."""
    context, continuation = smollm2.tokenize(PROMPTS[0]), smollm2.tokenize(" Paris", add_bos=False)
    other = smollm2.tokenize(" cheese", add_bos=False)

    def score(tokens):
        answer = complete(real, [context + tokens], max_tokens=1, echo=True, logprobs=1, seed=1)
        lists = answer.choices[0].logprobs
        logprobs = lists.token_logprobs[len(context) : -1]
        tops = lists.top_logprobs[len(context) : -1]
        is_greedy = all(max(top.values()) == one for one, top in zip(logprobs, tops, strict=True))
        return sum(logprobs), is_greedy

    expected = -smollm2.score(context + continuation)[len(context) - 1 :].sum()
    likely, is_greedy = score(continuation)
    assert likely == pytest.approx(float(expected), abs=1e-4)
    assert is_greedy
    unlikely, other_is_greedy = score(other)
    assert unlikely < likely - 1
    assert not other_is_greedy


def test_a_prompt_as_long_as_the_context_can_be_scored(tiny, tiny_chat: LLM) -> None:
    limit = tiny_chat.model_info.max_context
    tokens = (tiny_chat.tokenize("the cat sat") * limit)[:limit]
    answer = complete(tiny, tokens, TINY, max_tokens=0, echo=True, logprobs=0)
    assert len(answer.choices[0].logprobs.tokens) == limit
    with pytest.raises(openai.BadRequestError) as refused:
        complete(tiny, tokens, TINY, max_tokens=1)
    assert refused.value.code == "context_length_exceeded"


@pytest.mark.real_model
def test_the_best_of_several_is_the_likeliest(real) -> None:
    every = complete(real, PROMPTS[1], n=4, temperature=1.4, seed=9, logprobs=0)
    best = complete(real, PROMPTS[1], best_of=4, temperature=1.4, seed=9)

    def likelihood(choice):
        return sum(choice.logprobs.token_logprobs) / len(choice.logprobs.token_logprobs)

    assert best.choices[0].text == max(every.choices, key=likelihood).text
    assert best.choices[0].logprobs is None
    assert best.usage.completion_tokens == every.usage.completion_tokens


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"suffix": "the end"}, "suffix"),
        ({"suffix": "the end", "echo": True}, "echo"),
        ({"suffix": "the end", "prompt": [5]}, "prompt"),
        ({"suffix": "the end", "extra_body": {"parse_special": True}}, "parse_special"),
        ({"best_of": 2, "n": 3}, "best_of"),
        ({"best_of": 2, "stream": True}, "best_of"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"logprobs": 99}, "logprobs"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": [[]]}, "prompt"),
        ({"prompt": [2**30]}, "prompt"),
        ({"prompt": [-1]}, "prompt"),
        ({"prompt": [True, False]}, "prompt"),
        ({"prompt": [[5, True]]}, "prompt"),
        ({"prompt": [5.0]}, "prompt"),
        ({"prompt": ["a"] * 300}, "prompt"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(tiny, fields, param) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        complete(tiny, **{"prompt": "the cat", "name": TINY, **fields})
    assert refused.value.param.split("[")[0] == param
