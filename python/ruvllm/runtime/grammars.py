"""Grammars of requests, compiled for an open model: on the thread of whoever asks, never on the engine's."""

import ruvllm._native as _native
from ruvllm.errors import GrammarError
from ruvllm.grammar import Grammar
from ruvllm.runtime.opening import OpenModel

__all__ = ["compiled"]


def compiled(model: OpenModel, grammar: Grammar) -> _native.Grammar:
    """The grammar over the model's tokens; `GrammarError` where it cannot be honoured."""
    if model.grammars is None:
        model.text.required_tokenizer()
        raise GrammarError("the model has no vocabulary to make a grammar of")
    return model.grammars.grammar(grammar.kind, grammar.source)
