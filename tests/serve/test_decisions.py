"""Decisions over the wire: OpenAI's client unmodified, and TypeSafe's form."""

import httpx
import openai
import pytest

from ruvllm import LLM
from ruvllm.decisions import Calibration, DecisionParams, Predicate, Score
from ruvllm.serve import ServerSettings, create_app
from tests.serve.conftest import REAL, TINY
from tests.serve.running import RunningServer, running

INPUT = "My card was charged twice, and nobody answers the phone."
ANGRY = {"type": "predicate", "name": "angry", "instructions": "The customer is angry."}
TEAM = {
    "type": "choice",
    "instructions": [{"type": "input_text", "text": "Which team?"}],
    "choices": [{"value": "billing", "description": "Invoices and payments."}, {"value": "sales"}],
}
URGENCY = {
    "type": "score",
    "instructions": "How urgent is it?",
    "levels": [{"label": "low"}, {"label": "high"}],
}


def test_openai_s_client_gets_what_the_library_says(real: openai.OpenAI, smollm2: LLM) -> None:
    answer = real.decisions.create(model=REAL, input=INPUT, questions=[ANGRY, TEAM, URGENCY])
    predicate, choice, score = answer.answers
    expected = smollm2.decide(INPUT, [
        Predicate("The customer is angry.", "angry"),
        {**TEAM, "instructions": "Which team?"},
        Score("How urgent is it?", ["low", "high"]),
    ])  # fmt: skip
    assert (predicate.type, predicate.name) == ("predicate", "angry")
    assert predicate.probability == expected["angry"].probability
    assert choice.choice == expected.answers[1].choice
    assert [one.value for one in choice.probabilities] == ["billing", "sales"]
    assert sum(one.probability for one in choice.probabilities) == pytest.approx(1)
    assert [(one.value, one.label) for one in score.probabilities] == [(0, "low"), (1, "high")]
    assert score.score == pytest.approx(score.probabilities[1].probability)
    assert answer.usage.input_tokens == expected.usage.prompt_tokens
    assert answer.usage.output_tokens == 0


def test_messages_and_booleans_are_read(real: openai.OpenAI) -> None:
    messages = [
        {"role": "developer", "content": "You judge what customers write."},
        {"role": "user", "content": [{"type": "input_text", "text": INPUT}]},
        {"role": "assistant", "content": [{"type": "output_text", "text": "We are sorry."}]},
    ]
    question = {
        "type": "choice",
        "instructions": "Did somebody answer?",
        "choices": [{"value": True}, {"value": False}],
    }
    [answer] = real.decisions.create(model=REAL, input=messages, questions=[question]).answers
    assert isinstance(answer.choice, bool)


def test_what_is_not_sure_enough_is_a_refusal(real: openai.OpenAI) -> None:
    answers = real.decisions.create(
        model=REAL, input=INPUT, questions=[ANGRY, TEAM], extra_body={"abstain_below": 1}
    ).answers
    assert [one.type for one in answers] == ["refusal", "refusal"]
    assert answers[0].name == "angry"


@pytest.mark.parametrize(
    ("questions", "message"),
    [
        ([], "questions"),
        ([{"type": "guess", "instructions": "?"}], r"questions\[0\] has the type 'guess'"),
        ([{**ANGRY, "instructions": 3}], "instructions is 3"),
        ([{**TEAM, "choices": [{"value": "a"}]}], "there are 1 options; give from 2 to 255"),
        ([{**TEAM, "choices": [{"value": "a"}] * 2}], "which is there already"),
        ([{**TEAM, "instructions": [{"type": "input_image", "image_url": "x"}]}], "reads text"),
        ([ANGRY] * 401, "401|at most 400"),
    ],
)
def test_questions_that_are_none_are_refused_by_their_place(
    tiny: openai.OpenAI, questions: list[dict[str, object]], message: str
) -> None:
    with pytest.raises(openai.BadRequestError, match=message):
        tiny.decisions.create(model=TINY, input="a", questions=questions)


def test_typesafe_s_form_has_the_same_answers(real_server: RunningServer, smollm2: LLM) -> None:
    state = {"message": INPUT}
    body = {
        "model": REAL,
        "state": state,
        "questions": {
            "angry": {"type": "noul", "instructions": "Is it angry?", "criteria": {"true": "It complains."}},
            "team": {"type": "choice", "criteria": {"billing": "Payments.", "sales": None}},
            "urgency": {"type": "score", "instructions": "How urgent?", "criteria": ["low", "high"]},
        },
    }
    response = httpx.post(f"{real_server.api}/systemone", json=body)
    answers = response.raise_for_status().json()["answers"]
    text = '{"message": "' + INPUT + '"}'
    expected = smollm2.decide(text, Predicate("Is it angry?", if_true="It complains."))
    assert answers["angry"] == {"type": "noul", "noul": expected.answers[0].probability}
    assert set(answers["team"]["probabilities"]) == {"billing", "sales"}
    assert answers["team"]["choice"] in ("billing", "sales")
    assert answers["urgency"]["legend"] == {"0": "low", "1": "high"}
    assert answers["urgency"]["score"] == pytest.approx(answers["urgency"]["probabilities"]["1"])


def test_the_server_s_calibration_is_used(smollm2: LLM) -> None:
    calibration = Calibration({"choice": 3.0})
    with running(create_app({REAL: smollm2}, ServerSettings(calibration=calibration))) as server:
        body = {"model": REAL, "input": INPUT, "questions": [{**TEAM, "instructions": "Which team?"}]}
        answer = httpx.post(f"{server.api}/decisions", json=body).json()["answers"][0]
    question = {**TEAM, "instructions": "Which team?"}
    soft = smollm2.decide(INPUT, question, DecisionParams(calibration=calibration)).answers[0]
    assert answer["confidence"] == soft.confidence < smollm2.decide(INPUT, question).answers[0].confidence
