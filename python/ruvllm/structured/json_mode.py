"""How an answer that is JSON is asked for and read: the documents' `JsonModeConfig`."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ruvllm._checks import check_type
from ruvllm.errors import ConfigError, GenerationError
from ruvllm.grammar import Grammar
from ruvllm.outputs import Completion
from ruvllm.structured.repair import Mended, Repair, mended
from ruvllm.structured.schemas import Schema, Shape

__all__ = ["JsonAnswer", "JsonModeConfig", "answer_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonModeConfig:
    """How an answer becomes JSON, and what is done where it is none.

    >>> JsonModeConfig(schema={"type": "integer"}, repair=True).shape.grammar.source
    '{"type": "integer"}'

    Attributes:
        schema: What it must be: a JSON schema, a Pydantic model, or any type that Pydantic knows.
        strict: Whether a value must be of the schema or the grammar also where no mask has held the model to
            it; otherwise it is taken as it came. What is no JSON is an error either way.
        repair: Whether a text that is no JSON is mended, and one that was cut off is read as far as it came.
        grammar: In the place of a schema; a text is llama.cpp's GBNF.
        constrained_decoding: Whether tokens that cannot be are masked. Without, the model is only asked, and
            its answer checked.
    """

    schema: Schema = None
    strict: bool = True
    repair: bool = False
    grammar: Grammar | str | None = None
    constrained_decoding: bool = True

    def __post_init__(self) -> None:
        for name in ("strict", "repair", "constrained_decoding"):
            check_type(name, getattr(self, name), bool)
        if isinstance(self.grammar, str):
            object.__setattr__(self, "grammar", Grammar.gbnf(self.grammar))
        if self.grammar is not None:
            check_type("grammar", self.grammar, Grammar)
            if self.schema is not None:
                raise ConfigError("schema and grammar are both set; an answer is held to one of them")

    @property
    def shape(self) -> Shape:
        """What the answer must be: any JSON object, where nothing else is said."""
        if isinstance(self.grammar, Grammar):
            return Shape(self.grammar, json.loads)
        return Shape.any_object() if self.schema is None else Shape.of(self.schema)


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonAnswer:
    """A value that a model gave.

    Attributes:
        value: The value.
        completion: The answer behind it.
        repairs: What had to be mended to read it, such as `fence` or `comma`; mostly nothing.
    """

    value: Any
    completion: Completion
    repairs: tuple[Repair, ...] = ()


def answer_of(
    completion: Completion, config: JsonModeConfig, shape: Shape, check: Callable[[str, Any], None]
) -> JsonAnswer:
    """The value of an answer; `GenerationError` where there is none that the settings allow.

    `check` refuses a text and its value that are not what they must be; a mask makes it superfluous.
    """
    is_whole = completion.finish_reason == "stop"
    if not is_whole and not config.repair:
        raise GenerationError(
            f"the answer ended after {len(completion.token_ids)} tokens and is not whole: "
            f"{completion.finish_reason}; raise max_tokens, or bound texts and lists in the schema"
        )
    if is_whole and config.constrained_decoding and not config.repair:
        return JsonAnswer(value=_value(shape, completion.text), completion=completion)
    found = _read(completion.text, config, is_cut=not is_whole)
    text = json.dumps(found.value, ensure_ascii=False) if found.repairs else completion.text
    if not config.strict:
        return JsonAnswer(value=found.value, completion=completion, repairs=found.repairs)
    check(text, found.value)
    return JsonAnswer(value=_value(shape, text), completion=completion, repairs=found.repairs)


def _read(text: str, config: JsonModeConfig, *, is_cut: bool) -> Mended:
    if config.repair:
        return mended(text, is_cut=is_cut)
    return Mended(_value(Shape(Grammar.json(), json.loads), text))


def _value(shape: Shape, text: str) -> Any:
    try:
        return shape.value(text)
    except (ValueError, RecursionError) as error:
        # Of types of Pydantic's a check may refuse what their schema allows.
        raise GenerationError(f"the answer {text[:80]!r} gives no value: {error}") from error
