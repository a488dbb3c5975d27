"""`RadixTree`: the engine's own tree of token prefixes, over any Python object."""

from collections.abc import Sequence
from types import TracebackType
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

import ruvllm._native as _native
from ruvllm.errors import InvalidOperationError
from ruvllm.token_lists import check_token_list

__all__ = ["Edge", "Evicted", "RadixMatch", "RadixTree", "Segment", "Tokens", "listed"]

Tokens: TypeAlias = Sequence[int] | NDArray[np.uint32]
"""Token ids; an array is read where it lies, all else is copied."""


def listed(tokens: Tokens) -> Tokens:
    """Tokens of a type that holds token ids: integer arrays as they are, all else as a list of integers."""
    if isinstance(tokens, np.ndarray) and tokens.dtype.kind in "iu":
        return tokens
    return check_token_list("tokens", tokens)


class Segment(NamedTuple):
    """A part of a match: the payload that was inserted with it, and which of its positions match."""

    payload: Any
    start: int
    stop: int


class Evicted(NamedTuple):
    """What had to go: so many tokens, and their payload where no other part of the tree uses it."""

    num_tokens: int
    payload: Any


class Edge(NamedTuple):
    """The tokens of one node, how many nodes stand on the way to it, and how often a match led over it."""

    depth: int
    tokens: tuple[int, ...]
    hits: int


class RadixMatch:
    """A beginning that the tree knows. It stays there until this is released, or nobody holds it.

    Attributes:
        length: How many tokens of the query are known.
    """

    __slots__ = ("_found", "length")

    def __init__(self, found: _native.RadixMatch) -> None:
        self._found: _native.RadixMatch | None = found
        self.length = found.length

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The payloads on the way, from the first token on; together they cover `length` tokens."""
        found = self._found
        if found is None:
            raise InvalidOperationError("the match was released; read its segments before that")
        return tuple(Segment(*part) for part in found.segments)

    def release(self) -> None:
        """Let it be evicted again; twice is the same as once."""
        # The end of the native object takes the pin off and lets the payloads go in one step, so that
        # whoever evicts the last part of a payload is also given it.
        self._found = None

    def __enter__(self) -> "RadixMatch":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class RadixTree:
    """Payloads by the longest known beginning of some tokens; safe to use from many threads.

    What begins alike is kept once, and matched to the token. The least valuable leaf goes first: the one
    whose last use is longest ago, where each match makes it sixteen uses younger, up to 32 times.

    >>> tree = RadixTree()
    >>> tree.insert([1, 2, 3, 4], "a")
    0
    >>> tree.insert([1, 2, 9], "b")
    2
    >>> with tree.match([1, 2, 9, 7]) as found:
    ...     print(found.length, *found.segments)
    3 Segment(payload='a', start=0, stop=2) Segment(payload='b', start=2, stop=3)
    """

    def __init__(self) -> None:
        self._tree = _native.RadixTree()

    def __repr__(self) -> str:
        return f"RadixTree(nodes={self.node_count}, tokens={self.token_count})"

    def insert(self, tokens: Tokens, payload: Any = None) -> int:
        """Make tokens known; gives how many were known before. The payload stands for the others."""
        return self._tree.insert(listed(tokens), payload)

    def match(self, tokens: Tokens) -> RadixMatch:
        """The longest known beginning, kept in the tree until it is released."""
        return RadixMatch(self._tree.find(listed(tokens)))

    def longest_match(self, tokens: Tokens) -> RadixMatch:
        """Do the same as `match`, by the documents' name."""
        return self.match(tokens)

    def peek(self, tokens: Tokens) -> int:
        """How many of the tokens are known; leaves no trace."""
        return self._tree.peek(listed(tokens))

    def evict(self) -> Evicted | None:
        """Take the least valuable leaf out; `None` where there is none that no match holds."""
        evicted = self._tree.evict()
        return None if evicted is None else Evicted(*evicted)

    def edges(self) -> tuple[Edge, ...]:
        """All nodes, each after the one above it."""
        return tuple(Edge(depth, tuple(tokens), hits) for depth, tokens, hits in self._tree.edges())

    def check_invariants(self) -> None:
        """Raise `KvCacheError` where what always holds does not; for tests."""
        self._tree.check_invariants()

    @property
    def node_count(self) -> int:
        """Nodes, without the root."""
        return self._tree.num_nodes

    @property
    def token_count(self) -> int:
        """Tokens on all nodes: what begins alike counts once."""
        return self._tree.num_tokens

    @property
    def max_depth(self) -> int:
        """The most nodes under one another."""
        return self._tree.max_depth

    @property
    def memory_bytes(self) -> int:
        """Bytes of nodes and tokens, without the payloads."""
        return self._tree.memory_bytes

    @property
    def pinned(self) -> int:
        """Matches that are not released."""
        return self._tree.num_pins
