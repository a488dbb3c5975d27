"""The tree against its model: after every operation both know the same and would evict the same."""

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from ruvllm import RadixTree
from ruvllm.caching import RadixMatch
from tests.caching.tree_model import ModelNode, ModelTree

# Few tokens, so that much begins alike; 2**32 - 1 is the largest id.
TOKENS = st.lists(st.sampled_from([0, 1, 2**32 - 1]), max_size=9).map(tuple)


class Payload:
    """Stands for the tokens that it was inserted with."""

    def __init__(self, tokens: tuple[int, ...]) -> None:
        self.tokens = tokens


class TreeMachine(RuleBasedStateMachine):
    """Any operations in any order."""

    held = Bundle("held")

    def __init__(self) -> None:
        super().__init__()
        self.tree = RadixTree()
        self.model = ModelTree()

    @rule(tokens=TOKENS, as_array=st.booleans())
    def insert(self, tokens: tuple[int, ...], as_array: bool) -> None:
        payload = Payload(tokens)
        given = np.array(tokens, np.uint32) if as_array else list(tokens)
        assert self.tree.insert(given, payload) == self.model.insert(tokens, payload)

    @rule(target=held, tokens=TOKENS)
    def match(self, tokens: tuple[int, ...]) -> tuple[RadixMatch, list[ModelNode]]:
        found = self.tree.match(tokens)
        length, way = self.model.match(tokens)
        assert found.length == length
        segments = found.segments
        assert [(one.payload, one.start) for one in segments] == [(node.payload, node.start) for node in way]
        position = 0
        for payload, start, stop in segments:
            assert start == position < stop
            assert payload.tokens[:stop] == tokens[:stop]
            position = stop
        assert position == length
        return found, way

    @rule(tokens=TOKENS, times=st.sampled_from([2, 31, 40]))
    def match_often(self, tokens: tuple[int, ...], times: int) -> None:
        for _ in range(times):
            self.tree.match(tokens).release()
            _, way = self.model.match(tokens)
            if way:
                way[-1].pins -= 1

    @rule(tokens=TOKENS)
    def peek(self, tokens: tuple[int, ...]) -> None:
        assert self.tree.peek(tokens) == self.model.length(tokens)

    @rule(pair=consumes(held), times=st.integers(1, 2))
    def release(self, pair: tuple[RadixMatch, list[ModelNode]], times: int) -> None:
        found, way = pair
        for _ in range(times):
            found.release()
        if way:
            way[-1].pins -= 1

    @rule()
    def evict(self) -> None:
        evicted, expected = self.tree.evict(), self.model.evict()
        assert evicted == expected
        assert evicted is None or evicted.payload is expected[1]

    @rule()
    def evict_all(self) -> None:
        while (expected := self.model.evict()) is not None:
            assert self.tree.evict() == expected
        assert self.tree.evict() is None

    @invariant()
    def both_agree(self) -> None:
        self.tree.check_invariants()
        assert self.tree.token_count == len(self.model.known)
        assert self.tree.node_count == len(self.model.nodes)
        assert self.tree.pinned == sum(node.pins for node in self.model.nodes)
        assert self.tree.max_depth == max(map(self.model.depth, self.model.nodes), default=0)
        assert sorted(self.tree.edges()) == self.model.edges()


TreeMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestTree = TreeMachine.TestCase
