"""Answers of a real model that are held to grammars; `jsonschema` says whether they are what they must be."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import jsonschema
import pydantic
import pytest

from ruvllm import LLM, ConfigError, GenerateParams, GenerationError, Grammar, GrammarError
from tests.structured.test_schema_suite import FUNCTIONS, SUITE

pytestmark = pytest.mark.real_model

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 20},
        "age": {"type": "integer", "minimum": 0, "maximum": 120},
        "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "maxItems": 3},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
}
ASKED = [{"role": "user", "content": "Invent a person, as JSON."}]


def drawn(**changes: Any) -> GenerateParams:
    wanted = {"temperature": 1.5, "top_p": 1.0, "repetition_penalty": 1.0, "max_tokens": 160, **changes}
    return GenerateParams(**wanted)


def bounded(schema: Any) -> Any:
    """The same schema for short texts and lists, so that answers end: hot ones ramble."""
    if not isinstance(schema, dict):
        return schema
    made = dict(schema)
    if schema.get("type") == "string" and not schema.keys() & {"enum", "pattern", "format"}:
        made["maxLength"] = 8
    if schema.get("type") == "array":
        made["maxItems"] = max(2, schema.get("minItems", 0))
    if "properties" in schema:
        made["properties"] = {name: bounded(inner) for name, inner in schema["properties"].items()}
        made.setdefault("additionalProperties", False)
    if "items" in schema:
        made["items"] = bounded(schema["items"])
    return made


def hot_answers(llm: LLM, schemas: list[Any]) -> tuple[list[tuple[Any, str]], int, int]:
    """Whole answers by their schemas; how many were refused, each by a place, and how many cut off."""

    def one(numbered: tuple[int, Any]) -> str | GrammarError | None:
        index, schema = numbered
        params = drawn(seed=index, grammar=Grammar.json_schema(schema), max_tokens=100)
        try:
            completion = llm.chat("Call the function.", params)
        except GrammarError as error:
            return error
        return completion.text if completion.finish_reason == "stop" else None

    with ThreadPoolExecutor(16) as threads:
        outcomes = list(threads.map(one, enumerate(schemas)))
    whole = [(schema, text) for schema, text in zip(schemas, outcomes, strict=True) if isinstance(text, str)]
    refused = [outcome for outcome in outcomes if isinstance(outcome, GrammarError)]
    assert all(error.pointer is not None for error in refused), refused
    return whole, len(refused), outcomes.count(None)


def check_all(answers: list[tuple[Any, str]]) -> None:
    for schema, text in answers:
        dialect = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
        dialect(schema, format_checker=dialect.FORMAT_CHECKER).validate(json.loads(text))


@pytest.mark.parametrize("every", [5, pytest.param(1, marks=[pytest.mark.slow, pytest.mark.timeout(600)])])
def test_hot_answers_to_schemas_of_functions_are_valid(smollm2: LLM, every: int) -> None:
    schemas = list(map(bounded, FUNCTIONS[::every]))
    answers, refused, cut = hot_answers(smollm2, schemas)
    check_all(answers)
    print(f"{len(schemas)} schemas: {len(answers)} valid, {refused} refused, {cut} cut off")
    assert refused <= 0.09 * len(schemas)
    assert cut < 0.3 * len(schemas)
    assert len(answers) > 0.6 * len(schemas)


def test_hot_answers_to_schemas_of_the_suite_are_valid(smollm2: LLM) -> None:
    schemas = [one["schema"] for one in SUITE if one["file"].startswith("draft2020-12")]
    answers, _, _ = hot_answers(smollm2, schemas[::4][:60])
    check_all(answers)
    assert len(answers) > 15


def test_generate_json_gives_values(smollm2: LLM) -> None:
    value = smollm2.generate_json(ASKED, PERSON, drawn(seed=1))
    jsonschema.validate(value, PERSON)

    class Person(pydantic.BaseModel):
        name: str = pydantic.Field(max_length=20)
        age: int = pydantic.Field(ge=0, le=120)
        model_config = {"extra": "forbid"}

    person = smollm2.generate_json(ASKED, Person, drawn(seed=2))
    assert isinstance(person, Person)
    assert smollm2.generate_json("One or two: ", bool, drawn(seed=3)) in (True, False)

    pair = smollm2.generate_json("A pair: ", tuple[bool, Literal["left", "right"]], drawn(seed=4))
    assert isinstance(pair, tuple)
    assert pair[1] in ("left", "right")
    assert smollm2.generate_json("x", '{"const": [1, {"a": null}]}', drawn(seed=5)) == [1, {"a": None}]


def test_generate_json_says_why_there_is_no_value(smollm2: LLM) -> None:
    with pytest.raises(GenerationError, match="not whole: length; raise max_tokens"):
        smollm2.generate_json("x", {"type": "array", "minItems": 50}, drawn(max_tokens=5))
    with pytest.raises(GrammarError) as caught:
        smollm2.generate_json("x", {"properties": {"a": {"not": {}}}})
    assert caught.value.pointer == "/properties/a/not"
    with pytest.raises(ConfigError, match="leave it out"):
        smollm2.generate_json("x", PERSON, drawn(grammar=Grammar.json_object()))
    with pytest.raises(GrammarError, match="no type that has a JSON schema"):
        smollm2.generate_json("x", threading.Lock)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_every_kind_of_grammar_holds(smollm2: LLM, temperature: float) -> None:
    def text(grammar: Grammar) -> str:
        return smollm2.generate("The answer: ", drawn(temperature=temperature, seed=5, grammar=grammar)).text

    assert text(Grammar.choice(["Amsterdam", "Utrecht"])) in ("Amsterdam", "Utrecht")
    assert len(text(Grammar.regex("[0-9]{3}-[a-f]{4}"))) == 8
    assert text(Grammar.lark('start: "<" INNER ">"\nINNER: /[a-z]{2,5}/'))[0] == "<"
    assert text(Grammar.gbnf('root ::= ("ja" | "nee") "!"')) in ("ja!", "nee!")
    assert isinstance(json.loads(text(Grammar.json_schema({"type": "object", "maxProperties": 1}))), dict)


def test_filters_count_among_the_allowed_tokens_alone(smollm2: LLM) -> None:
    # Unlikely after this prompt, so that no filter over all tokens would keep any of them.
    grammar = Grammar.choice(["zebra", "quartz"])
    for filters in ({"top_k": 2}, {"top_p": 0.3}, {"min_p": 0.5}):
        params = drawn(seed=7, grammar=grammar, **filters)
        assert smollm2.generate("1, 2, 3,", params).text in ("zebra", "quartz")


def test_log_probabilities_are_the_models_own(smollm2: LLM) -> None:
    grammar = Grammar.choice([" zebra stripes"])
    completion = smollm2.generate("1, 2, 3,", drawn(temperature=0.0, logprobs=2, grammar=grammar))
    assert completion.text == " zebra stripes"
    assert completion.logprobs is not None
    prompt = smollm2.tokenize("1, 2, 3,")
    given = smollm2.token_logprobs([*prompt, *completion.token_ids], top_logprobs=2)[
        -len(completion.token_ids) :
    ]
    for entry, expected in zip(completion.logprobs, given, strict=True):
        assert entry.token_id == expected.token_id
        assert entry.logprob == pytest.approx(expected.logprob, abs=1e-4)
        assert [token for token, _ in entry.top_logprobs] == [token for token, _ in expected.top_logprobs]


def test_masks_leave_the_draws_in_proportion(smollm2: LLM) -> None:
    """Shares of a choice among three tokens are those of their own probabilities, however they are drawn."""
    prompt = "My favourite colour is"
    colours = [" blue", " red", " green"]
    tokens = [smollm2.tokenize(colour)[-1] for colour in colours]
    logits = smollm2.logits(smollm2.tokenize(prompt))[-1][tokens].astype(float)
    weights = 2.718281828459045 ** (logits - logits.max())
    expected = weights / weights.sum()
    grammar = Grammar.regex(" (blue|red|green)")
    # One with a filter that takes nothing away, so that the mask comes first; the other draws first.
    for filters in ({"min_p": 1e-9}, {}):
        params = [drawn(temperature=1.0, seed=seed, grammar=grammar, **filters) for seed in range(400)]
        with ThreadPoolExecutor(16) as threads:
            texts = list(threads.map(lambda one: smollm2.generate(prompt, one).text, params))
        shares = [texts.count(colour) / len(texts) for colour in colours]
        assert shares == pytest.approx(list(expected), abs=0.08)


def test_a_grammar_begins_after_its_text(smollm2: LLM) -> None:
    grammar = Grammar.choice(["yes", "no"]).starting_after(".")
    for seed in range(4):
        completion = smollm2.chat(
            "Is water wet? Think aloud.", drawn(temperature=0.7, seed=seed, grammar=grammar)
        )
        if completion.finish_reason == "stop":
            before, _, after = completion.text.partition(".")
            assert before
            assert after.strip() in ("yes", "no")


def test_neighbours_are_bit_equal_and_go_on_while_a_vocabulary_is_made_ready(smollm2_path: Any) -> None:
    with LLM(smollm2_path, max_context=1024) as llm:
        plain = drawn(seed=11, logprobs=0, max_tokens=60)
        alone = llm.generate("Once upon a time", plain)
        pauses: list[float] = []
        started = threading.Event()

        def neighbour() -> Any:
            chunks, last = [], time.perf_counter()
            for chunk in llm.stream("Once upon a time", plain):
                now = time.perf_counter()
                pauses.append(now - last)
                last = now
                chunks.append(chunk)
                started.set()
            return chunks

        with ThreadPoolExecutor(12) as threads:
            beside = threads.submit(neighbour)
            started.wait()
            held = [
                threads.submit(llm.chat, "A person:", drawn(seed=seed, grammar=Grammar.json_schema(PERSON)))
                for seed in range(8)
            ]
            texts = [one.result().text for one in held]
            chunks = beside.result()
        tokens = [token for chunk in chunks for token in chunk.token_ids]
        logprobs = [entry.logprob for chunk in chunks for entry in chunk.logprobs or ()]
        assert tokens == list(alone.token_ids)
        assert alone.logprobs is not None
        assert logprobs == [entry.logprob for entry in alone.logprobs]
        for text in texts:
            jsonschema.validate(json.loads(text), PERSON)
        assert llm.memory_stats().grammar_bytes > 1 << 20


def test_a_request_that_is_left_frees_its_matcher(smollm2: LLM) -> None:
    grammar = Grammar.json_schema({"type": "array", "items": {"type": "string"}, "minItems": 1000})
    stream = smollm2.stream("x", drawn(max_tokens=500, grammar=grammar))
    next(iter(stream))
    stream.close()
    deadline = time.monotonic() + 20
    while smollm2.memory_stats().running_requests and time.monotonic() < deadline:
        time.sleep(0.02)
    assert smollm2.memory_stats().running_requests == 0


def test_what_cannot_be_is_refused(smollm2: LLM, tiny_folder: LLM) -> None:
    with pytest.raises(ConfigError, match="ignore_eos goes on past"):
        GenerateParams(grammar=Grammar.json_object(), ignore_eos=True)
    with pytest.raises(ConfigError, match="grammar is"):
        GenerateParams(grammar={"type": "object"})  # type: ignore[arg-type]
    with pytest.raises(GrammarError, match="look-around"):
        smollm2.generate("x", drawn(grammar=Grammar.regex("(?=a)b")))
    with pytest.raises(GrammarError):
        smollm2.check_grammar(Grammar.lark("start: nothing"))
    with pytest.raises(Exception, match="tokenizer"):
        tiny_folder.generate([1, 2], drawn(grammar=Grammar.json_object()))
