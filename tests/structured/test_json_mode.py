"""`JsonModeConfig`: with and without a mask, strict and not, whole answers and cut ones, mended and not."""

import dataclasses
import sys
from typing import Any, Literal

import pydantic
import pytest

import ruvllm
from ruvllm import LLM, Completion, ConfigError, GenerateParams, GenerationError, Grammar, JsonModeConfig
from ruvllm.outputs import Timings, Usage
from ruvllm.structured.json_mode import answer_of
from tests.structured.test_formats import PERSON

ANN = '{"name": "Ann", "age": 7}'


def answered(text: str, config: JsonModeConfig, finish_reason: Any = "stop") -> ruvllm.JsonAnswer:
    completion = Completion(
        text=text,
        token_ids=(1,) * 9,
        finish_reason=finish_reason,
        usage=Usage(prompt_tokens=1, completion_tokens=9),
        timings=Timings(first_token_seconds=0.0, total_seconds=0.0),
    )
    check = config.shape.checker() if config.strict else lambda value: None
    return answer_of(completion, config, config.shape, lambda text, value: check(value))


def asked(**changes: Any) -> JsonModeConfig:
    return JsonModeConfig(**{"schema": PERSON, "constrained_decoding": False, **changes})


def test_the_documented_defaults() -> None:
    config = JsonModeConfig()
    assert {one.name: getattr(config, one.name) for one in dataclasses.fields(config)} == {
        "schema": None, "strict": True, "repair": False, "grammar": None, "constrained_decoding": True
    }  # fmt: skip


def test_settings_that_are_refused() -> None:
    for name in ("strict", "repair", "constrained_decoding"):
        with pytest.raises(ConfigError, match=f"{name} is 1; it must be a bool"):
            JsonModeConfig(**{name: 1})
    with pytest.raises(ConfigError, match="held to one of them"):
        JsonModeConfig(schema=PERSON, grammar=Grammar.json())
    with pytest.raises(ConfigError, match="grammar is 5"):
        JsonModeConfig(grammar=5)  # type: ignore[arg-type]
    assert JsonModeConfig(grammar='root ::= "1"').grammar == Grammar.gbnf('root ::= "1"')


def test_without_a_mask_an_answer_is_checked() -> None:
    assert answered(ANN, asked()).value == {"name": "Ann", "age": 7}
    # In any order, which a grammar would not have.
    assert answered('{"age": 7, "name": "Ann"}', asked()).repairs == ()
    with pytest.raises(GenerationError, match="gives no value"):
        answered(f"```json\n{ANN}\n```", asked())
    with pytest.raises(GenerationError, match=r"none of the schema: \$\.age: 121 is greater"):
        answered('{"name": "Ann", "age": 121}', asked())
    loose = asked(strict=False)
    assert answered('{"name": "Ann", "age": 121}', loose).value == {"name": "Ann", "age": 121}
    with pytest.raises(GenerationError, match="gives no value"):
        answered("I cannot.", loose)
    with pytest.raises(GenerationError, match="no JSON object"):
        answered("[1]", JsonModeConfig(constrained_decoding=False))


def test_a_mended_answer_says_so_and_is_checked() -> None:
    found = answered("Sure: {name: 'Ann', 'age': 7,}", asked(repair=True))
    assert found.value == {"name": "Ann", "age": 7}
    assert found.repairs == ("prose", "key", "quotes", "comma")
    assert found.completion.text.startswith("Sure")
    with pytest.raises(GenerationError, match="'age' is a required property"):
        answered("{name: 'Ann'}", asked(repair=True))
    assert answered("{name: 'Ann'}", asked(repair=True, strict=False)).value == {"name": "Ann"}
    with pytest.raises(GenerationError, match="cannot be mended"):
        answered("I cannot.", asked(repair=True))


def test_a_cut_answer_is_read_where_that_was_asked_for() -> None:
    with pytest.raises(
        GenerationError, match="ended after 9 tokens and is not whole: length; raise max_tokens"
    ):
        answered('{"name": "An', JsonModeConfig(schema=PERSON), "length")
    # The number might have gone on.
    with pytest.raises(GenerationError, match="'age' is a required"):
        answered('{"name": "Ann", "age": 7', JsonModeConfig(schema=PERSON, repair=True), "length")
    texts = answered('["one", "tw', JsonModeConfig(schema={"type": "array"}, repair=True), "length")
    assert (texts.value, texts.repairs) == (["one", "tw"], ("end",))
    loose = JsonModeConfig(schema=PERSON, repair=True, strict=False)
    assert answered('{"name": "Ann", "age": 7', loose, "length").value == {"name": "Ann"}


def test_types_of_pydantic_give_instances_and_check_by_themselves() -> None:
    class Person(pydantic.BaseModel):
        name: str
        age: int

        @pydantic.field_validator("age")
        @classmethod
        def grown_up(cls, age: int) -> int:
            if age < 18:
                raise ValueError("too young")
            return age

    config = asked(schema=Person, repair=True)
    assert answered("{name: 'Ann', age: 70}", config).value == Person(name="Ann", age=70)
    with pytest.raises(GenerationError, match="too young"):
        answered(ANN, config)
    assert answered("'left'", asked(schema=Literal["left", "right"], repair=True)).value == "left"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # with which jsonschema fetches
def test_a_schema_that_refers_elsewhere_fetches_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[Any] = []
    monkeypatch.setattr("urllib.request.urlopen", lambda *arguments, **named: fetched.append(arguments))
    with pytest.raises(ruvllm.GrammarError, match="cannot be checked"):
        answered("{}", asked(schema={"$ref": "http://schemas.example/a.json"}))
    assert not fetched


def test_without_jsonschema_it_is_said_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    with pytest.raises(ConfigError, match=r"pip install jsonschema; or set strict=False"):
        answered(ANN, asked())
    assert answered(ANN, asked(strict=False)).value == {"name": "Ann", "age": 7}


def test_a_random_model_is_held_or_found_wanting(tiny_gguf: LLM) -> None:
    params = GenerateParams(seed=3, max_tokens=200, temperature=1.2)
    one_of = {"enum": ["left", "right"]}
    answer = tiny_gguf.answer_json("x", JsonModeConfig(schema=one_of), params)
    assert answer.value in ("left", "right")
    assert answer.repairs == ()
    assert answer.completion.finish_reason == "stop"
    unmasked = JsonModeConfig(schema=one_of, constrained_decoding=False, repair=True)
    with pytest.raises(GenerationError, match="cannot be mended"):
        tiny_gguf.generate_json("x", unmasked, params)
    # Its own grammar holds what no mask did.
    held = JsonModeConfig(grammar='root ::= "[" [0-9] "]"')
    assert tiny_gguf.generate_json("x", held, params)[0] in range(10)
    assert isinstance(
        tiny_gguf.generate_json("x", JsonModeConfig(schema={"type": "object", "maxProperties": 0})), dict
    )
    with pytest.raises(ConfigError, match="must be a JsonModeConfig"):
        tiny_gguf.answer_json("x", PERSON)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="leave it out"):
        tiny_gguf.answer_json("x", held, GenerateParams(grammar=Grammar.json()))


@pytest.mark.real_model
def test_a_real_model_without_a_mask_is_mended(smollm2: LLM) -> None:
    """What it was asked for is in a block of code; and a text that is cut is there as far as it came."""
    greedy = GenerateParams(temperature=0.0, repetition_penalty=1.0, max_tokens=120)
    shown = [
        {"role": "user", "content": "Write a JSON object with the keys name and age for Ann, who is 10."}
    ]
    config = JsonModeConfig(constrained_decoding=False, repair=True)
    answer = smollm2.answer_json(shown, config, greedy)
    print(answer.completion.text, answer.repairs)
    assert {"name", "age"} <= set(answer.value)
    told = {"properties": {"story": {"type": "string", "minLength": 400}}, "required": ["story"]}
    story = JsonModeConfig(schema={"type": "object", **told}, repair=True, strict=False)
    cut = smollm2.answer_json(
        "A long story, as JSON: ", story, GenerateParams(temperature=0.0, max_tokens=30)
    )
    assert cut.completion.finish_reason == "length"
    assert cut.repairs == ("end",)
    assert len(cut.value["story"]) > 20
