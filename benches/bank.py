"""What the reasoning bank finds and how soon: with a real model's embeddings, and beside NumPy.

    python -m benches.bank [MODEL] [--sizes 1000,4000,10000] [--splits N]

The first table is of requests written by hand (tests/reasoning/requests.py): the share of those asked for
which the nearest of the others is of the same kind, over random splits, sixteen or three quarters of them in
the bank. The second is of made-up vectors about fifty middles: NumPy's product over all of them, the bank's
exact search and its graph in turn.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ruvllm import LLM, ReasoningBank, Trajectory
from ruvllm.reasoning.embedding import Embeddings
from ruvllm.reasoning.table import Filter, VectorTable
from tests.reasoning.requests import FIRST, SECOND

Vectors = NDArray[np.float32]
DIMENSIONS, QUERIES, FOUND = 576, 200, 10
EVERYTHING = Filter()


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds, and what came of it."""
    begin = time.perf_counter()
    value = call()
    return time.perf_counter() - begin, value


# -- what is found


def shares(kinds: dict[str, list[str]], vectors: dict[str, Vectors], *, splits: int, few: int | None) -> str:
    """Over random splits: the nearest by plain cosines, the nearest by the bank, and by its patterns."""
    items = [(kind, text) for kind, texts in kinds.items() for text in texts]
    counts: list[list[bool]] = [[], [], []]
    for seed in range(splits):
        order = np.random.default_rng(seed).permutation(len(items))
        cut = few or len(items) * 3 // 4
        bank = ReasoningBank(lambda texts: [vectors.get(text, vectors[""]) for text in texts])
        bank.extend(Trajectory(request=items[i][1], response=items[i][0]) for i in order[:cut])
        bank.distill(seed=seed)
        known = np.array([vectors[items[i][1]] for i in order[:cut]])
        for i in order[cut:]:
            kind, text = items[i]
            nearest = order[:cut][np.argmax(known @ vectors[text])]
            context = bank.context(text, 1, min_similarity=-1.0)
            counts[0].append(items[nearest][0] == kind)
            counts[1].append(bank.search(text, 1)[0].trajectory.response == kind)
            counts[2].append(context.used[0].trajectory.response == kind)
    return "".join(f"{100 * float(np.mean(one)):10.1f}" for one in counts)


def show_found(llm: LLM, splits: int) -> None:
    """The first table."""
    kinds = {"first": FIRST, "second": SECOND, "both": {**FIRST, **SECOND}}
    texts = [text for group in kinds["both"].values() for text in group] + [" "]
    asking = Embeddings(llm, "bench")
    print(f"{'requests':28}{'cosines':>10}{'bank':>10}{'patterns':>10}   right kind, %")
    for name, vectors in (("mean of states", llm.embed(texts)), ("as the bank asks", asking.of(texts))):
        by_text = dict(zip(texts, vectors, strict=True)) | {"": vectors[-1]}
        for group, chosen in kinds.items():
            for few in (16, None):
                line = shares(chosen, by_text, splits=splits, few=few)
                print(f"{name}, {group}, {few or 'most':>4}".ljust(28) + line)


# -- how soon


def made_up(count: int) -> tuple[Vectors, Vectors]:
    """Vectors about fifty middles, in few directions more than in the others; and some to ask for."""
    source = np.random.default_rng(0)
    middles, ways = source.normal(size=(50, DIMENSIONS)), source.normal(size=(24, DIMENSIONS))
    total = count + QUERIES
    found = middles[source.integers(50, size=total)] + 0.6 * source.normal(size=(total, 24)) @ ways
    found += 0.5 * source.normal(size=found.shape)
    unit = (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)
    return unit[:count], unit[count:]


def table_of(kind: Any, vectors: Vectors) -> VectorTable:
    """All of them; of a graph, until it has them."""
    table = VectorTable(DIMENSIONS, kind)
    for number, vector in enumerate(vectors, start=1):
        table.add(number, vector, Trajectory(request="a"))
    table.take_in()
    while kind == "hnsw" and not table.has_graph:
        table.take_in()
    return table


def by_numpy(vectors: Vectors, query: Vectors) -> set[int]:
    """The nearest by the product with all."""
    return {int(row) + 1 for row in np.argpartition(-(vectors @ query), FOUND)[:FOUND]}


def show_speed(sizes: Sequence[int]) -> None:
    """The second table."""
    heads = ("NumPy us", "exact us", "graph us")
    print(f"\n{'vectors':>8}{''.join(f'{head:>10}' for head in heads)}{'recall':>8}{'ms a row':>10}")
    for size in sizes:
        vectors, queries = made_up(size)
        exact = table_of("exact", vectors)
        seconds, graph = timed(lambda rows=vectors: table_of("hnsw", rows))
        times: list[list[float]] = [[], [], []]
        shares_found = []
        for query in queries:
            calls: list[Callable[[], Any]] = [
                partial(by_numpy, vectors, query),
                partial(exact.nearest, query, FOUND, EVERYTHING),
                partial(graph.nearest, query, FOUND, EVERYTHING),
            ]
            found = []
            for place, call in enumerate(calls):
                took, value = timed(call)
                times[place].append(took)
                found.append(value)
            shares_found.append(len(found[0] & {number for number, _ in found[2]}) / FOUND)
        columns = "".join(f"{median(one) * 1e6:10.0f}" for one in times)
        print(f"{size:8}{columns}{np.mean(shares_found):8.3f}{seconds / size * 1e3:10.2f}")


def show_life(llm: LLM, size: int) -> None:
    """Recording, opening, searching and distilling, on disk."""
    vectors, _ = made_up(size)

    def embed(texts: list[str]) -> list[Vectors]:
        return [vectors[int(text) if text.isdecimal() else 0] for text in texts]

    with tempfile.TemporaryDirectory() as folder:
        with ReasoningBank(embed, folder) as bank:
            seconds, _ = timed(lambda: bank.extend(Trajectory(request=str(number)) for number in range(size)))
            print(f"\n{size} recorded in one call: {seconds / size * 1e3:.2f} ms each, without embeddings")
            seconds, patterns = timed(bank.distill)
            print(f"distilled to {len(patterns)} patterns: {seconds:.1f} s")
            print(f"file: {bank.stats().file_bytes / 1e6:.1f} MB")
        seconds, bank = timed(lambda: ReasoningBank(embed, folder))
        bank.close()
        print(f"opened again: {seconds:.2f} s")
        texts = [text for group in FIRST.values() for text in group]
        with ReasoningBank(llm, folder, tenant="real") as bank:
            recorded = [timed(lambda text=text: bank.record(Trajectory(request=text)))[0] for text in texts]
            searched = [timed(lambda text=text: bank.search(text))[0] for text in texts]
        print(f"with the model, medians: record {median(recorded) * 1e3:.1f} ms", end=", ")
        print(f"search {median(searched) * 1e3:.1f} ms")


def main() -> None:
    """Print everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model", nargs="?", default="smollm2-135m")
    parser.add_argument("--sizes", default="1000,4000,10000", help="how many vectors, with commas between")
    parser.add_argument("--splits", type=int, default=30)
    arguments = parser.parse_args()
    sizes = [int(size) for size in arguments.sizes.split(",")]
    with LLM(arguments.model) as llm:
        show_found(llm, arguments.splits)
        show_speed(sizes)
        show_life(llm, sizes[-1])


if __name__ == "__main__":
    main()
