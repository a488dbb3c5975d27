"""The tree of prefixes beside one in plain Python: 10 000 prompts that share beginnings, 4096 tokens asked.

`make bench-prefix-tree` holds the same figures against their marks.
"""

from collections.abc import Callable
from itertools import cycle
from typing import Any

import pytest

from benches import prefix_traffic
from benches.baselines.python_radix_tree import PythonRadixTree
from ruvllm import RadixTree

TRAFFIC = prefix_traffic.make(500)


def ours() -> tuple[RadixTree, list[Any]]:
    """The engine's tree, asked with arrays."""
    tree = RadixTree()
    for prompt in TRAFFIC.known:
        tree.insert(prompt)
    return tree, TRAFFIC.queries


def python() -> tuple[PythonRadixTree, list[Any]]:
    """The other one, asked with tuples."""
    tree = PythonRadixTree()
    for prompt in TRAFFIC.known:
        tree.insert(tuple(prompt.tolist()), range(len(prompt)))
    return tree, [tuple(query.tolist()) for query in TRAFFIC.queries]


@pytest.mark.benchmark(group="prefix match")
@pytest.mark.parametrize("make", [ours, python], ids=lambda make: make.__name__)
def bench_match(benchmark: Any, make: Callable[[], tuple[Any, list[Any]]]) -> None:
    """Another query each time."""
    tree, queries = make()
    turns = cycle(queries)
    benchmark(lambda: tree.match(next(turns)))


@pytest.mark.benchmark(group="prefix insert")
@pytest.mark.parametrize("make", [ours, python], ids=lambda make: make.__name__)
def bench_insert(benchmark: Any, make: Callable[[], tuple[Any, list[Any]]]) -> None:
    """Another prompt each time, new after its first 1536 tokens."""
    tree, _ = make()
    prompts = iter(TRAFFIC.fresh)

    def setup() -> tuple[tuple[Any, ...], dict[str, Any]]:
        prompt = next(prompts)
        if isinstance(tree, RadixTree):
            return (prompt,), {}
        return (tuple(prompt.tolist()), range(len(prompt))), {}

    benchmark.pedantic(tree.insert, setup=setup, rounds=len(TRAFFIC.fresh))


@pytest.mark.benchmark(group="prefix evict")
def bench_evict(benchmark: Any) -> None:
    """A leaf of ours; the Python tree looks at every node for each eviction."""
    tree, _ = ours()
    benchmark.pedantic(tree.evict, rounds=1000)
    benchmark.extra_info["bytes_per_node"] = round(tree.memory_bytes / tree.node_count)


@pytest.mark.benchmark(group="prefix evict")
def bench_evict_python(benchmark: Any) -> None:
    """One leaf of the other."""
    tree, _ = python()
    benchmark.pedantic(tree.evict, args=(1,), rounds=20)
