"""The questions that pages ask are answered rightly by the default model, asked as they are."""

import re
from pathlib import Path

import pytest

from ruvllm import LLM, ChatSession, GenerateParams
from ruvllm.llm import DEFAULT_MODEL
from tests.chat.first_questions import ASKED_BY_PAGES, NUM_SEEDS, num_right

ROOT = Path(__file__).resolve().parents[2]
FIRST, BEHIND_IT = "What is the capital of France?", "And of Italy?"
# Asked for figures, an error or an adapter, whatever is answered; or a schema or a grammar holds the answer.
NOT_FOR_AN_ANSWER = re.compile(
    r"Hi$|Hello|A secret|Say yes\.|long |Repeat: |Tell me more\.|Another one\.|Review this\.|What is rust\?"
    r"|Name ten things that float\.|Describe a red square\.|Describe Paris\.|From where does the train"
    r"|Is 'I love it' glad or angry\?|When did the war end\?|Yes or no\?|How old is Ann|.*weather in Paris\?"
)
CALL = r"\b(?:chat|achat|session\.send|session\.stream)\(\[?"
MESSAGE = '"role": "user", "content": '
COMMAND = "ruvllm (?:run|chat) .*"
ASKING = re.compile(rf'(?:{CALL}|{MESSAGE}|{COMMAND})"([A-Z][^"]*)"')


def test_pages_ask_what_is_known_to_be_answered() -> None:
    """A question that is new on a page must be answered first, or change."""
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "python").rglob("*.py")]
    asked = {question for page in pages for question in ASKING.findall(page.read_text(encoding="utf-8"))}
    assert {FIRST, BEHIND_IT} < asked
    known = ASKED_BY_PAGES.keys()
    unknown = {question for question in asked - known if not NOT_FOR_AN_ANSWER.match(question)}
    assert unknown == set()


# Another machine's arithmetic may draw other tokens, so each bound is below what was measured: with 24 seeds
# all answers were right, but for Spain 21.
NOT_ALWAYS_KNOWN = "What is the capital of Spain?"
SHORT_ENOUGH = 24  # tokens that name a capital


@pytest.mark.real_model
@pytest.mark.timeout(300)
def test_most_seeds_answer_rightly(smollm2: LLM) -> None:
    assert DEFAULT_MODEL == "smollm2-135m"
    asked = {question: rule for question, rule in ASKED_BY_PAGES.items() if question != BEHIND_IT}
    capitals = {question: rule for question, rule in asked.items() if "capital" in question}
    others = {question: rule for question, rule in asked.items() if question not in capitals}
    params = GenerateParams(max_tokens=SHORT_ENOUGH, **smollm2.recommended.sampling)
    right = num_right(smollm2, capitals, params) | num_right(smollm2, others)
    bounds = {question: NUM_SEEDS - (3 if question == NOT_ALWAYS_KNOWN else 1) for question in right}
    assert {question: num for question, num in right.items() if num < bounds[question]} == {}
    assert NUM_SEEDS * len(right) == 56
    assert sum(right.values()) >= 50


@pytest.mark.real_model
@pytest.mark.timeout(300)
def test_so_does_a_conversation(smollm2: LLM) -> None:
    right = 0
    for seed in range(NUM_SEEDS):
        session = ChatSession(smollm2, seed=seed, max_tokens=SHORT_ENOUGH)
        answers = {question: session.send(question).text for question in (FIRST, BEHIND_IT)}
        right += all(ASKED_BY_PAGES[question](answer) for question, answer in answers.items())
    assert right >= NUM_SEEDS - 3
