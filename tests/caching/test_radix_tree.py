"""What the tree gives back and refuses, and many threads on one tree."""

import threading

import numpy as np
import pytest

from ruvllm import RadixTree
from ruvllm.caching import Evicted, Segment
from ruvllm.errors import InvalidOperationError, TokenizationError


def test_a_match_ends_inside_an_edge() -> None:
    tree = RadixTree()
    tree.insert([1, 2, 3, 4], "payload")
    assert tree.match([1, 2, 9]).segments == (Segment("payload", 0, 2),)


def test_only_what_is_not_known_stands_for_the_new_payload() -> None:
    tree = RadixTree()
    assert tree.insert([1, 2, 3], "a") == 0
    assert tree.insert([1, 2, 3, 4, 5], "b") == 3
    assert tree.insert([1, 2, 3, 4], "c") == 4
    assert tree.match([1, 2, 3, 4, 5]).segments == (Segment("a", 0, 3), Segment("b", 3, 5))


@pytest.mark.parametrize(
    "tokens",
    [[1, 2, 3], (1, 2, 3), np.array([1, 2, 3], np.uint32), np.array([1, 0, 2, 0, 3], np.uint32)[::2]],
    ids=["list", "tuple", "array", "strided"],
)
def test_tokens_come_as_lists_or_arrays(tokens: list[int]) -> None:
    tree = RadixTree()
    assert tree.insert(tokens) == 0
    assert tree.peek([1, 2, 3]) == tree.peek(tokens) == 3


@pytest.mark.parametrize("token", [-1, 2**32])
def test_what_is_no_token_is_refused(token: int) -> None:
    with pytest.raises(TokenizationError, match="outside 0 to 4294967295"):
        RadixTree().match([token])


def test_what_is_held_is_not_evicted() -> None:
    tree = RadixTree()
    tree.insert([1, 2, 3], "a")
    with tree.match([1, 2]) as found:
        assert tree.pinned == 1
        assert tree.evict() is None
        tree.insert([1, 9], "b")
        assert tree.evict() == Evicted(1, "b")
        assert tree.evict() is None
        assert found.segments == (Segment("a", 0, 2),)
    assert tree.pinned == 0
    assert tree.peek([1, 2, 3]) == 3


def test_a_match_that_nobody_holds_holds_nothing() -> None:
    tree = RadixTree()
    tree.insert([1, 2, 3])
    found = tree.match([1, 2, 3])
    assert tree.pinned == 1
    del found
    assert tree.pinned == 0


def test_a_released_match_has_no_segments() -> None:
    tree = RadixTree()
    tree.insert([1, 2, 3])
    with tree.match([1, 2, 3]) as found:
        pass
    assert found.length == 3
    with pytest.raises(InvalidOperationError, match="released"):
        _ = found.segments


def test_the_payload_comes_back_with_its_last_part() -> None:
    tree = RadixTree()
    payload = object()
    tree.insert([1, 2, 3, 4], payload)
    tree.insert([1, 2, 9], "other")
    found = tree.match([1, 2, 3, 4])
    found.release()
    assert tree.evict() == Evicted(1, "other")
    assert tree.evict() == Evicted(2, None)
    assert tree.evict() == Evicted(2, payload)
    assert tree.evict() is None


@pytest.mark.parametrize(
    ("matches", "younger_ones_before"),
    [(0, 0), (1, 15), (2, 31), (31, 31 * 16 - 1), (32, 32 * 16 - 1), (33, 32 * 16 - 1), (1000, 32 * 16 - 1)],
)
def test_a_match_counts_as_sixteen_uses_and_at_most_32_count(matches: int, younger_ones_before: int) -> None:
    tree = RadixTree()
    tree.insert([1], "matched")
    for _ in range(matches):
        tree.match([1]).release()
    for token in range(2, 602):
        tree.insert([token], token)
    order = [evicted.payload for _ in range(601) if (evicted := tree.evict())]
    assert order.index("matched") == younger_ones_before


def test_figures() -> None:
    tree = RadixTree()
    empty = tree.memory_bytes
    tree.insert([1, 2, 3, 4])
    tree.insert([1, 2, 9])
    assert (tree.node_count, tree.token_count, tree.max_depth) == (3, 5, 2)
    assert tree.memory_bytes > empty + 5 * 4
    assert sorted(tree.edges()) == [(1, (1, 2), 0), (2, (3, 4), 0), (2, (9,), 0)]


def test_many_threads() -> None:
    tree = RadixTree()
    errors: list[BaseException] = []
    start = threading.Barrier(8)

    def work(seed: int) -> None:
        random = np.random.default_rng(seed)
        start.wait()
        try:
            for _ in range(400):
                tokens = random.integers(0, 3, random.integers(1, 12)).astype(np.uint32)
                tree.insert(tokens, tuple(tokens.tolist()))
                with tree.match(tokens) as found:
                    for payload, _, stop in found.segments:
                        assert payload[:stop] == tuple(tokens[:stop].tolist())
                    assert tree.peek(tokens[: found.length]) == found.length
                    tree.evict()
                    assert tree.peek(tokens[: found.length]) == found.length
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert tree.pinned == 0
    tree.check_invariants()


def test_the_documented_name_of_a_match() -> None:
    tree = RadixTree()
    tree.insert([1, 2, 3], "a")
    with tree.longest_match([1, 2, 9]) as found:
        assert (found.length, found.segments) == (2, tree.match([1, 2, 9]).segments)
