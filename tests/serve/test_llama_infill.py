"""`/infill` as llama.vim and llama.vscode send it, and the fields that they read."""

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from ruvllm import LLM, GenerateParams
from ruvllm.serve import create_app
from ruvllm.serve.infill_bounds import InfillBounds
from tests.attacks.marked_model import CONTROL, write_marked_model
from tests.conftest import FIXTURES
from tests.serve.conftest import TINY
from tests.serve.running import RunningServer, running
from tests.serve.scripted_models import write_script
from tests.serve.test_fields import check_error

MARKS = ["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|repo_name|>", "<|file_sep|>"]
GREEDY = GenerateParams(temperature=0, top_p=1, repetition_penalty=1, max_tokens=8)
BEFORE, AFTER = "def f(x):\n    ", "\n\nprint(f(1))"
SHOWN = [
    "content",
    "timings/prompt_n",
    "timings/prompt_ms",
    "timings/prompt_per_second",
    "timings/predicted_n",
    "timings/predicted_ms",
    "timings/predicted_per_second",
    "truncated",
    "tokens_cached",
]
# As llama.vim writes it: a completion, and the warming up that goes before.
VIM: dict[str, Any] = {
    "id_slot": -1,
    "input_prefix": BEFORE,
    "input_suffix": AFTER,
    "input_extra": [{"text": "a = 1\n", "time": [3, 4], "filename": "a.py"}],
    "prompt": "return ",
    "n_predict": 8,
    "stop": [],
    "n_indent": 0,
    "top_k": 40,
    "top_p": 0.90,
    "stream": False,
    "samplers": ["top_k", "top_p", "infill"],
    "cache_prompt": True,
    "t_max_prompt_ms": 500,
    "t_max_predict_ms": 60_000,
    "response_fields": SHOWN,
}
WARMING = {**VIM, "prompt": "", "n_predict": 0, "samplers": [], "temperature": 0.0, "response_fields": [""]}
# As llama.vscode does.
VSCODE = {name: value for name, value in VIM.items() if name not in ("response_fields", "stop", "id_slot")}


@pytest.fixture(scope="module")
def llm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LLM]:
    path = tmp_path_factory.mktemp("infill") / "coder.gguf"
    write_marked_model(FIXTURES / "gguf" / "llama-gqa.gguf", path, "", dict.fromkeys(MARKS, CONTROL))
    with LLM(path) as model:
        yield model


@pytest.fixture(scope="module")
def server(llm: LLM, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """That model, and one that says what it is told to."""
    lines = ["x = 1", "\n    y = 2\n", "\n    z", " = 3\nprint(", "y)\n"]
    folder = tmp_path_factory.mktemp("lines")
    path = write_script(folder / "lines.gguf", lines, marks=MARKS)
    with LLM(path) as script, running(create_app({"coder": llm, "lines": script})) as server:
        yield server


def ask(server: RunningServer, **body: Any) -> httpx.Response:
    return httpx.post(f"{server.url}/infill", json=body, timeout=20)


def filled(server: RunningServer, **body: Any) -> dict[str, Any]:
    answer = ask(server, **body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_what_editors_send_is_answered(server: RunningServer, llm: LLM) -> None:
    tokens = llm.infill_tokens(BEFORE, AFTER, extra=[("a.py", "a = 1\n")], begun="return ")
    expected = llm.generate(tokens, GREEDY)
    answer = filled(server, **VIM)
    assert answer["content"] == expected.text
    assert set(answer) == set(SHOWN)
    assert answer["timings/predicted_n"] == 8
    assert answer["truncated"] is False
    whole = filled(server, **VSCODE)
    assert whole["content"] == expected.text
    assert (whole["tokens_predicted"], whole["tokens_evaluated"]) == (8, len(tokens))
    assert whole["tokens_cached"] == whole["timings"]["cache_n"] > 0
    assert (whole["stop"], whole["stop_type"], whole["model"]) == (True, "limit", "coder")


def test_warming_up_computes_the_prompt_and_says_nothing(server: RunningServer, llm: LLM) -> None:
    extra = [{"text": "some other text " * 5, "filename": "b.py"}]
    assert filled(server, **{**WARMING, "input_extra": extra}) == {}
    said = filled(server, **{**WARMING, "input_extra": extra, "response_fields": None})
    assert (said["content"], said["tokens_predicted"]) == ("", 0)
    after = filled(server, **{**VSCODE, "input_extra": extra})
    assert after["tokens_cached"] > 16
    assert llm.infill_tokens(BEFORE, AFTER, extra=[("b.py", extra[0]["text"])])[: after["tokens_cached"]]


def test_a_stream_says_the_same(server: RunningServer) -> None:
    whole = filled(server, **VSCODE)
    answer = ask(server, **{**VSCODE, "stream": True})
    events = [json.loads(event.removeprefix("data: ")) for event in answer.text.split("\n\n")[:-1]]
    assert "".join(event["content"] for event in events) == whole["content"]
    assert [event["stop"] for event in events] == [False] * (len(events) - 1) + [True]
    assert events[-1]["tokens_predicted"] == whole["tokens_predicted"]


def test_what_does_not_fit_is_cut_around_the_cursor_and_said(server: RunningServer, llm: LLM) -> None:
    long = "x = 1\n" * llm.model_info.max_context
    answer = filled(server, **{**VSCODE, "input_prefix": long})
    assert answer["truncated"] is True
    assert answer["tokens_evaluated"] <= llm.model_info.max_context - 8


def test_samplers_that_are_not_named_are_off(server: RunningServer, llm: LLM) -> None:
    body = {**VSCODE, "seed": 5, "temperature": 0.2, "repeat_penalty": 1.5, "min_p": 0.2}
    tokens = llm.infill_tokens(BEFORE, AFTER, extra=[("a.py", "a = 1\n")], begun="return ")

    def made(**params: Any) -> str:
        params = {"max_tokens": 8, "seed": 5, "repetition_penalty": 1.0, "top_p": 1.0, **params}
        return llm.generate(tokens, GenerateParams(**params)).text

    assert filled(server, **{**body, "samplers": ["top_k"]})["content"] == made(temperature=1.0, top_k=40)
    everything = {"temperature": 0.2, "top_k": 40, "top_p": 0.9, "min_p": 0.2, "repetition_penalty": 1.5}
    assert filled(server, **{**body, "samplers": None})["content"] == made(**everything)
    named = ["penalties", "top_p", "min_p", "temperature"]
    assert filled(server, **{**body, "samplers": named})["content"] == made(**{**everything, "top_k": 0})


def test_an_answer_ends_by_its_indentation(server: RunningServer) -> None:
    body = {"model": "lines", "prompt": "\n", "n_predict": 20, "temperature": 0}
    assert filled(server, **body)["content"] == "x = 1\n    y = 2\n\n    z = 3\nprint(y)\n"
    assert filled(server, **body)["stop_type"] == "eos"
    ended = filled(server, **body, n_indent=4)
    assert ended["content"] == "x = 1\n    y = 2\n"
    assert (ended["stop_type"], ended["has_new_line"]) == ("limit", True)
    assert filled(server, **body, n_indent=1, stop=["z"])["content"] == "x = 1\n    y = 2\n"
    word = filled(server, **body, stop=["y = "])
    assert (word["content"], word["stop_type"], word["stopping_word"]) == ("x = 1\n    ", "word", "y = ")


def test_bounds_do_not_depend_on_the_pieces() -> None:
    text = "x = 1\n    y = 2\n      \n    z\n  print(y)\n"
    for indent, expected in ((0, text), (3, text[:29]), (5, "x = 1\n"), (2, text)):
        for size in range(1, len(text) + 1):
            bounds = InfillBounds(indent=indent)
            pieces = [text[start : start + size] for start in range(0, len(text), size)]
            shown = ""
            for piece in pieces:
                shown += bounds.shown(piece)
                if bounds.has_ended:
                    break
            assert shown + bounds.rest() == expected, (indent, size)


def test_an_answer_ends_in_time_once_a_line_is_whole() -> None:
    bounds = InfillBounds(seconds=0.0)
    assert (bounds.shown("a"), bounds.has_ended) == ("a", False)
    assert (bounds.shown("b\nc"), bounds.has_ended) == ("b\nc", True)
    late = InfillBounds(seconds=3600.0)
    assert (late.shown("b\nc"), late.has_ended) == ("b\nc", False)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"samplers": ["top_k", "magic"]}, "samplers[1]"),
        ({"samplers": "kp"}, "samplers"),
        ({"mirostat": 1}, "mirostat"),
        ({"n_probs": 3}, "n_probs"),
        ({"lora": [{"id": 0, "scale": 0.5}]}, "lora"),
        ({"input_extra": [{"filename": "a"}]}, "input_extra[0].text"),
        ({"prompt": [1, 2]}, "prompt"),
        ({"n_predict": -2}, "n_predict"),
        ({"prompt": "b " * 2000}, "input_prefix"),
    ],
)
def test_what_is_not_done_is_refused(server: RunningServer, fields: dict[str, Any], param: str) -> None:
    answer = ask(server, **{**VSCODE, **fields})
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"] == param


def test_a_model_that_never_learned_it_is_refused(tiny_server: RunningServer) -> None:
    answer = ask(tiny_server, **VIM, model=TINY)
    assert answer.status_code == 400
    assert "fill in the middle" in answer.json()["error"]["message"]


NUMBER = {"type": "integer", "minimum": 10, "maximum": 99}


@pytest.mark.parametrize("stream", [False, True])
def test_what_is_written_keeps_to_a_grammar(server: RunningServer, stream: bool) -> None:
    body = {
        "input_prefix": BEFORE,
        "input_suffix": AFTER,
        "model": "coder",
        "n_predict": 20,
        "temperature": 1.5,
    }

    def written(**fields: Any) -> str:
        answer = ask(server, **body, stream=stream, **fields)
        assert answer.status_code == 200, answer.text
        if not stream:
            return answer.json()["content"]
        frames = [json.loads(line.removeprefix("data: ")) for line in answer.text.split("\n\n") if line]
        return "".join(one["content"] for one in frames)

    for seed in range(3):
        assert re.fullmatch("return [ab]{2}", written(grammar='root ::= "return " [ab] [ab]', seed=seed))
        assert 10 <= int(written(json_schema=NUMBER, seed=seed)) <= 99
        # Of an answer that has begun it is what follows.
        assert written(prompt="return ", grammar='start: "x" | "y"', seed=seed) in ("x", "y")
    assert written(grammar="", seed=1) == written(seed=1)


def test_a_grammar_that_cannot_be_kept_to_is_named(server: RunningServer) -> None:
    body = {"input_prefix": BEFORE, "input_suffix": AFTER, "model": "coder"}
    answer = ask(server, **body, json_schema={"properties": {"a": {"not": {}}}})
    check_error(answer, 400, "json_schema/properties/a/not", "invalid_json_schema")
    check_error(ask(server, **body, grammar='root ::= "a" x'), 400, "grammar", "invalid_grammar")
    both = ask(server, **body, grammar='root ::= "a"', json_schema=NUMBER)
    check_error(both, 400, "json_schema", "invalid_value")
