"""Two models side by side, pair by pair; and their picture."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

import ruvllm
from ruvllm import LLM, Evaluation, EvaluationParams
from ruvllm.errors import ConfigError
from ruvllm.evaluating import ChoiceScores, Divergence, TextScores, picture

SVG = "{http://www.w3.org/2000/svg}"


def made(seed: int, *, right: list[int] | None = None, apart: bool = False, name: str = "m") -> Evaluation:
    """An evaluation of numbers that are drawn."""
    draw = np.random.default_rng(seed)
    tokens = np.arange(60).reshape(3, 20)
    text = TextScores(tokens, draw.gamma(2.0, size=(3, 20)), 42)
    divergence = (
        Divergence(text, text, draw.gamma(1.0, size=(3, 20)), np.ones((3, 20), bool)) if apart else None
    )
    choices = None if right is None else ChoiceScores(np.array(right, bool), ~np.array(right, bool))
    return Evaluation(model=Path(name), text=text, divergence=divergence, choices=choices)


def test_differences_are_of_pairs() -> None:
    first, second = made(1, right=[0, 1, 1, 0], apart=True), made(2, right=[1, 1, 1, 0], apart=True)
    found = first.compared_with(second)
    assert first.text is not None
    assert second.text is not None
    losses = (second.text.losses - first.text.losses).ravel()
    assert found.perplexity_ratio is not None
    assert found.perplexity_ratio.value == pytest.approx(
        second.text.perplexity.value / first.text.perplexity.value
    )
    expected = np.exp(losses.mean()) * losses.std(ddof=1) / np.sqrt(losses.size)
    assert found.perplexity_ratio.standard_error == pytest.approx(expected)
    assert found.accuracy_difference is not None
    assert found.accuracy_difference.value == 0.25
    assert found.accuracy_difference.standard_error == pytest.approx(0.25)
    assert found.accuracy_by_length_difference is not None
    assert found.accuracy_by_length_difference.value == -0.25
    assert second.divergence is not None
    assert first.divergence is not None
    assert found.divergence_difference is not None
    assert found.divergence_difference.value == pytest.approx(
        second.divergence.divergences.mean() - first.divergence.divergences.mean()
    )
    assert set(found.to_json()) == {
        "perplexity_ratio", "divergence_difference", "accuracy_difference", "accuracy_by_length_difference",
    }  # fmt: skip
    assert made(1).compared_with(made(1, right=[1])).to_json().keys() == {"perplexity_ratio"}


def test_what_is_no_pair_is_refused(tiny_gguf: LLM) -> None:
    params = EvaluationParams(context=16)
    first, second = (
        ruvllm.evaluate(tiny_gguf, ids, params=params) for ids in (list(range(3, 40)), list(range(4, 41)))
    )
    with pytest.raises(ConfigError, match="other tokens"):
        first.compared_with(second)
    with pytest.raises(ConfigError, match="other questions"):
        made(1, right=[1]).compared_with(made(1, right=[1, 0]))


def points(element: ElementTree.Element) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in element.attrib["points"].split())]


@pytest.mark.parametrize("apart", [False, True])
def test_a_picture_is_well_formed(apart: bool) -> None:
    names = {"<a & b>\x1b[0m": made(1, apart=apart), "long" * 30: made(2, apart=apart)}
    root = ElementTree.fromstring(picture(names))
    assert root.tag == f"{SVG}svg"
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    lines = root.findall(f".//{SVG}polyline")
    assert len(lines) == len(root.findall(f".//{SVG}polygon")) == 2
    texts = [element.text or "" for element in root.iter(f"{SVG}text")]
    assert "<a & b>?[0m" in texts
    assert [len(text) for text in texts if text.endswith("longlong")] == [36]
    style = root.findtext(f"{SVG}style") or ""
    assert "prefers-color-scheme: dark" in style
    for element in [*lines, *root.findall(f".//{SVG}polygon")]:
        assert all(0 <= x <= width and 0 <= y <= height for x, y in points(element))
    # The last point is the figure over the whole text, on the axis that the ticks make.
    ticks = sorted(
        (float(element.text or ""), float(element.attrib["y"]) - 4)
        for element in root.iter(f"{SVG}text")
        if element.attrib.get("text-anchor") == "end"
    )
    (low, bottom), (high, top) = ticks[0], ticks[-1]
    for line, one in zip(lines, names.values(), strict=True):
        value = low + (bottom - points(line)[-1][1]) / (bottom - top) * (high - low)
        assert one.text is not None
        expected = one.divergence.mean if one.divergence else one.text.perplexity
        assert value == pytest.approx(expected.value, rel=0.01)


def test_a_picture_of_one_value_everywhere() -> None:
    same = TextScores(np.arange(8).reshape(1, 8), np.ones((1, 8)), 18)
    root = ElementTree.fromstring(picture({"flat": Evaluation(model=Path("m"), text=same)}))
    assert root.findall(f".//{SVG}polyline")


def test_what_has_no_picture() -> None:
    with pytest.raises(ConfigError, match="3 evaluations"):
        picture({"a": made(1), "b": made(2), "c": made(3)})
    with pytest.raises(ConfigError, match="needs a text"):
        picture({"a": Evaluation(model=Path("m"))})
