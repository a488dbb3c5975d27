"""The decisions playground: what it asks, the bars of the answers, and what the server refuses."""

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.serve.page.conftest import Watch
from tests.serve.page.scripted_server import Refusal, Script

YES = {"type": "predicate", "name": None, "probability": 0.8}
TEAM = {
    "type": "choice",
    "name": None,
    "choice": "billing",
    "confidence": 0.7,
    "probabilities": [
        {"value": "billing", "probability": 0.7},
        {"value": "shipping", "probability": 0.25},
        {"value": "sales", "probability": 0.05},
    ],
}
URGENCY = {
    "type": "score",
    "name": None,
    "score": 0.375,
    "confidence": 0.625,
    "probabilities": [
        {"value": 0, "label": "low", "probability": 0.625},
        {"value": 1, "label": "high", "probability": 0.375},
    ],
}


@pytest.fixture
def dialog(page: Page) -> Locator:
    """The playground, open."""
    page.get_by_role("button", name="Decisions", exact=True).click()
    return page.get_by_role("dialog", name="Decisions")


def rows(dialog: Locator, question: int) -> list[str]:
    bars = dialog.locator(".decision-question").nth(question).locator(".bar-row")
    expect(bars.first).to_be_visible()
    return [" ".join(text.split()) for text in bars.all_inner_texts()]


def test_the_answers_are_bars_below_their_questions(dialog: Locator, script: Script) -> None:
    script.decided = [[YES, TEAM]]
    dialog.get_by_label("Input").fill("Where is my parcel?")
    dialog.get_by_role("button", name="Decide").click()
    assert rows(dialog, 0) == ["Yes 80 %", "No 20 %"]
    assert rows(dialog, 1) == ["billing 70 %", "shipping 25 %", "sales 5.0 %"]
    assert [bar.get_attribute("width") for bar in dialog.locator(".bar rect").all()][:2] == ["80.00", "20.00"]
    expect(dialog.locator(".likeliest dt")).to_have_text(["Yes", "billing"])
    assert script.asked == [
        {
            "model": "scripted-1b",
            "input": "Where is my parcel?",
            "questions": [
                {"type": "predicate", "instructions": "The customer complains."},
                {
                    "type": "choice",
                    "instructions": "Which team?",
                    "choices": [
                        {"value": "billing", "description": "Payments and invoices."},
                        {"value": "shipping"},
                        {"value": "sales"},
                    ],
                },
            ],
        }
    ]


def test_questions_come_and_go_and_what_is_typed_stays(page: Page, dialog: Locator, script: Script) -> None:
    script.decided = [[URGENCY]]
    for _ in range(2):
        dialog.get_by_role("button", name="Remove the question").first.click()
    expect(dialog.get_by_role("button", name="Decide")).to_be_disabled()
    dialog.get_by_role("button", name="Add a question").click()
    dialog.get_by_label("Question", exact=True).fill("How urgent is it?")
    expect(dialog.get_by_label("Levels")).to_be_hidden()
    dialog.get_by_label("Kind of question").select_option("Score")
    dialog.get_by_label("Levels").fill("low\n\nhigh")
    dialog.get_by_label("all orders").check()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Decisions", exact=True).click()
    dialog.get_by_role("button", name="Decide").click()
    assert rows(dialog, 0) == ["low 63 %", "high 38 %"]
    expect(dialog.locator(".decision-answer")).to_contain_text("Score 0.38")
    [asked] = script.asked
    assert asked["orders"] == "all"
    levels = [{"label": "low"}, {"label": "high"}]
    assert asked["questions"] == [{"type": "score", "instructions": "How urgent is it?", "levels": levels}]


def test_a_refusal_is_told_and_an_abstention_is_said(dialog: Locator, script: Script, watch: Watch) -> None:
    watch.expected = ["status of 400"]
    script.decided = [Refusal.of(400, "questions[1]: there are 1 options"), [YES, {"type": "refusal"}]]
    decide = dialog.get_by_role("button", name="Decide")
    decide.click()
    alert = dialog.get_by_role("alert")
    expect(alert).to_have_text("The server refused this request: questions[1]: there are 1 options")
    decide.click()
    assert rows(dialog, 0) == ["Yes 80 %", "No 20 %"]
    expect(alert).to_be_empty()
    expect(dialog.locator(".decision-answer").nth(1)).to_contain_text("abstains")


def test_what_is_typed_and_answered_is_text(dialog: Locator, script: Script, page: Page) -> None:
    mean = "<img src=x onerror=alert(1)>"
    chances = [{"value": mean, "probability": 1.0}, {"value": "b", "probability": 0.0}]
    script.decided = [[YES, {**TEAM, "probabilities": chances}]]
    dialog.get_by_role("button", name="Decide").click()
    assert rows(dialog, 1) == [f"{mean} 100.0 %", "b 0.0 %"]
    assert page.locator("img[src=x]").count() == 0
