"""What a grammar says must come next: written as the tokenizer writes it, and computed as one run of rows.

An answer whose log-probabilities are asked for is computed token by token, so others are held to it.
"""

import dataclasses
import time
from typing import Any

import pytest

from ruvllm import LLM, GenerateParams, Grammar
from ruvllm.outputs import Completion
from tests.structured.test_schema_suite import FUNCTIONS
from tests.structured.test_with_a_model import bounded

pytestmark = pytest.mark.real_model

PROMPT = "The licence of this program: "
SENTENCE = "Permission is hereby granted, free of charge, to any person obtaining a copy of this software"
CALL = (
    'start: "<call>{\\"name\\": \\"get_weather_forecast\\", \\"city\\": \\"" /[a-zA-Z ]{1,12}/ "\\"}</call>"'
)


def asked(grammar: Grammar, **changes: Any) -> GenerateParams:
    wanted = {"temperature": 0.0, "repetition_penalty": 1.0, "max_tokens": 64, "grammar": grammar, **changes}
    return GenerateParams(**wanted)


def both(llm: LLM, params: GenerateParams) -> tuple[Completion, Completion]:
    """The answer with runs of forced tokens, and token by token."""
    return llm.generate(PROMPT, params), llm.generate(PROMPT, dataclasses.replace(params, logprobs=0))


def steps_of(llm: LLM, params: GenerateParams) -> int:
    llm.start_profile()
    llm.generate(PROMPT, params)
    return llm.take_profile().steps


@pytest.mark.parametrize(
    "drawn", [{}, {"temperature": 0.9, "top_p": 0.9}, {"temperature": 1.4, "min_p": 0.02}]
)
def test_answers_are_those_that_are_computed_token_by_token(smollm2: LLM, drawn: dict[str, Any]) -> None:
    for index, schema in enumerate(map(bounded, FUNCTIONS[::12])):
        run, single = both(smollm2, asked(Grammar.json_schema(schema), seed=index, **drawn))
        assert (run.token_ids, run.text, run.finish_reason) == (
            single.token_ids,
            single.text,
            single.finish_reason,
        )


def test_they_are_written_as_the_tokenizer_writes_them(smollm2: LLM) -> None:
    written = smollm2.generate(PROMPT, asked(Grammar.choice([SENTENCE])))
    assert (written.text, written.finish_reason) == (SENTENCE, "stop")
    assert written.token_ids == tuple(smollm2.tokenize(SENTENCE))


def test_a_run_takes_one_step(smollm2: LLM) -> None:
    params = asked(Grammar.choice([SENTENCE]))
    assert steps_of(smollm2, params) <= 2
    assert steps_of(smollm2, dataclasses.replace(params, logprobs=0)) >= len(smollm2.tokenize(SENTENCE))
    call = asked(Grammar.lark(CALL))
    run, single = both(smollm2, call)
    assert run.text == single.text
    assert steps_of(smollm2, call) < 0.6 * len(run.token_ids)


@pytest.mark.parametrize("most", [1, 2, 7])
def test_a_run_ends_where_the_answer_may_have_no_more_tokens(smollm2: LLM, most: int) -> None:
    cut = smollm2.generate(PROMPT, asked(Grammar.choice([SENTENCE]), max_tokens=most))
    assert (len(cut.token_ids), cut.finish_reason) == (most, "length")
    assert cut.token_ids == tuple(smollm2.tokenize(SENTENCE)[:most])


def test_a_stop_string_ends_a_run(smollm2: LLM) -> None:
    stopped, single = both(smollm2, asked(Grammar.choice([SENTENCE]), stop_sequences=["charge"]))
    assert stopped.text == single.text == SENTENCE[: SENTENCE.index("charge")]
    assert (stopped.finish_reason, stopped.token_ids) == ("stop", single.token_ids)


def test_logprobs_are_those_of_each_token(smollm2: LLM) -> None:
    """Nothing chose them; the model says how likely it finds them all the same."""
    told = smollm2.generate(PROMPT, asked(Grammar.choice([SENTENCE]), logprobs=0))
    assert told.logprobs is not None
    scores = smollm2.score([*smollm2.tokenize(PROMPT), *told.token_ids])
    assert [-one.logprob for one in told.logprobs] == pytest.approx(scores[-len(told.token_ids) :], abs=1e-4)


@pytest.mark.alone
def test_what_must_come_next_can_be_long(smollm2: LLM) -> None:
    """A text of 100 kB is found to be forced at once, while others' answers go on."""
    text = "All work and no play makes Jack a dull boy. " * 2300
    smollm2.check_grammar(Grammar.choice([text]))
    began = time.monotonic()
    cut = smollm2.generate(PROMPT, asked(Grammar.choice([text]), max_tokens=8))
    assert text.startswith(cut.text)
    assert time.monotonic() - began < 2
