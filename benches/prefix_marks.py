"""The tree of prefixes against its marks, beside one in plain Python.

    python -m benches.prefix_marks [--queries N]

10 000 prompts that share beginnings are known; queries and new prompts have 4096 tokens. Each call is timed
by itself. Ours takes arrays of uint32, the other one tuples. Saves nothing.
"""

import argparse
import gc
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from benches import prefix_traffic
from benches.baselines.python_radix_tree import PythonRadixTree
from benches.marks import show
from ruvllm import RadixTree

MOST_MATCH_US = 20.0
MOST_INSERT_US = 50.0
LEAST_GAIN = 20.0
MOST_NODE_BYTES = 1024
TOKEN_BYTES = 4
SERVED = 200

Case = TypeVar("Case")


def microseconds(operation: Callable[[Case], object], cases: Iterable[Case]) -> tuple[float, float]:
    """The median and the 99th percentile of one call; the collector of garbage rests meanwhile."""
    times = []
    gc.disable()
    for case in cases:
        start = time.perf_counter_ns()
        operation(case)
        times.append(time.perf_counter_ns() - start)
    gc.enable()
    return float(np.percentile(times, 50)) / 1e3, float(np.percentile(times, 99)) / 1e3


def resident_bytes() -> int:
    """What the process holds; 0 where the system does not tell."""
    pages = Path("/proc/self/statm")
    return int(pages.read_text(encoding="ascii").split()[1]) * 4096 if pages.exists() else 0


def line(name: str, figures: tuple[tuple[float, float], tuple[float, float]], most_us: float) -> None:
    """Both trees' times, the mark of ours, and how many times as fast it is."""
    (ours, ours_p99), (python, python_p99) = figures
    show(
        name,
        f"p50 {ours:.1f} us, p99 {ours_p99:.1f} us",
        f"< {most_us:g} us",
        is_reached=ours_p99 < most_us,
    )
    print(f"{'  in plain Python':28} p50 {python:.1f} us, p99 {python_p99:.1f} us")
    show(
        "  times as fast",
        f"p50 {python / ours:.1f}, p99 {python_p99 / ours_p99:.1f}",
        f">= {LEAST_GAIN:g}",
        is_reached=python / ours >= LEAST_GAIN,
    )


def show_memory(tree: RadixTree, resident: int) -> None:
    """Bytes of a node; its token ids are 4 bytes each whatever holds them."""
    nodes, tokens = tree.node_count, tree.token_count
    whole = tree.memory_bytes / nodes
    bare = whole - tokens * TOKEN_BYTES / nodes
    mark = f"<= {MOST_NODE_BYTES} B"
    show("a node without its ids", f"{bare:.0f} B", mark, is_reached=bare <= MOST_NODE_BYTES)
    figures = f"{whole:.0f} B, {tokens / nodes:.0f} ids each; resident {resident / nodes:.0f} B"
    show("a node with them", figures, mark, is_reached=whole <= MOST_NODE_BYTES)


def serve(tree: RadixTree, prompts: list[Any]) -> float:
    """Seconds to look prompts up and keep them in a full tree, which gives others up for them."""
    budget = tree.token_count
    start = time.perf_counter()
    for prompt in prompts:
        tree.match(prompt).release()
        tree.insert(prompt)
        while tree.token_count > budget:
            tree.evict()
    return time.perf_counter() - start


def serve_in_python(tree: PythonRadixTree, prompts: list[tuple[int, ...]]) -> float:
    """The same; it gives up as many tokens as came, at once."""
    start = time.perf_counter()
    for prompt in prompts:
        tree.match(prompt)
        tree.evict(len(prompt) - tree.insert(prompt, range(len(prompt))))
    return time.perf_counter() - start


def show_serving(ours: float, python: float, requests: int) -> None:
    """What a server does with the tree for each request."""
    times = f"{ours / requests * 1e6:.0f} us, plain Python {python / requests * 1e6:.0f}"
    show(
        "match, insert, evict",
        f"{times}: {python / ours:.0f} times",
        f">= {LEAST_GAIN:g}",
        is_reached=python / ours >= LEAST_GAIN,
    )


def as_tuples(prompts: list[Any]) -> list[tuple[int, ...]]:
    """The form that the Python tree takes."""
    return [tuple(prompt.tolist()) for prompt in prompts]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--queries", type=int, default=5000)
    traffic = prefix_traffic.make(parser.parse_args().queries)
    tree, other = RadixTree(), PythonRadixTree()
    before = resident_bytes()
    for prompt in traffic.known:
        tree.insert(prompt)
    resident = resident_bytes() - before
    for prompt in as_tuples(traffic.known):
        other.insert(prompt, range(len(prompt)))
    queries = as_tuples(traffic.queries)
    lengths = [tree.peek(query) for query in traffic.queries]
    if lengths != [sum(map(len, other.match(query)[0])) for query in queries]:
        raise SystemExit("the two trees do not find the same")
    nodes = f"{tree.node_count} nodes, {tree.max_depth} deep"
    print(f"{len(traffic.known)} prompts, {nodes}; of 4096 tokens {np.mean(lengths):.0f} are known")
    matches = microseconds(tree.match, traffic.queries), microseconds(other.match, queries)
    line("match", matches, MOST_MATCH_US)
    show_memory(tree, resident)
    fresh = as_tuples(traffic.fresh)
    inserts = (
        microseconds(tree.insert, traffic.fresh),
        microseconds(lambda prompt: other.insert(prompt, range(len(prompt))), fresh),
    )
    line("insert", inserts, MOST_INSERT_US)
    served = traffic.queries[:SERVED]
    show_serving(serve(tree, served), serve_in_python(other, queries[:SERVED]), len(served))


if __name__ == "__main__":
    main()
