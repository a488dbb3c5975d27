"""What must come out of the rows of docs/coming-from.md that ask a server, and of those that are commands."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest

from tests.docs.coming_from_checks import Names, check, holds, is_a_call, is_a_city, is_a_decision

holds("which models there are", lambda it: it == "smollm2-135m")
holds("a chat", lambda it: it.choices[0].message.content and it.usage.completion_tokens <= 8)
holds("a chat as a stream", lambda it: any(one.choices[0].delta.content for one in it if one.choices))
holds("usage in a stream", lambda it: 1 <= it.completion_tokens <= 8)
holds("several answers", lambda it: [one.index for one in it] == [0, 1])
holds("a text that goes on", lambda it: it)
holds("an answer in a schema", lambda it: is_a_city(json.loads(it)))
holds("a call of a tool", lambda it: is_a_call(it[0].function.name, it[0].function.arguments))
holds("samplers that OpenAI has not", lambda it: it in ("stop", "length"))
holds("variables of a chat's template", lambda it: it in ("stop", "length"))
holds(
    "how far a prompt is read, as of llama.cpp's server",
    lambda it: it and all(0 <= one["processed"] < one["total"] for one in it),
)


@check("a response")
def _(value: Any, names: Names) -> None:
    """What the same model says at the other route."""
    said = names["client"].chat.completions.create(
        model="smollm2-135m",
        messages=[{"role": "user", "content": "What is the capital of Japan?"}],
        temperature=0,
        max_tokens=8,
    )
    assert value == said.choices[0].message.content != ""


@check("the score of a text")
def _(value: Any, names: Names) -> None:
    score = names["llm"].score(names["llm"].tokenize("Paris is a city"))
    assert value.token_logprobs[0] is None
    assert [-one for one in value.token_logprobs[1:]] == pytest.approx(list(score), abs=1e-4)


@check("the score of a prompt")
def _(value: Any, names: Names) -> None:
    ids = names["llm"].tokenize("Paris is a city")
    score = names["llm"].score(ids)
    assert value[0] is None
    own = [-entry[str(token)]["logprob"] for token, entry in zip(ids[1:], value[1:], strict=True)]
    assert own == pytest.approx(list(score), abs=1e-6)


@check("vectors")
def _(value: Any, names: Names) -> None:
    own = names["llm"].embed(["Paris", "Rome"])
    assert np.allclose([one.embedding for one in value], own, atol=1e-5)


def no_route(what: str, call: Callable[[openai.OpenAI], object], condition: Callable[[Any], object]) -> None:
    @check(what)
    def _(value: Any, names: Names) -> None:
        with pytest.raises(openai.NotFoundError):
            call(names["client"])
        assert condition(value), value


no_route("speech", lambda it: it.audio.speech.create(input="a", model="m", voice="a"), lambda it: it is None)
no_route("images", lambda it: it.images.generate(prompt="a"), lambda it: it is None)
no_route("files and batches", lambda it: it.batches.list(), lambda it: sorted(it) == [0, 1])
no_route("moderation", lambda it: it.moderations.create(input="a"), is_a_decision)


# The command of each row of the second part, and what it understands.
SMOLLM2 = "smollm2-135m"
COMMANDS: dict[str, tuple[str, dict[str, object]]] = {
    "fetch a model": ("pull", {"models": [SMOLLM2]}),
    "which are here": ("list", {"available": False, "fits": False}),
    "delete one": ("rm", {"models": [SMOLLM2], "yes": True}),
    "what a model is": ("info", {"model": SMOLLM2}),
    "chat on the terminal": ("chat", {"model": SMOLLM2, "prompt": None}),
    "one question": ("chat", {"model": SMOLLM2, "prompt": "Hello"}),
    "serve": ("serve", {"models": [SMOLLM2], "host": "127.0.0.1", "port": 8000}),
    "address and port": ("serve", {"host": "0.0.0.0", "port": 8080, "insecure": True}),
    "a key": ("serve", {"api_key": ["sk-12345678"]}),
    "a name of one's own": ("serve", {"models": ["mine=smollm2-135m"]}),
    "several models": ("serve", {"models": [SMOLLM2, "gemma-3-270m"]}),
    "length of the context": ("serve", {"max_context": 4096}),
    "threads": ("serve", {"threads": 2}),
    "keys and values in fewer bits": ("serve", {"kv_format": "int8"}),
    "how many may wait": ("serve", {"max_waiting": 100}),
    "a chat template of one's own": ("serve", {"chat_template": "chatml"}),
    "adapters": ("serve", {"adapter": ["tone=folder"]}),
    "write a smaller file": (
        "quantize",
        {"model": SMOLLM2, "target": Path("out.gguf"), "type_name": "Q4_K_M"},
    ),
    "measure what matters": (
        "imatrix",
        {"model": SMOLLM2, "text": Path("README.md"), "out": Path("imatrix.gguf")},
    ),
    "perplexity": ("eval", {"model": SMOLLM2, "text": Path("README.md"), "reference": None}),
    "speed of the engine": ("bench", {"model": SMOLLM2}),
    "speed of a server": ("bench-serve", {"url": "http://127.0.0.1:8080"}),
    "does it fit": ("doctor", {"model": SMOLLM2}),
}
