"""A radix tree over token ids in plain Python: the design of SGLang's cache, written anew to compare with.

Nodes are objects with a dict of children by first token, keys are tuples of ids that are compared one by
one, time is the system's clock, and evicting makes a heap of all leaves by their last use.
"""

import heapq
import time
from collections.abc import Sequence
from itertools import count
from typing import Any

_numbers = count()


class Node:
    """The ids of one edge, and what belongs to them: a list with a value for each."""

    def __init__(self, key: tuple[int, ...], value: Sequence[Any], parent: "Node | None") -> None:
        self.key = key
        self.value = value
        self.parent = parent
        self.children: dict[int, Node] = {}
        self.locks = 0
        self.last_access = time.monotonic()
        self.number = next(_numbers)

    def __lt__(self, other: "Node") -> bool:
        return (self.last_access, self.number) < (other.last_access, other.number)


def common_length(left: tuple[int, ...], right: Sequence[int]) -> int:
    """How many ids both begin with."""
    length = 0
    for one, other in zip(left, right, strict=False):
        if one != other:
            break
        length += 1
    return length


class PythonRadixTree:
    """Matches, splits edges where a match ends inside one, inserts, evicts the leaves used longest ago."""

    def __init__(self) -> None:
        self.root = Node((), (), None)

    def match(self, key: tuple[int, ...]) -> tuple[list[Sequence[Any]], Node]:
        """The values of the longest known beginning, edge by edge, and the node that it ends in."""
        values: list[Sequence[Any]] = []
        node, now = self.root, time.monotonic()
        node.last_access = now
        while key and (child := node.children.get(key[0])) is not None:
            child.last_access = now
            length = common_length(child.key, key)
            if length < len(child.key):
                node = self._split(child, length)
                values.append(node.value)
                break
            values.append(child.value)
            node, key = child, key[length:]
        return values, node

    def insert(self, key: tuple[int, ...], value: Sequence[Any]) -> int:
        """Makes a key known; how many ids of it were known before."""
        node, known, now = self.root, 0, time.monotonic()
        node.last_access = now
        while known < len(key) and (child := node.children.get(key[known])) is not None:
            child.last_access = now
            rest = key[known:]
            length = common_length(child.key, rest)
            known += length
            node = child if length == len(child.key) else self._split(child, length)
        if known < len(key):
            node.children[key[known]] = Node(key[known:], value[known:], node)
        return known

    def lock(self, node: Node, change: int) -> None:
        """Keeps a node and all above it (1), or lets them go again (-1)."""
        at: Node | None = node
        while at is not None:
            at.locks += change
            at = at.parent

    def evict(self, num_tokens: int) -> int:
        """Takes leaves out until so many ids are gone; how many are."""
        leaves = [node for node in self._nodes() if not node.children and node.locks == 0]
        heapq.heapify(leaves)
        gone = 0
        while gone < num_tokens and leaves:
            leaf = heapq.heappop(leaves)
            above = leaf.parent
            if above is None:
                break
            gone += len(leaf.key)
            del above.children[leaf.key[0]]
            if not above.children and above.locks == 0 and above.parent is not None:
                heapq.heappush(leaves, above)
        return gone

    def _split(self, node: Node, length: int) -> Node:
        above = Node(node.key[:length], node.value[:length], node.parent)
        above.locks, above.last_access = node.locks, node.last_access
        above.children[node.key[length]] = node
        if node.parent is not None:
            node.parent.children[node.key[0]] = above
        node.parent = above
        node.key, node.value = node.key[length:], node.value[length:]
        return above

    def _nodes(self) -> list[Node]:
        nodes, open_nodes = [], list(self.root.children.values())
        while open_nodes:
            node = open_nodes.pop()
            nodes.append(node)
            open_nodes += node.children.values()
        return nodes
