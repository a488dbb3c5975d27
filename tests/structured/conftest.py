"""Grammars over single bytes: what they accept without a model."""

import json
from collections.abc import Callable

import pytest

import ruvllm._native as _native
from ruvllm.gbnf import lark_of_gbnf
from ruvllm.grammar import Grammar

Accepts = Callable[[Grammar, str], bool]
END = 256


@pytest.fixture(scope="session")
def byte_grammars() -> _native.Grammars:
    """Every byte is a token, and there is one that ends an answer."""
    pieces = [bytes([byte]) for byte in range(256)]
    return _native.Grammars(_native.Vocabulary([*pieces, b"<end>"], [END]), [END], None)


@pytest.fixture(scope="session")
def accepts(byte_grammars: _native.Grammars) -> Accepts:
    """Whether a text as a whole is what a grammar allows."""

    def whole(grammar: Grammar, text: str) -> bool:
        if grammar.kind == "gbnf":
            grammar = Grammar.lark(lark_of_gbnf(grammar.source))
        return byte_grammars.grammar(grammar.kind, grammar.source).accepts(text)

    return whole


def written(value: object) -> set[str]:
    """The ways in which programs write a value."""
    return {
        json.dumps(value),
        json.dumps(value, separators=(",", ":")),
        json.dumps(value, ensure_ascii=False),
        json.dumps(value, indent=2),
    }
