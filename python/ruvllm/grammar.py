"""What an answer must be: a value that a request carries. The engine compiles it for a model."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, get_args

from ruvllm.builtin_grammars import csv_lark, jsonl_lark, xml_lark
from ruvllm.errors import GrammarError

__all__ = ["Grammar", "GrammarKind"]

GrammarKind: TypeAlias = Literal["json_schema", "json_object", "regex", "choice", "lark", "gbnf"]


@dataclass(frozen=True, slots=True)
class Grammar:
    """What an answer must be. Two equal ones are compiled once.

    >>> Grammar.choice(["yes", "no"]).source
    '["yes", "no"]'
    >>> Grammar.json_object().starting_after("</think>").after
    '</think>'

    Attributes:
        kind: What the source is.
        source: The grammar as a text; of a choice a JSON list of its texts.
        after: The grammar begins once the answer has said this; until then it may say anything.
    """

    kind: GrammarKind
    source: str
    after: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in get_args(GrammarKind):
            allowed = ", ".join(get_args(GrammarKind))
            raise GrammarError(f"the kind is {self.kind!r}; allowed are {allowed}")
        if not isinstance(self.source, str):
            raise GrammarError(f"the source is a {type(self.source).__name__}; it must be a text")
        if self.after is not None and not _is_text(self.after):
            raise GrammarError(f"after is {self.after!r}; it must be a text that is not empty, or None")

    @classmethod
    def json_schema(cls, schema: "Mapping[str, Any] | bool | str") -> "Grammar":
        """JSON that a schema allows; properties come in the schema's order."""
        if isinstance(schema, str):
            return cls("json_schema", schema)
        try:
            return cls("json_schema", json.dumps(schema, ensure_ascii=False, allow_nan=False))
        except (TypeError, ValueError, RecursionError) as error:
            raise GrammarError(f"the schema cannot be written as JSON: {error}", pointer="") from None

    @classmethod
    def json_object(cls) -> "Grammar":
        """Any JSON object."""
        return cls("json_object", "")

    @classmethod
    def json(cls) -> "Grammar":
        """Any JSON value."""
        return cls("json_schema", "true")

    @classmethod
    def jsonl(cls, schema: "Mapping[str, Any] | None" = None) -> "Grammar":
        """A JSON value in each line, of a schema if there is one."""
        return cls("lark", jsonl_lark(schema))

    @classmethod
    def csv(cls, columns: Sequence[str] | None = None) -> "Grammar":
        """Rows of as many fields each: under a row of names, or of up to 16 columns without.

        >>> Grammar.csv(["city", "people"]).kind
        'lark'
        """
        return cls("lark", csv_lark(columns))

    @classmethod
    def xml(
        cls, elements: Sequence[str] = ("root", "item", "name", "value"), attributes: Sequence[str] = ()
    ) -> "Grammar":
        """An XML element of these names, with others and text in it.

        The names must be known, as no grammar can close an element by a name that it does not know. Each
        element may have each of the attributes, in their order.
        """
        return cls("lark", xml_lark(elements, attributes))

    @classmethod
    def regex(cls, pattern: str) -> "Grammar":
        """A text that a regular expression matches as a whole; there is no look-around."""
        return cls("regex", pattern)

    @classmethod
    def choice(cls, texts: Sequence[str]) -> "Grammar":
        """One of these texts."""
        if isinstance(texts, str) or not all(map(_is_text, texts)):
            raise GrammarError("a choice is a list of texts, none of them empty")
        return cls("choice", json.dumps(list(texts), ensure_ascii=False))

    @classmethod
    def lark(cls, grammar: str) -> "Grammar":
        """A text of a grammar in Lark, as llguidance understands it."""
        return cls("lark", grammar)

    @classmethod
    def gbnf(cls, grammar: str) -> "Grammar":
        """A text of a grammar in llama.cpp's GBNF."""
        return cls("gbnf", grammar)

    def starting_after(self, text: str | None) -> "Grammar":
        """Make the same grammar begin after a text."""
        return replace(self, after=text)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)
