"""Temperatures: found on one half of known answers, they make the other half's probabilities truer."""

import random
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

from ruvllm import LLM, ConfigError
from ruvllm.decisions import (
    Calibration,
    Example,
    Labelled,
    Predicate,
    expected_calibration_error,
)
from ruvllm.decisions.calibration import calibration_error

KINDS = {
    "an animal": "dog cat horse cow sheep goat pig rabbit lion tiger bear wolf fox deer mouse eagle",
    "a kind of food": "bread cheese butter apple pear rice soup cake potato onion pasta salad egg lemon",
    "a tool": "hammer saw drill screwdriver pliers wrench axe shovel rake ladder knife file spade jack",
}


def test_it_lowers_the_error_on_a_held_out_half(smollm2: LLM) -> None:
    rows = [(word, place) for place, words in enumerate(KINDS.values()) for word in words.split()]
    random.Random(3).shuffle(rows)
    of_words = []
    for word, right in rows:
        asked = tuple(Predicate(f"The word names {kind}.") for kind in KINDS)
        answers = tuple(int(place != right) for place in range(len(KINDS)))
        of_words.append(smollm2.decision_examples(Labelled(f"The word is: {word}", asked, answers)))
    half = len(of_words) // 2
    fitted_on, held_out = list(chain(*of_words[:half])), list(chain(*of_words[half:]))
    calibration = Calibration.fit(fitted_on)
    before = calibration_error(held_out, Calibration())
    after = calibration_error(held_out, calibration)
    assert calibration.examples == {"predicate": len(fitted_on)}
    assert after < before - 0.05


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
