"""Temperatures: found on one half of known answers, they make the other half's probabilities truer."""

import random
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

from ruvllm import LLM, ConfigError
from ruvllm.decisions import (
    Calibration,
    Choice,
    Example,
    Labelled,
    Predicate,
    expected_calibration_error,
)
from ruvllm.decisions.calibration import calibration_error, error_by_chance

KINDS = {
    "an animal": "dog cat horse cow sheep goat pig rabbit lion tiger bear wolf fox",
    "a kind of food": "bread cheese butter apple pear rice soup cake potato onion pasta salad",
    "a tool": "hammer saw drill screwdriver pliers wrench axe shovel rake ladder knife file",
}


@pytest.fixture(scope="module")
def of_words(smollm2: LLM) -> list[list[Example]]:
    """What the model says of each word: whether it is of each kind, and of which of two."""
    found = []
    kinds = list(KINDS)
    for place, words in enumerate(KINDS.values()):
        pair = sorted((place, (place + 1) % len(kinds)))
        asked = (
            *(Predicate(f"The word names {kind}.") for kind in kinds),
            Choice("What does the word name?", [kinds[one] for one in pair]),
        )
        right = (*(int(place != other) for other in range(len(kinds))), pair.index(place))
        for word in words.split():
            found.append(smollm2.decision_examples(Labelled(f"The word is: {word}", asked, right)))
    return found


@pytest.mark.parametrize("kind", ["predicate", "choice"])
def test_it_lowers_the_error_on_a_held_out_half(of_words: list[list[Example]], kind: str) -> None:
    changes = []
    for split in range(20):
        rows = [[one for one in row if one.kind == kind] for row in of_words]
        random.Random(split).shuffle(rows)
        half = len(rows) // 2
        fitted_on, held_out = list(chain(*rows[:half])), list(chain(*rows[half:]))
        calibration = Calibration.fit(fitted_on)
        assert calibration.examples == {kind: len(fitted_on)}
        changes.append(calibration_error(held_out, calibration) - calibration_error(held_out, Calibration()))
    assert max(changes) < 0


def test_few_answers_move_it_little() -> None:
    right = [Example("predicate", ((-0.3, -1.3),), 0)] * 3
    wrong = [Example("predicate", ((-0.3, -1.3),), 1)] * 3
    assert 0.4 < Calibration.fit(right).temperature("predicate") < 1
    assert 1 < Calibration.fit(wrong).temperature("predicate") < 2.5
    assert Calibration.fit(right * 100).temperature("predicate") < 0.2


def test_the_error_by_chance_is_that_of_answers_that_come_as_often_as_they_say() -> None:
    draw = np.random.default_rng(7)
    errors = []
    logits = draw.normal(size=(40, 3))
    for _ in range(300):
        shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        answers = [int(draw.choice(3, p=row)) for row in shares]
        examples = [Example("choice", (tuple(row),), one) for row, one in zip(logits, answers, strict=True)]
        errors.append(calibration_error(examples, Calibration()))
    assert error_by_chance(examples, Calibration()) == pytest.approx(float(np.mean(errors)), rel=0.1)


def test_the_temperature_is_the_one_that_the_answers_were_drawn_with() -> None:
    draw = np.random.default_rng(5)
    examples = []
    for _ in range(1500):
        logits = draw.normal(scale=3.0, size=4)
        shares = np.exp(logits / 2.5) / np.exp(logits / 2.5).sum()
        examples.append(Example("choice", (tuple(logits),), int(draw.choice(4, p=shares))))
    assert Calibration.fit(examples).temperature("choice") == pytest.approx(2.5, rel=0.1)


def test_the_error_is_that_of_bins() -> None:
    confidences = [0.95, 0.95, 0.95, 0.95, 0.55, 0.55]
    right = [True, True, True, False, True, False]
    expected = (4 * abs(0.95 - 0.75) + 2 * abs(0.55 - 0.5)) / 6
    assert expected_calibration_error(confidences, right) == pytest.approx(expected)


def test_files_are_read_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    calibration = Calibration({"choice": 2.0, "predicate": 0.5}, "a model", {"choice": 7})
    calibration.save(path)
    assert Calibration.load(path) == calibration
    for content, message in [
        ("[]", "has no temperatures"),
        ("no", "is no calibration"),
        ('{"temperatures": {"guess": 1}}', "'guess'; allowed are"),
        ('{"temperatures": {"score": 0}}', r"temperatures\['score'\] is 0"),
    ]:
        path.write_text(content)
        with pytest.raises(ConfigError, match=message):
            Calibration.load(path)
