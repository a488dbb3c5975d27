"""The tree of prefixes as it is described, in plain Python: nothing shared, no order kept, all by search."""

from dataclasses import dataclass
from typing import Any

HIT_TICKS = 16
COUNTED_HITS = 32


@dataclass(eq=False)
class ModelNode:
    """The tokens from `start` to the end of `path`."""

    path: tuple[int, ...]
    start: int
    payload: Any
    number: int
    last_used: int
    hits: int = 0
    pins: int = 0

    @property
    def rank(self) -> tuple[int, int]:
        return self.last_used + HIT_TICKS * min(self.hits, COUNTED_HITS), self.number


class ModelTree:
    """Every known beginning in a set, every node in a list."""

    def __init__(self) -> None:
        self.known: set[tuple[int, ...]] = set()
        self.nodes: list[ModelNode] = []
        self._clock = 0
        # Among equals the lowest number goes first; the last one that became free is used again first.
        self._free: list[int] = []
        self._numbers = 1

    def length(self, tokens: tuple[int, ...]) -> int:
        return max(size for size in range(len(tokens) + 1) if size == 0 or tokens[:size] in self.known)

    def way(self, tokens: tuple[int, ...]) -> list[ModelNode]:
        """The nodes that hold the known beginning of the tokens."""
        length = self.length(tokens)
        held = [
            node
            for node in self.nodes
            if node.start < length and node.path[:length] == tokens[: min(len(node.path), length)]
        ]
        return sorted(held, key=lambda node: node.start)

    def match(self, tokens: tuple[int, ...]) -> tuple[int, list[ModelNode]]:
        way = self.way(tokens)
        self._touch(way, 1)
        if way:
            way[-1].pins += 1
        return self.length(tokens), way

    def insert(self, tokens: tuple[int, ...], payload: Any) -> int:
        length, way = self.length(tokens), self.way(tokens)
        self._touch(way, 0)
        if length == len(tokens):
            return length
        if way and len(way[-1].path) > length:
            self._split(way[-1], length)
        self._add(ModelNode(tokens, length, payload, 0, self._clock))
        self.known |= {tokens[:size] for size in range(length + 1, len(tokens) + 1)}
        return length

    def evict(self) -> tuple[int, Any] | None:
        leaves = [node for node in self.nodes if node.pins == 0 and not self.children(node)]
        if not leaves:
            return None
        leaf = min(leaves, key=lambda node: node.rank)
        self.nodes.remove(leaf)
        self._free.append(leaf.number)
        self.known -= {leaf.path[:size] for size in range(leaf.start + 1, len(leaf.path) + 1)}
        is_last = all(node.payload is not leaf.payload for node in self.nodes)
        return len(leaf.path) - leaf.start, leaf.payload if is_last else None

    def children(self, above: ModelNode) -> list[ModelNode]:
        end = len(above.path)
        return [node for node in self.nodes if node.start == end and node.path[:end] == above.path]

    def edges(self) -> list[tuple[int, tuple[int, ...], int]]:
        return sorted((self.depth(node), node.path[node.start :], node.hits) for node in self.nodes)

    def depth(self, node: ModelNode) -> int:
        return len([one for one in self.nodes if one.path == node.path[: len(one.path)]])

    def _touch(self, way: list[ModelNode], hits: int) -> None:
        self._clock += 1
        for node in way:
            node.last_used = self._clock
            node.hits += hits

    def _split(self, below: ModelNode, at: int) -> None:
        above = ModelNode(below.path[:at], below.start, below.payload, 0, below.last_used, below.hits)
        below.start = at
        self._add(above)

    def _add(self, node: ModelNode) -> None:
        if self._free:
            node.number = self._free.pop()
        else:
            node.number = self._numbers
            self._numbers += 1
        self.nodes.append(node)
