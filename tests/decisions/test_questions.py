"""Questions that are none are refused by their place, before any model sees them."""

import math
from typing import Any

import pytest

from ruvllm import ConfigError
from ruvllm.decisions.questions import questions_of


def score(*levels: object) -> dict[str, Any]:
    return {"type": "score", "instructions": "?", "levels": list(levels)}


def choice(*options: object) -> dict[str, Any]:
    return {"type": "choice", "instructions": "?", "choices": list(options)}


@pytest.mark.parametrize(
    ("questions", "message"),
    [
        (3, "questions is 3; it must be a question or a list"),
        ("abc", "questions is 'abc'"),
        (None, "questions is None"),
        (score({"label": "low", "value": math.nan}, "high"), r"levels\[0\].value is nan; it must be between"),
        (score("low", {"label": "high", "value": math.inf}), r"levels\[1\].value is inf"),
        (score(1, 10**400), r"levels\[1\] is inf; it must be between"),
        (
            score({"label": "low", "value": "many"}, "high"),
            r"levels\[0\].value is 'many'; it must be a number",
        ),
        (score({"label": "low", "value": True}, "high"), r"levels\[0\].value is True"),
        (
            score({"label": "low", "description": 3}, "high"),
            r"levels\[0\].description is 3; it must be a text",
        ),
        (choice("a", {"value": "b", "description": ["c"]}), r"options\[1\].description is \['c'\]"),
        (choice("a", "\ud800"), r"options\[1\] is '.ud800', which has half a character"),
        (choice("a", " "), r"options\[1\] is ' '; it must be a text that says something"),
    ],
)
def test_what_is_none_is_named(questions: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        questions_of(questions)
