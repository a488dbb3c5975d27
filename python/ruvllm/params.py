"""How a request wants its text made. The defaults stand here; the engine checks the same ranges again.

A choice is a field of `GenerateParams` and, for type checkers, a line of `GenerateKeywords`, by which calls
take it as a keyword: no checker takes a function's keywords from a dataclass, and a test compares the two.
"""

import copy
import difflib
import math
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any, Literal, TypeAlias, TypedDict, cast

from ruvllm._checks import Interval, check_integer, check_number, check_texts, check_type
from ruvllm.errors import ConfigError
from ruvllm.grammar import Grammar
from ruvllm.logits_processors import LogitsProcessor, checked_processors
from ruvllm.samplers import Dry, DynamicTemperature, Mirostat, Xtc

__all__ = ["TERMS_KEYWORDS", "GenerateKeywords", "GenerateParams", "ManyParams", "ParamsLike"]

MAX_LOGPROBS = 20
MAX_STOP_SEQUENCES = 64
MAX_CHOICES = 1024
# What the engine takes for a count of tokens.
MAX_COUNT = 2**31 - 1
_BIAS = Interval(-100, 100)
_NUMBERS = {
    "temperature": Interval(0, 100),
    "top_p": Interval(0, 1, low_included=False),
    "min_p": Interval(0, 1, high_included=False),
    "typical_p": Interval(0, 1, low_included=False),
    "top_n_sigma": Interval(0, 100),
    "repetition_penalty": Interval(0, math.inf, low_included=False),
    "presence_penalty": Interval(-2, 2),
    "frequency_penalty": Interval(-2, 2),
}
_SAMPLERS = {"dry": Dry, "xtc": Xtc, "dynamic_temperature": DynamicTemperature, "mirostat": Mirostat}
# What most calls take beside these; each names what it takes, for whoever misspells one of them.
TERMS_KEYWORDS = ("tenant", "priority", "adapter")
# What other libraries call what is not spelt much like it here.
_ELSEWHERE = {
    "n_predict": "max_tokens",
    "num_predict": "max_tokens",
    "max_new_tokens": "max_tokens",
    "max_length": "max_tokens",
    "num_return_sequences": "n",
    "temp": "temperature",
    "do_sample": "temperature",
    "repeat_penalty": "repetition_penalty",
    "min_new_tokens": "min_tokens",
    "eos_token_id": "stop_token_ids",
    "bad_words_ids": "bad_words",
    "logits_processor": "logits_processors",
    "chat_template_kwargs": "variables",
    "typ_p": "typical_p",
    "top_nsigma": "top_n_sigma",
    "mirostat_mode": "mirostat",
    **dict.fromkeys(("mirostat_tau", "mirostat_eta"), "mirostat"),
    **dict.fromkeys(("dynatemp_range", "dynatemp_exponent"), "dynamic_temperature"),
    **dict.fromkeys(("xtc_probability", "xtc_threshold"), "xtc"),
    **dict.fromkeys(("dry_multiplier", "dry_base", "dry_allowed_length", "dry_penalty_last_n"), "dry"),
    "dry_sequence_breakers": "dry",
}


class GenerateKeywords(TypedDict, total=False):
    """The keywords of calls that make text: `GenerateParams` again, for type checkers.

    Attributes:
        stop: `stop_sequences` by the name that other libraries have: a text, or several; `None` is none.
    """

    max_tokens: int
    temperature: float
    top_p: float
    top_k: int
    min_p: float
    typical_p: float
    top_n_sigma: float
    repetition_penalty: float
    presence_penalty: float
    frequency_penalty: float
    dry: Dry | None
    xtc: Xtc | None
    dynamic_temperature: DynamicTemperature | None
    mirostat: Mirostat | None
    logit_bias: Mapping[int, float]
    stop_sequences: tuple[str, ...] | list[str]
    stop_token_ids: tuple[int, ...] | list[int]
    min_tokens: int
    bad_words: tuple[str, ...] | list[str]
    seed: int | None
    logprobs: int | None
    ignore_eos: bool
    cache_prefix: bool
    min_cache_tokens: int
    grammar: Grammar | None
    thinking_tokens: int | None
    keep_special: tuple[str, ...] | list[str]
    speculate: bool
    prediction: str | tuple[int, ...] | list[int] | None
    n: int
    prompt_logprobs: int | None
    logits_processors: tuple[LogitsProcessor, ...] | list[LogitsProcessor]
    stop: str | Sequence[str] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateParams:
    """One request's choices; a value outside its range is refused, never clamped.

    >>> GenerateParams(temperature=0.0, max_tokens=32).max_tokens
    32
    >>> GenerateParams(top_p=1.5)
    Traceback (most recent call last):
    ruvllm.errors.ConfigError: Configuration error: top_p is 1.5; it must be above 0 and at most 1

    Attributes:
        max_tokens: The most tokens to make; fewer where the context ends before.
        temperature: Divides the logits; 0 always takes the likeliest token.
        top_p: Keeps the smallest set of likeliest tokens whose probability reaches this.
        top_k: Keeps so many likeliest tokens; 0 keeps all.
        min_p: Keeps tokens at least this share as likely as the likeliest; 0 keeps all.
        typical_p: Keeps the smallest set of tokens about as surprising as is to be expected whose probability
            reaches this; 1 keeps all.
        top_n_sigma: Keeps logits at most so many standard deviations below the largest; 0 keeps all.
        repetition_penalty: Makes tokens of the prompt and the answer less likely; 1 changes nothing.
        presence_penalty: Taken off the logit of every token that the answer has.
        frequency_penalty: Taken off once for each time the answer has the token.
        dry: Holds back what goes on with a repetition.
        xtc: Leaves out the likeliest tokens now and then.
        dynamic_temperature: Lowers the temperature where the model is sure, and raises it where it is not.
        mirostat: Makes an answer as surprising as is asked for; comes behind all filters, also `top_p`.
        logit_bias: Added to the logits of these token ids, -100 to 100 each.
        stop_sequences: Texts that end the answer; the answer stops before them.
        stop_token_ids: Tokens that end the answer beside the model's own, and are no part of it.
        min_tokens: Before so many no token is drawn that ends the answer; stop sequences still do.
        bad_words: Texts that are nowhere in the answer, however they are cut into tokens: a token that would
            complete one is not drawn. What a grammar forces comes all the same; where a grammar and this
            leave no token, the request fails.
        seed: Fixes the draws, so that the same request gives the same answer.
        logprobs: How many likeliest tokens to report beside each chosen one (0: the chosen one alone).
        ignore_eos: Goes on past the model's end tokens; for measurements.
        cache_prefix: Takes what was computed before of the same beginning, and keeps what is computed here.
        min_cache_tokens: Shorter prompts are neither looked up nor kept.
        grammar: What the answer must be.
        thinking_tokens: The most tokens that a model which thinks first may think; then its thoughts are
            ended and it answers. A model that does not think has none to end.
        keep_special: Control tokens whose texts stand in the answer's text, where others are left out.
        speculate: Lets an engine that guesses next tokens do so here; the tokens are the same either way.
        prediction: What much of the answer may be like, a text or token ids, for guesses: no token changes.
        n: How many answers; they are the `choices` of the completion. Choice `i` is the answer to `seed + i`,
            so the first is the same as with an `n` of 1; without a seed each draws anew.
        prompt_logprobs: How many likeliest tokens to report at each place of the prompt beside its own (0:
            its own alone).
        logits_processors: Functions that change the logits of each token before all else: each takes the
            token ids so far, the prompt's too, and the logits, and gives others, or changes these. Slow, for
            all that are answered meanwhile: they run in Python, in a step of the engine, and must not call
            the model.
    """

    max_tokens: int = 256
    temperature: float = 0.7
    top_p: float = 0.9
    top_k: int = 0
    min_p: float = 0.0
    typical_p: float = 1.0
    top_n_sigma: float = 0.0
    repetition_penalty: float = 1.1
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    dry: Dry | None = None
    xtc: Xtc | None = None
    dynamic_temperature: DynamicTemperature | None = None
    mirostat: Mirostat | None = None
    logit_bias: Mapping[int, float] = field(default_factory=dict, hash=False)
    stop_sequences: tuple[str, ...] = ()
    stop_token_ids: tuple[int, ...] = ()
    min_tokens: int = 0
    bad_words: tuple[str, ...] = ()
    seed: int | None = None
    logprobs: int | None = None
    ignore_eos: bool = False
    cache_prefix: bool = True
    min_cache_tokens: int = 16
    grammar: Grammar | None = None
    thinking_tokens: int | None = None
    keep_special: tuple[str, ...] = ()
    speculate: bool = True
    prediction: str | tuple[int, ...] | None = None
    n: int = 1
    prompt_logprobs: int | None = None
    logits_processors: tuple[LogitsProcessor, ...] = field(default=(), hash=False)

    def __post_init__(self) -> None:
        self._check_counts()
        for name, interval in _NUMBERS.items():
            check_number(name, getattr(self, name), interval)
        for name, kind in _SAMPLERS.items():
            if getattr(self, name) is not None:
                check_type(name, getattr(self, name), kind)
        for name in ("ignore_eos", "cache_prefix", "speculate"):
            check_type(name, getattr(self, name), bool)
        if self.prediction is not None:
            object.__setattr__(self, "prediction", _checked_prediction(self.prediction))
        object.__setattr__(self, "logit_bias", _checked_bias(self.logit_bias))
        object.__setattr__(self, "logits_processors", checked_processors(self.logits_processors))
        for name in ("stop_sequences", "bad_words", "keep_special"):
            object.__setattr__(self, name, check_texts(name, getattr(self, name)))
        self._check_ends()

    def _check_counts(self) -> None:
        check_integer("max_tokens", self.max_tokens, 1)
        check_integer("top_k", self.top_k, 0, MAX_COUNT)
        check_integer("min_cache_tokens", self.min_cache_tokens, 1, MAX_COUNT)
        check_integer("n", self.n, 1, MAX_CHOICES)
        bounds = (("seed", 2**64 - 1), ("logprobs", MAX_LOGPROBS), ("prompt_logprobs", MAX_LOGPROBS))
        for name, most in (*bounds, ("thinking_tokens", None)):
            if getattr(self, name) is not None:
                check_integer(name, getattr(self, name), 0, most)

    def _check_ends(self) -> None:
        object.__setattr__(self, "stop_token_ids", _checked_tokens(self.stop_token_ids))
        check_integer("min_tokens", self.min_tokens, 0)
        if self.min_tokens > self.max_tokens:
            raise ConfigError(f"min_tokens is {self.min_tokens}, and max_tokens allows {self.max_tokens}")
        if self.grammar is None:
            return
        check_type("grammar", self.grammar, Grammar)
        for name in ("ignore_eos", "min_tokens"):
            if getattr(self, name):
                raise ConfigError(f"{name} goes on past the end of what the grammar allows; set one of them")

    @classmethod
    def of(
        cls,
        params: "ParamsLike",
        keywords: Mapping[str, object],
        *,
        beside: Sequence[str] = (),
        unsaid: Mapping[str, Any] = MappingProxyType({}),
    ) -> "GenerateParams":
        """The given parameters, the defaults where there are none, with what a call's keywords change.

        `TypeError`, as ever, for a keyword that there is not; `beside` are others that the call has. What is
        `unsaid` is other than the default where there are no parameters, as a model recommends it.

        >>> GenerateParams.of(GenerateParams(seed=3), {"max_tokens": 5}).seed
        3
        """
        params = cls(**unsaid) if params is None else params
        if not isinstance(params, cls):
            raise _no_params(params)
        return replace(params, **_changes(keywords, beside)) if keywords else params

    @classmethod
    def of_each(
        cls,
        params: "ParamsLike | Iterable[GenerateParams]",
        keywords: Mapping[str, object],
        count: int | None,
        *,
        beside: Sequence[str] = (),
    ) -> "list[GenerateParams]":
        """The same for each of `count` prompts: one for all, or a list or column with one for each.

        A `count` of `None` is one prompt that is no list.
        """
        if not _are_many(params):
            made = cls.of(cast("ParamsLike", params), keywords, beside=beside)
            return [made] * (1 if count is None else count)
        each = list(cast("Iterable[GenerateParams]", params))
        if count is None:
            raise ConfigError(
                f"params is a {type(params).__name__} of {len(each)}, which is for a list of prompts; "
                "for one prompt it must be GenerateParams"
            )
        if len(each) != count:
            raise ConfigError(f"there are {len(each)} params for {count} prompts; give one, or as many")
        # Also where there are none: a keyword that is none is wrong before the first prompt comes.
        cls.of(None, keywords, beside=beside)
        return [cls.of(one, keywords, beside=beside) for one in each]

    def of_choice(self, index: int) -> "GenerateParams":
        """Those of one of `n` answers, by itself: each draws with a seed of its own.

        >>> [GenerateParams(n=2, seed=7).of_choice(index).seed for index in range(2)]
        [7, 8]
        """
        seed = None if self.seed is None else (self.seed + index) % 2**64
        if (self.n, self.prompt_logprobs, self.seed) == (1, None, seed):
            return self
        # All of it was checked before, which for many stop sequences or biases is work.
        one = copy.copy(self)
        for name, value in (("n", 1), ("prompt_logprobs", None), ("seed", seed)):
            object.__setattr__(one, name, value)
        return one

    def check_one_answer(self, what: str) -> None:
        """Raise `ConfigError` where more is asked for than `what` gives, which is one answer and no more."""
        for name, neutral in (("n", 1), ("prompt_logprobs", None)):
            if (value := getattr(self, name)) != neutral:
                raise ConfigError(
                    f"{name} is {value}, and {what} is one answer alone: leave {name} out, or ask generate, "
                    "chat, infill or as_completed"
                )


ParamsLike: TypeAlias = GenerateParams | Literal["model"] | None
"""How a text is made; `None` by the defaults, "model" as the model's makers recommend."""
ManyParams: TypeAlias = ParamsLike | Sequence[GenerateParams]
"""The same of many prompts: one for all, or one for each."""


def _no_params(given: object) -> ConfigError:
    if not isinstance(given, str):
        return ConfigError(f"params is a {type(given).__name__}; it must be GenerateParams")
    return ConfigError(
        f'params is {given!r:.40}; it must be GenerateParams, or in calls of `LLM` and `AsyncEngine` "model" '
        "for what the model recommends: elsewhere give what recommended_params() gives"
    )


def _are_many(params: object) -> bool:
    """Whether these are parameters for many prompts: a list, a column of a table, any other order of them."""
    return isinstance(params, Iterable) and not isinstance(params, str | bytes | Mapping | Set)


def _changes(keywords: Mapping[str, object], beside: Sequence[str]) -> dict[str, Any]:
    """What keywords say of the fields."""
    names = [one.name for one in fields(GenerateParams)]
    for name in keywords:
        if name not in (*names, "stop"):
            known = (*names, "stop", *beside)
            close = difflib.get_close_matches(name, known, n=1)
            meant = _ELSEWHERE.get(name, close[0] if close else None)
            hint = f"did you mean {meant!r}?" if meant else f"there are {', '.join(names)}"
            raise TypeError(
                f"unexpected keyword argument {name!r}: no choice of GenerateParams is called so; {hint}"
            )
    changes = dict(keywords)
    if "stop" in changes:
        if "stop_sequences" in changes:
            raise ConfigError("stop and stop_sequences are two names of one thing; give one of them")
        stop = changes.pop("stop")
        stops = () if stop is None else [stop] if isinstance(stop, str) else stop
        changes["stop_sequences"] = check_texts("stop", stops)
    return changes


def _checked_bias(bias: object) -> dict[int, float]:
    if not isinstance(bias, Mapping):
        raise ConfigError(f"logit_bias is {bias!r}; it must be a mapping of token ids to numbers")
    return {
        check_integer("a token id of logit_bias", token, 0): check_number(
            f"logit_bias of token {token}", value, _BIAS
        )
        for token, value in bias.items()
    }


def _checked_prediction(given: object) -> str | tuple[int, ...]:
    if isinstance(given, str):
        return given
    if not isinstance(given, list | tuple):
        raise ConfigError(f"prediction is {given!r:.80}; it must be a text or token ids")
    return _token_ids("prediction", given)


def _checked_tokens(given: object) -> tuple[int, ...]:
    if not isinstance(given, list | tuple):
        raise ConfigError(f"stop_token_ids is {given!r:.80}; it must be a list or tuple of token ids")
    if len(given) > MAX_STOP_SEQUENCES:
        raise ConfigError(f"stop_token_ids has {len(given)} tokens; at most {MAX_STOP_SEQUENCES} are allowed")
    return _token_ids("stop_token_ids", given)


def _token_ids(name: str, given: Sequence[object]) -> tuple[int, ...]:
    return tuple(check_integer(f"a token id of {name}", token, 0, 2**32 - 1) for token in given)
