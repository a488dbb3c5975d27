"""What a chat may set of how answers are made."""

from dataclasses import fields
from typing import Any

import pytest

from ruvllm.cli.options import SamplingOptions
from ruvllm.cli.partner import MAX_TOKENS
from ruvllm.cli.sampling_choices import changed, choice_named, choices, completions, shown
from ruvllm.errors import ConfigError
from ruvllm.samplers import Dry


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


def test_the_longest_answer_is_shown_as_it_is_asked_for() -> None:
    """A chat has a bound where nobody gave one."""
    for options in (SamplingOptions(), changed(SamplingOptions(max_tokens=9), "max_tokens", "None")):
        assert options.max_tokens is None
        assert (
            dict(shown(options))["max_tokens"]
            == str(options.params(max_tokens=MAX_TOKENS).max_tokens)
            == "1024"
        )
    assert dict(shown(SamplingOptions(max_tokens=9)))["max_tokens"] == "9"


def test_every_choice_can_be_set_to_what_it_is_and_back_to_its_default() -> None:
    options = SamplingOptions(temperature=0.1, stop=["x"], seed=3)
    for name, text in shown(options):
        again = changed(options, name, text)
        assert shown(again) == shown(options)
        assert again.params(max_tokens=MAX_TOKENS) == options.params(max_tokens=MAX_TOKENS)
        assert getattr(changed(options, name, ""), name) == getattr(SamplingOptions(), name)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("temperature", "hot", "temperature is 'hot'"),
        ("temperature", "-1", "temperature is -1.0; it must be"),
        ("top_k", "1.5", "top_k is '1.5'"),
        ("temperature", "none", "temperature is 'none'"),
        ("stop", "'open", "stop is"),
        ("top_p", "none", "top_p is 'none'"),
        # Of samplers that are off, too.
        ("mirostat_tau", "1000", "mirostat.tau is 1000.0; it must be"),
        ("dry_base", "0.5", "dry.base is 0.5; it must be"),
        ("dry_penalty_last_n", "-2", "dry.last_tokens is -2; it must be"),
        ("xtc_threshold", "2", "xtc.threshold is 2.0; it must be"),
        ("dynatemp_exponent", "0", "dynamic_temperature.exponent is 0.0; it must be"),
        ("top_n_sigma", "nan", "top_n_sigma is nan; it must be"),
        ("dry_multiplier", "nan", "dry.multiplier is nan; it must be"),
        ("dry_sequence_breakers", "none .", "--dry-sequence-breaker is none and others"),
        ("dry_sequence_breakers", r"\xff", "no UTF-8"),
    ],
)
def test_what_is_no_value_is_refused(name: str, text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        changed(SamplingOptions(), name, text)


def test_another_name_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"nothing is called 'warmth'; there are .*temperature"):
        choice_named("warmth")


@pytest.mark.parametrize(
    ("text", "breakers"),
    [
        ("none", ()),
        ("None", ()),
        ("", ("\n", ":", '"', "*")),
        (r"\n", ("\n",)),
        (r"'\n' ;", ("\n", ";")),
        (r"\t \\n a\db \x41\xc3\xa9 \x4", ("\t", r"\n", r"a\db", "Aé", r"\x4")),
        ("\"'\" '\"'", ("'", '"')),
        ("'\n'", ("\n",)),
    ],
)
def test_sequence_breakers_are_read_as_llama_cpp_reads_them(text: str, breakers: tuple[str, ...]) -> None:
    """And are shown so that they can be given again."""
    options = changed(SamplingOptions(dry_multiplier=1), "dry_sequence_breakers", text)
    assert options.params(max_tokens=9).dry == Dry(multiplier=1, sequence_breakers=breakers)
    told = dict(shown(options))["dry_sequence_breakers"]
    assert "\n" not in told
    assert (
        changed(options, "dry_sequence_breakers", told).params(max_tokens=9).dry
        == options.params(max_tokens=9).dry
    )


def test_what_holds_is_shown_where_nothing_was_said() -> None:
    told = dict(shown(SamplingOptions()))
    assert told["dry_sequence_breakers"] == r"""'\n' : '"' '*'"""
    assert told["top_p"] == "0.9"
    assert completions("dry_sequence_breakers ") == ["dry_sequence_breakers none"]
    assert completions("top_p ") == []


def test_mirostat_is_without_a_filter_that_nobody_asked_for() -> None:
    options = changed(SamplingOptions(), "mirostat", "2")
    assert options.params(max_tokens=9).top_p == 1
    assert dict(shown(options))["top_p"] == "1.0"
    given = changed(options, "top_p", "0.9")
    assert given.params(max_tokens=9).top_p == 0.9
    assert changed(given, "top_p", "").params(max_tokens=9).top_p == 1
    assert changed(options, "mirostat", "0").params(max_tokens=9).top_p == 0.9
