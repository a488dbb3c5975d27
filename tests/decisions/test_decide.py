"""`LLM.decide` on a real model: the numbers are those that its logits give by hand."""

import asyncio
import math
from collections.abc import Sequence

import numpy as np
import pytest

from ruvllm import LLM, AsyncEngine, ConfigError, ContextLengthError, GenerateParams
from ruvllm.decisions import (
    Calibration,
    Choice,
    DecisionParams,
    Level,
    Option,
    Predicate,
    Question,
    Score,
)
from ruvllm.text.tokenizer import GgufTokenizer

INPUT = "My card was charged twice, and nobody answers the phone. I want my money back today."
TEAMS = ["billing", "technical support", "sales", "technical"]
# The text that the model sees, written down: what `decide` asks is no secret of the code.
PROMPT = (
    "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
    "<|im_start|>user\n{asked}<|im_end|>\n<|im_start|>assistant\n"
)


def by_hand(llm: LLM, asked: str, labels: Sequence[str], ends: Sequence[str] = ()) -> list[float]:
    """The probabilities of labels as answers, from whole rows of logits in f64."""
    prompt = llm.tokenize(PROMPT.format(asked=asked))
    totals = []
    for label in labels:
        tokens = llm.tokenize(label + ("<|im_end|>" if label in ends else ""))
        logits = llm.logits([*prompt, *tokens]).astype(np.float64)[len(prompt) - 1 : -1]
        shares = np.log(np.exp(logits).sum(axis=1))
        totals.append(sum(row[token] for row, token in zip(logits, tokens, strict=True)) - shares.sum())
    powers = [math.exp(total - max(totals)) for total in totals]
    return [power / sum(powers) for power in powers]


def test_probabilities_are_those_of_the_logits(smollm2: LLM) -> None:
    questions: list[Question] = [
        Predicate("The customer is angry.", "angry", if_true="It complains."),
        Choice("Which team?", [Option("billing", "Payments."), *TEAMS[1:]], "team"),
        Score("How urgent is it?", ["can wait", "this week", "today"], "urgency"),
    ]
    decision = smollm2.decide(INPUT, questions)
    angry, team, urgency = decision.answers
    asked = (
        f"{INPUT}\n\nAnswer with Yes or No and nothing else.\n"
        "Question: The customer is angry.\nYes: It complains."
    )
    assert angry.probability == pytest.approx(by_hand(smollm2, asked, ["Yes", "No"])[0], abs=1e-4)
    asked = (
        f"{INPUT}\n\nQuestion: Which team?\nOptions:\n- billing: Payments.\n- technical support\n- sales\n"
        "- technical\nAnswer with one of the options and nothing else."
    )
    # "technical" is the beginning of another label: it is told apart by the answer's end.
    expected = by_hand(smollm2, asked, TEAMS, ends=["technical"])
    assert [share for _, share in team.probabilities] == pytest.approx(expected, abs=1e-4)
    assert team.choice == TEAMS[int(np.argmax(expected))]
    asked = (
        f"{INPUT}\n\nQuestion: How urgent is it?\nOptions:\n- can wait\n- this week\n- today\n"
        "Answer with one of the options and nothing else."
    )
    expected = by_hand(smollm2, asked, ["can wait", "this week", "today"])
    assert [share for _, share in urgency.probabilities] == pytest.approx(expected, abs=1e-4)
    assert urgency.score == pytest.approx(expected[1] + 2 * expected[2], abs=1e-4)
    assert decision["team"] is team


@pytest.mark.parametrize("orders", ["all", 3, 8])
def test_with_several_orders_the_given_one_does_not_matter(smollm2: LLM, orders: object) -> None:
    params = DecisionParams(orders=orders)  # type: ignore[arg-type]
    [one] = smollm2.decide(INPUT, Choice("Which team?", TEAMS[:3]), params).answers
    [other] = smollm2.decide(INPUT, Choice("Which team?", TEAMS[2::-1]), params).answers
    assert dict(one.probabilities) == dict(other.probabilities)
    [given] = smollm2.decide(INPUT, Choice("Which team?", TEAMS[:3])).answers
    [turned] = smollm2.decide(INPUT, Choice("Which team?", TEAMS[2::-1])).answers
    assert dict(given.probabilities) != dict(turned.probabilities)


def test_the_input_is_computed_once(smollm2: LLM) -> None:
    text = "The parcel left on a rainy morning, and the driver wrote it down. " * 20
    questions = [Predicate(f"It says something about the number {number}.") for number in range(25)]
    plan = smollm2.decision_plan(text, questions)
    smollm2.prefix_cache.clear()
    decision = smollm2.decide(text, questions)
    assert decision.usage.prompt_tokens == plan.num_tokens < len(plan.beginning) + 25 * 30
    # Nothing was computed twice: what is counted as found was found from before, and that was cleared.
    assert decision.usage.cached_tokens == 0
    again = smollm2.decide(text, questions)
    assert again.usage.cached_tokens >= len(plan.beginning)
    assert again.answers == decision.answers


def test_the_input_is_tokenized_once(smollm2: LLM, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "The parcel left on a rainy morning, and the driver wrote it down. " * 20
    questions = [Predicate(f"It says something about the number {number}.") for number in range(25)]
    characters = 0

    def counting(
        tokenizer: GgufTokenizer, pieces: Sequence[str], *, add_bos: bool | None = None
    ) -> list[int]:
        nonlocal characters
        characters += sum(map(len, pieces))
        return encode(tokenizer, pieces, add_bos=add_bos)

    encode = GgufTokenizer.encode_pieces
    monkeypatch.setattr(GgufTokenizer, "encode_pieces", counting)
    smollm2.decision_plan(text, questions)
    # Of each question its own end, of which the system message is no part.
    assert len(text) < characters < len(text) + 27 * 300


def test_options_that_are_the_same_to_the_model_are_named(smollm2: LLM) -> None:
    with pytest.raises(ConfigError, match="'b' and 'b ' are the same to the model; change one"):
        smollm2.decide(INPUT, Choice("Which?", ["a", "b", "b ", "c"]))


def test_two_hundred_options_that_begin_alike_are_told_apart(smollm2: LLM) -> None:
    options = [f"street number {number}" for number in range(200)]
    [answer] = smollm2.decide(INPUT, Choice("Where?", options)).answers
    assert [value for value, _ in answer.probabilities] == options
    assert sum(share for _, share in answer.probabilities) == pytest.approx(1)
    assert all(share > 0 for _, share in answer.probabilities)


def test_conversations_and_asyncio_and_tenants(smollm2: LLM) -> None:
    messages = [
        {"role": "system", "content": "You judge what customers write."},
        {"role": "user", "content": INPUT},
        {"role": "assistant", "content": "We are sorry."},
    ]
    question = {"type": "predicate", "instructions": "The answer is polite."}

    async def ask() -> list[object]:
        engine = AsyncEngine(smollm2)
        asked = [engine.decide(messages, question, tenant=name) for name in ("a", "b")]
        return [decision.answers for decision in await asyncio.gather(*asked)]

    assert asyncio.run(ask()) == [smollm2.decide(messages, question).answers] * 2


def test_whoever_stops_waiting_ends_it(smollm2: LLM) -> None:
    questions = [Predicate(f"It says something about the number {number}.") for number in range(300)]

    async def give_up() -> None:
        task = asyncio.ensure_future(AsyncEngine(smollm2).decide(INPUT * 20, questions))
        await asyncio.sleep(0.3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(give_up())
    # Those who come then wait for none of them.
    smollm2.generate("Hello", GenerateParams(max_tokens=1))
    assert smollm2.memory_stats().running_requests == 0


def test_abstaining_and_calibration_change_no_choice(smollm2: LLM) -> None:
    question = Choice("Which team?", TEAMS[:3])
    [plain] = smollm2.decide(INPUT, question).answers
    params = DecisionParams(calibration=Calibration({"choice": 4.0}), abstain_below=plain.confidence)
    [soft] = smollm2.decide(INPUT, question, params).answers
    assert soft.choice == plain.choice
    assert soft.confidence < plain.confidence
    assert soft.abstained
    assert not plain.abstained


def test_what_does_not_fit_is_refused_before_it_begins(smollm2: LLM) -> None:
    with pytest.raises(ContextLengthError):
        smollm2.decide("word " * smollm2.model_info.max_context, Predicate("It is long."))
    with pytest.raises(ConfigError, match="make 8000 prompts"):
        smollm2.decide("a", [Choice("?", ["a", "b", "c", "d"])] * 400, DecisionParams(orders=20))


def test_levels_may_be_numbers(smollm2: LLM) -> None:
    [answer] = smollm2.decide("Five stars, wonderful!", Score("How many stars?", range(1, 6))).answers
    assert answer.values == (1, 2, 3, 4, 5)
    assert 1 <= answer.score <= 5
    assert Score("?", [Level("low", value=-1.0), Level("high", value=1.0)]).values == (-1, 1)
