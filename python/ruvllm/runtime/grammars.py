"""Grammars of requests, compiled for an open model: on the thread of whoever asks, never on the engine's."""

from collections.abc import Callable, Iterable

import ruvllm._native as _native
from ruvllm.errors import GrammarError
from ruvllm.gbnf import lark_of_gbnf
from ruvllm.grammar import Grammar
from ruvllm.runtime.open_model import OpenModel
from ruvllm.tools import ToolDefinition

__all__ = ["compiled", "strict_fault"]


def compiled(model: OpenModel, grammar: Grammar) -> _native.Grammar:
    """The grammar over the model's tokens; `GrammarError` where it cannot be honoured."""
    if model.grammars is None:
        if not model.supports.grammar:
            raise GrammarError(f"the backend {model.backend!r} has no grammars; use the native one")
        model.text.required_tokenizer()
        raise GrammarError("the model has no vocabulary to make a grammar of")
    if grammar.kind == "gbnf":
        return model.grammars.grammar("lark", lark_of_gbnf(grammar.source))
    return model.grammars.grammar(grammar.kind, grammar.source)


def strict_fault(
    check: Callable[[Grammar], None], tools: Iterable[ToolDefinition]
) -> tuple[ToolDefinition, GrammarError] | None:
    """The strict tool because of whose schema a grammar of calls is refused, and where in it."""
    for tool in tools:
        if tool.strict:
            try:
                check(Grammar.json_schema(tool.schema))
            except GrammarError as error:
                return tool, error
    return None
