"""What must come out of each row of docs/coming-from.md, by what the row says it does.

A check gets the value of the row's last statement and the names around it, and asserts.
"""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ruvllm import ConfigError, Grammar, TokenizationError

Names = dict[str, Any]
Check = Callable[[Any, Names], None]
CHECKS: dict[str, Check] = {}
GREEDY = {"temperature": 0, "repetition_penalty": 1}


def check(what: str) -> Callable[[Check], Check]:
    """Say that a function looks at what comes out of the row of that name."""

    def kept(function: Check) -> Check:
        assert what not in CHECKS, what
        CHECKS[what] = function
        return function

    return kept


def holds(what: str, condition: Callable[[Any], object]) -> None:
    """The same for a condition on the value alone."""

    def looked_at(value: Any, names: Names) -> None:
        assert condition(value), value

    check(what)(looked_at)


def refused(what: str, keyword: str, condition: Callable[[Any], object]) -> None:
    """A row that says no: the keyword of the others is an error, and what to do instead does something."""

    def looked_at(value: Any, names: Names) -> None:
        with pytest.raises(TypeError, match=keyword):
            names["llm"].generate("Paris is", **{keyword: 1})
        assert condition(value), value

    check(what)(looked_at)


def same_as_greedy(what: str, num_tokens: int = 6) -> None:
    """Where all but the likeliest token is left out, the draw is no draw."""

    def looked_at(value: Any, names: Names) -> None:
        plain = names["llm"].generate("Paris is", max_tokens=num_tokens, **GREEDY)
        assert value.token_ids == plain.token_ids

    check(what)(looked_at)


# -- loading

holds("load a model by name", lambda it: it.name == "smollm2-135m" and it.model_info.num_layers == 30)
holds("load a GGUF file", lambda it: it.name == "llama-gqa" and it.tokenizer is not None)
holds("load a folder of safetensors", lambda it: it.name == "llama-gqa" and it.tokenizer is None)
holds("fetch without loading", lambda it: it.is_file() and it.suffix == ".gguf")
holds("length of the context", lambda it: it.model_info.max_context == 2048)
holds("threads", lambda it: it.model_info.threads == 2)
holds("keys and values in fewer bits", lambda it: it.generate("Paris is", max_tokens=2).text)
holds("prompts that begin alike", lambda it: it.total_lookups > 0)
holds("what is loaded", lambda it: it.architecture == "llama" and it.quantization == "Q4_1")
holds("memory in use", lambda it: it.weight_bytes > 90e6)


@check("how many requests at once")
def _(value: Any, names: Names) -> None:
    many = value.generate(["Paris is"] * 20, max_tokens=2, ignore_eos=True)
    assert len(many) == 20


@check("memory for keys and values")
def _(value: Any, names: Names) -> None:
    total = value.memory_stats().kv_total_bytes
    assert total <= 268435456 < names["llm"].memory_stats().kv_total_bytes


@check("a GPU")
def _(value: Any, names: Names) -> None:
    for setting in ("n_gpu_layers", "tensor_parallel_size"):
        with pytest.raises(TypeError, match=setting):
            names["LLM"]("smollm2-135m", **{setting: 1})
    assert value.model_info.device.kind == "cpu"


@check("weights of fewer bits while loading")
def _(value: Any, names: Names) -> None:
    with pytest.raises(TypeError, match="quantization"):
        names["LLM"]("smollm2-135m", quantization="q4")
    assert Path("tiny.gguf").stat().st_size > 0


@check("guesses of next tokens")
def _(value: Any, names: Names) -> None:
    question = "Repeat: the lamp stands on the north side."
    plain = names["llm"].chat(question, speculate=False, max_tokens=16, **GREEDY)
    assert value.usage.drafted_tokens > 0 == plain.usage.drafted_tokens
    assert value.token_ids == plain.token_ids


@check("a draft model")
def _(value: Any, names: Names) -> None:
    # The same model twice, here: it guesses for itself.
    assert value.memory_stats().weight_bytes == 2 * names["llm"].memory_stats().weight_bytes
    asked = {"max_tokens": 12, **GREEDY}
    question = "What floats?"
    assert value.chat(question, **asked).token_ids == names["llm"].chat(question, **asked).token_ids


@check("keep what was computed")
def _(value: Any, names: Names) -> None:
    assert Path("prefixes.bin").stat().st_size > 0
    assert names["llm"].prefix_cache.load("prefixes.bin") is not None


@check("give it back")
def _(value: Any, names: Names) -> None:
    assert value is None


# -- making text

holds("go on from a text", lambda it: isinstance(it, str) and it)
holds("many prompts together", lambda it: len(it) == 2 and all(one.text for one in it))
holds("parameters of each prompt", lambda it: [len(one.token_ids) for one in it] == [2, 3])
holds("answers as they end", lambda it: sorted(it) == [0, 1] and all(one.text for one in it.values()))
holds("one question", lambda it: it.text)
holds("await an answer", lambda it: 1 <= it.usage.completion_tokens <= 4)
holds("an engine for asyncio", lambda it: 1 <= it.usage.completion_tokens <= 4)
holds("stream in asyncio", lambda it: len(it) > 1 and "".join(it))
holds("stream a conversation", lambda it: len(it) > 1 and "".join(it))
holds("a system prompt", lambda it: "Tokyo" in it.text)
holds("go on from the assistant's words", lambda it: it.text.startswith(" "))
holds("a conversation that is kept", lambda it: [m["role"] for m in it.history] == ["user", "assistant"] * 2)
holds("fill in the middle", lambda it: it == "this model was not trained for it" or it.text)
refused("beam search", "num_beams", lambda it: it.usage.completion_tokens == 4)


@check("several answers to one prompt")
def _(value: Any, names: Names) -> None:
    texts = [
        names["llm"].generate("Paris is", seed=seed, temperature=1, max_tokens=6).text for seed in range(3)
    ]
    assert [one.text for one in value] == texts
    assert len({*texts}) == 3


@check("a prompt of token ids")
def _(value: Any, names: Names) -> None:
    assert value.usage.prompt_tokens == len(names["llm"].tokenize("Paris is"))


@check("a conversation")
def _(value: Any, names: Names) -> None:
    assert value.prompt == names["llm"].apply_chat_template(names["messages"])


@check("many conversations")
def _(value: Any, names: Names) -> None:
    assert [one.prompt for one in value] == [names["llm"].apply_chat_template(names["messages"])] * 2


@check("stream a text")
def _(value: Any, names: Names) -> None:
    assert value
    assert isinstance(value, str)


@check("end an answer early")
def _(value: Any, names: Names) -> None:
    assert value.finish_reason is None
    assert names["llm"].generate("Paris is", max_tokens=1).text


@check("the best of several")
def _(value: Any, names: Names) -> None:
    assert value.cumulative_logprob == max(one.cumulative_logprob for one in names["answers"])
    assert len(names["answers"]) == 3


@check("images, audio")
def _(value: Any, names: Names) -> None:
    picture = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]
    with pytest.raises(TokenizationError, match="image_url"):
        names["llm"].chat([{"role": "user", "content": picture}])
    assert value.text


# -- how tokens are chosen

same_as_greedy("top-k")
same_as_greedy("top-p")
same_as_greedy("top-n-sigma")
# So far to the power of so much is nothing: it is as cold as can be. And no surprise is the likeliest.
same_as_greedy("dynamic temperature")
same_as_greedy("mirostat")
holds("XTC", lambda it: all(one.token_id == one.top_logprobs[1][0] for one in it.logprobs))


@check("typical-p")
def _(value: Any, names: Names) -> None:
    """The one whose surprise is nearest to what was to be expected."""
    logits = names["llm"].logits(names["llm"].tokenize("Paris is"))[-1].astype(np.float64)
    surprises = np.logaddexp.reduce(logits) - logits
    expected = (np.exp(-surprises) * surprises).sum()
    assert value.token_ids == (int(np.abs(surprises - expected).argmin()),)


@check("min-p")
def _(value: Any, names: Names) -> None:
    """Each was at least half as likely as the likeliest."""
    for one in value.logprobs:
        assert one.logprob >= one.top_logprobs[0][1] + math.log(0.5) - 1e-5


@check("the likeliest token each time")
def _(value: Any, names: Names) -> None:
    ids = names["llm"].tokenize("Paris is")
    assert value.token_ids[0] == int(np.argmax(names["llm"].logits(ids)[-1]))


holds("at most so many tokens", lambda it: it.usage.completion_tokens == 6 and it.finish_reason == "length")


@check("temperature")
def _(value: Any, names: Names) -> None:
    assert value.token_ids != names["llm"].generate("Paris is", max_tokens=6, **GREEDY).token_ids


def repeats_less(what: str) -> None:
    """A penalty of an answer that says "ha" again and again without one."""

    @check(what)
    def _(value: Any, names: Names) -> None:
        plain = names["llm"].generate("ha ha ha", max_tokens=12, **GREEDY)
        assert value.text.count(" ha") < plain.text.count(" ha")


@check("presence penalty")
def _(value: Any, names: Names) -> None:
    """By hand: 2 is taken off the logit of each token that the answer has."""
    ids = list(names["llm"].tokenize("ha ha ha"))
    answer: list[int] = []
    for _step in range(12):
        logits = names["llm"].logits(ids + answer)[-1].astype(np.float64)
        logits[list(set(answer))] -= 2
        answer.append(int(logits.argmax()))
    assert list(value.token_ids) == answer
    assert value.token_ids != names["llm"].generate("ha ha ha", max_tokens=12, **GREEDY).token_ids


repeats_less("repetition penalty")
repeats_less("frequency penalty")
repeats_less("DRY")
holds("the same draws again", lambda it: it[0] and it[0] == it[1])
holds("make a token likelier", lambda it: it.text == " green")
holds("forbid words", lambda it: it.text and " Paris" not in it.text)
holds("a function over the logits", lambda it: it.usage.completion_tokens == 4)


@check("as the model's makers recommend")
def _(value: Any, names: Names) -> None:
    assert value.usage.completion_tokens <= 2
    with names["LLM"](names["folder"]) as model:
        made = model.recommended_params()
    assert (made.temperature, made.top_k, made.top_p, made.repetition_penalty) == (0.6, 20, 1, 1)


holds("end at a text", lambda it: it.text == " 4," and it.finish_reason == "stop")
holds("which text ended it", lambda it: it == " 5")
holds("end at a token", lambda it: isinstance(it.stop_reason, int) and "5" not in it.text)
holds("go on past the end token", lambda it: it.usage.completion_tokens == 30)
holds("at least so many tokens", lambda it: it.usage.completion_tokens >= 12)
holds("why it ended", lambda it: it == "length")
holds(
    "how many tokens it took", lambda it: (it.completion_tokens, it.total_tokens) == (2, it.prompt_tokens + 2)
)
holds("how long it took", lambda it: 0 < it.first_token_seconds <= it.total_seconds)


# -- probabilities and vectors


@check("log-probabilities of an answer")
def _(value: Any, names: Names) -> None:
    assert [len(one.top_logprobs) for one in value] == [5, 5]
    assert all(one.logprob <= one.top_logprobs[0][1] for one in value)


@check("those of a prompt")
def _(value: Any, names: Names) -> None:
    ids = names["llm"].tokenize("Paris is a city")
    assert value == (None, *names["llm"].token_logprobs(ids, top_logprobs=5))


@check("those of a text")
def _(value: Any, names: Names) -> None:
    ids = names["llm"].tokenize("Paris is a city")
    logits = names["llm"].logits(ids)[0].astype(np.float64)
    expected = logits[ids[1]] - np.logaddexp.reduce(logits)
    assert len(value) == len(ids) - 1
    assert value[0].logprob == pytest.approx(expected, abs=1e-4)


@check("logits")
def _(value: Any, names: Names) -> None:
    assert value.shape == (len(names["llm"].tokenize("Paris is")), names["llm"].model_info.vocab_size)


@check("perplexity of a text")
def _(value: Any, names: Names) -> None:
    ids = names["llm"].tokenize("The capital of France is Paris.")
    mean = -sum(one.logprob for one in names["llm"].token_logprobs(ids)) / (len(ids) - 1)
    assert value == pytest.approx(math.exp(mean), rel=1e-5)


holds("how good a model is", lambda it: it.text.perplexity.value > 1)


@check("embeddings")
def _(value: Any, names: Names) -> None:
    assert value.shape == (2, names["llm"].model_info.hidden_size)
    assert np.linalg.norm(value, axis=1) == pytest.approx([1, 1], abs=1e-5)


def is_a_decision(value: Any) -> bool:
    return math.isclose(sum(dict(value.probabilities).values()), 1, abs_tol=1e-5) and value.confidence >= 0.5


holds("sort into classes", is_a_decision)


@check("rank documents")
def _(value: Any, names: Names) -> None:
    assert value.argmax() == 0
    assert not hasattr(names["llm"], "rank")


# -- tokens and templates

holds("text to tokens", lambda it: len(it) == 4 and all(isinstance(one, int) for one in it))
holds("tokens to text", lambda it: it == "Paris is a city")
holds("the text of a conversation", lambda it: it.endswith("<|im_start|>assistant\n") and "Japan?" in it)
holds("variables of the template", lambda it: 1 <= it.usage.completion_tokens <= 4)


@check("the tokens of a conversation")
def _(value: Any, names: Names) -> None:
    llm = names["llm"]
    assert value == llm.tokenize(llm.apply_chat_template(names["messages"]))


@check("a template of one's own")
def _(value: Any, names: Names) -> None:
    asked = value.apply_chat_template([{"role": "user", "content": "Hi"}])
    assert asked == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"


# -- answers of a shape, and tools


def is_a_city(value: object) -> bool:
    return isinstance(value, dict) and list(value) == ["name"] and len(value["name"]) <= 20


def is_a_call(name: str, arguments: str) -> bool:
    return name == "weather" and is_a_city(json.loads(arguments))


holds("a JSON schema", is_a_city)
holds("a type of Python's", lambda it: isinstance(it, bool))
holds("one of several texts", lambda it: it in ("glad", "angry"))
holds("a regular expression", lambda it: len(it) == 4 and it.isdigit())
holds("a grammar in GBNF", lambda it: it in ("yes", "no"))
holds("a call that must be", lambda it: is_a_call(it.name, it.arguments))


@check("any JSON object")
def _(value: Any, names: Names) -> None:
    assert value == Grammar.json_object()
    answer = names["llm"].generate("{", grammar=value, temperature=1, seed=1, max_tokens=4).text
    assert answer.lstrip().startswith("{")


@check("tools")
def _(value: Any, names: Names) -> None:
    assert "weather" in value.prompt
    assert (
        all(is_a_call(one.name, one.arguments) for one in value.tool_calls)
        if value.tool_calls
        else value.text
    )


@check("a conversation with tools")
def _(value: Any, names: Names) -> None:
    assert value.messages[0]["role"] == "user"
    with pytest.raises(ConfigError):
        names["ToolConversation"](names["llm"], tools=[{"type": "retrieval"}])


# -- adapters and training

holds("load a LoRA", lambda it: (it.name, it.rank) == ("licence", 8))
holds("unload it", lambda it: "gone" not in [one.name for one in it])
holds("train one", lambda it: it.steps == 2 and Path("sums", "adapter_model.safetensors").is_file())
holds("write a smaller file", lambda it: Path("small.gguf").is_file())


@check("a request with it")
def _(value: Any, names: Names) -> None:
    assert value.text != names["llm"].generate("The licence", max_tokens=8, **GREEDY).text


@check("several at once, with scales")
def _(value: Any, names: Names) -> None:
    with pytest.raises(ConfigError):
        names["llm"].chat(names["messages"], adapter={"half": "much"}, max_tokens=8)
    assert value.text


@check("measure what matters in it")
def _(value: Any, names: Names) -> None:
    value.save("imatrix.gguf")
    assert Path("imatrix.gguf").stat().st_size > 0
