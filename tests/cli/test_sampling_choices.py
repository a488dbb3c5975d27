"""What a chat may set of how answers are made."""

from dataclasses import fields
from typing import Any

import pytest

from ruvllm.cli.options import SamplingOptions
from ruvllm.cli.sampling_choices import changed, choice_named, choices, shown
from ruvllm.errors import ConfigError


def test_they_are_the_flags() -> None:
    assert choices() == [one.name for one in fields(SamplingOptions)]
    assert choice_named("top_p") == choice_named("--top-p") == choice_named("top-p") == "top_p"


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("temperature", "0.25", 0.25),
        ("temperature", "0", 0.0),
        ("top_k", "40", 40),
        ("seed", "7", 7),
        ("seed", "none", None),
        ("max_tokens", "None", None),
        ("stop", "'a b' c", ["a b", "c"]),
        ("stop", "none", None),
    ],
)
def test_a_text_as_a_value_and_back(name: str, text: str, value: Any) -> None:
    options = changed(SamplingOptions(seed=3, max_tokens=9, stop=["x"]), name, text)
    assert getattr(options, name) == value
    assert type(getattr(options, name)) is type(value)
    again = changed(SamplingOptions(), name, dict(shown(options))[name])
    assert getattr(again, name) == value


def test_every_choice_can_be_set_to_what_it_is_and_back_to_its_default() -> None:
    options = SamplingOptions(temperature=0.1, stop=["x"], seed=3)
    for name, text in shown(options):
        assert changed(options, name, text) == options
        assert getattr(changed(options, name, ""), name) == getattr(SamplingOptions(), name)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("temperature", "hot", "temperature is 'hot'"),
        ("temperature", "-1", "temperature is -1.0; it must be"),
        ("top_k", "1.5", "top_k is '1.5'"),
        ("temperature", "none", "temperature is 'none'"),
        ("stop", "'open", "stop is"),
    ],
)
def test_what_is_no_value_is_refused(name: str, text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        changed(SamplingOptions(), name, text)


def test_another_name_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"nothing is called 'warmth'; there are .*temperature"):
        choice_named("warmth")
