"""The graph beside looking at every row: what it misses, what it must not find, and twice the same."""

import subprocess
import sys

import numpy as np
import pytest

from ruvllm import ReasoningBank, Trajectory, Verdict
from ruvllm.errors import ConfigError
from ruvllm.reasoning import neighbours
from ruvllm.reasoning.background import Background
from ruvllm.reasoning.table import Filter, VectorTable

DIMENSIONS, ROWS = 64, 3000
ANY = Filter()


def vectors(count: int, seed: int) -> np.ndarray:
    """Kinds of requests about their middles, as models see them."""
    source = np.random.default_rng(seed)
    middles = np.random.default_rng(99).normal(size=(40, DIMENSIONS))
    found = middles[source.integers(40, size=count)] + 0.6 * source.normal(size=(count, DIMENSIONS))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def table_of(kind: str, rows: np.ndarray) -> VectorTable:
    table = VectorTable(DIMENSIONS, kind)
    for number, row in enumerate(rows, start=1):
        verdict = list(Verdict)[number % 4]
        table.add(number, row, Trajectory(request="a", verdict=verdict, quality=(number % 10) / 10))
    if kind == "hnsw":
        while not table.has_graph:
            table.take_in()
    return table


@pytest.fixture(scope="module")
def graph() -> VectorTable:
    return table_of("hnsw", vectors(ROWS, 0))


def recall(table: VectorTable, rows: dict[int, np.ndarray], which: Filter = ANY) -> float:
    """Of the ten nearest by NumPy, in double precision, the share that the table finds."""
    passing = [number for number in rows if passes(number, which)]
    known = np.array([rows[number] for number in passing], dtype=np.float64)
    shares = []
    for query in vectors(100, 7):
        nearest = {passing[position] for position in np.argsort(-(known @ query))[:10]}
        found = table.nearest(query, 10, which)
        assert {number for number, _ in found} <= set(passing)
        assert len(found) == min(10, len(passing))
        for number, similarity in found:
            assert similarity == pytest.approx(float(rows[number] @ query), abs=1e-5)
        shares.append(len(nearest & {number for number, _ in found}) / len(nearest))
    return float(np.mean(shares))


def passes(number: int, which: Filter) -> bool:
    return list(Verdict)[number % 4] in which.verdicts and (number % 10) / 10 >= which.min_quality


def numbered(rows: np.ndarray) -> dict[int, np.ndarray]:
    return dict(enumerate(rows, start=1))


def test_it_finds_what_looking_at_all_finds(graph: VectorTable) -> None:
    rows = numbered(vectors(ROWS, 0))
    assert graph.has_graph
    assert recall(graph, rows) >= 0.98
    assert recall(table_of("exact", vectors(ROWS, 0)), rows) == 1.0


@pytest.mark.parametrize(
    "which",
    [
        Filter(frozenset([Verdict.Success, Verdict.Partial])),
        Filter(frozenset([Verdict.Failure]), 0.9),
        Filter(frozenset(Verdict), 0.5),
    ],
)
def test_a_filter_costs_nothing_of_what_is_found(graph: VectorTable, which: Filter) -> None:
    assert recall(graph, numbered(vectors(ROWS, 0)), which) >= 0.98


def test_it_is_the_same_twice(graph: VectorTable) -> None:
    again = table_of("hnsw", vectors(ROWS, 0))
    for query in vectors(50, 8):
        assert graph.nearest(query, 10, ANY) == again.nearest(query, 10, ANY)


def test_rows_that_go_are_not_found_and_their_places_are_used_again() -> None:
    rows = numbered(vectors(1000, 1))
    table = table_of("hnsw", vectors(1000, 1))
    for number in np.random.default_rng(0).permutation(1000)[:700] + 1:
        table.remove(int(number))
        del rows[int(number)]
    assert table.has_graph
    assert recall(table, rows) >= 0.98
    # The graph by itself has none of them, so that no search need look at every row instead.
    in_graph = table._graph.nearest(vectors(1, 7)[0], 300)
    assert in_graph is not None
    assert (table._ids[in_graph] > 0).all()
    for number, row in enumerate(vectors(600, 2), start=1001):
        table.add(number, row, Trajectory(request="a"))
        rows[number] = row
        table.remove(number) if number % 5 == 0 else None
        if number % 5 == 0:
            del rows[number]
    assert not table.has_graph
    # While it has not all rows, every row is looked at.
    assert table.nearest(rows[1599], 1, ANY)[0][0] == 1599
    while not table.has_graph:
        table.take_in()
    assert recall(table, rows) >= 0.98


def test_a_row_that_is_gone_is_not_in_the_graph() -> None:
    rows = vectors(6, 3)
    graph = neighbours.HnswRows(DIMENSIONS)
    for row in range(6):
        graph.put(row)
    assert not graph.is_complete
    graph.take_in(rows)
    graph.remove(2)
    graph.remove(2)
    assert graph.nearest(rows[2], 6) is None
    found = graph.nearest(rows[2], 5)
    assert found is not None
    assert set(found.tolist()) == {0, 1, 3, 4, 5}
    rows[2] = rows[5]
    graph.put(2)
    graph.take_in(rows)
    found = graph.nearest(rows[5], 2)
    assert found is not None
    assert set(found.tolist()) == {2, 5}


def test_another_background_is_another_graph() -> None:
    source = np.random.default_rng(4)
    shared = 3.0 * source.normal(size=DIMENSIONS)
    shifted = vectors(1500, 0) + 0.2 * shared
    shifted = (shifted / np.linalg.norm(shifted, axis=1, keepdims=True)).astype(np.float32)
    table = table_of("hnsw", shifted)
    table.set_background(Background.of(shifted))
    assert not table.has_graph
    while not table.has_graph:
        table.take_in()
    rest = (shifted - table.background.mean) / table.background.spread
    known = rest / np.linalg.norm(rest, axis=1, keepdims=True)
    shares = []
    for row in range(0, 1500, 15):
        nearest = set((np.argsort(-(known @ known[row]))[:10] + 1).tolist())
        shares.append(len(nearest & {number for number, _ in table.nearest(shifted[row], 10, ANY)}) / 10)
    assert np.mean(shares) >= 0.98


def test_fewer_than_are_asked_for() -> None:
    table = table_of("hnsw", vectors(5, 3))
    assert len(table.nearest(vectors(1, 4)[0], 10, ANY)) == 5
    for number in range(1, 6):
        table.remove(number)
    assert table.nearest(vectors(1, 4)[0], 10, ANY) == []


def test_a_bank_takes_a_graph_where_it_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ruvllm.reasoning.table.FEWEST_FOR_GRAPH", 200)
    monkeypatch.setattr("ruvllm.reasoning.background.MOST", 200)
    places = {f"request {number}": row for number, row in enumerate(vectors(600, 5))}

    def embed(texts: list[str]) -> list[np.ndarray]:
        return [places.get(text, vectors(1, 0)[0]) for text in texts]

    large, exact = ReasoningBank(embed), ReasoningBank(embed, index="exact")
    for text in places:
        large.record(Trajectory(request=text))
        exact.record(Trajectory(request=text))
    assert (large.stats().index, exact.stats().index) == ("hnsw", "exact")
    shares = []
    for text in list(places)[:100]:
        ids = [{match.id for match in bank.search(text, 10)} for bank in (large, exact)]
        shares.append(len(ids[0] & ids[1]) / 10)
    assert np.mean(shares) >= 0.98


def test_a_bank_does_without_the_library() -> None:
    program = """
import sys
sys.modules["voyager"] = None
import numpy as np
from ruvllm import ConfigError, ReasoningBank, Trajectory
embed = lambda texts: [np.eye(4)[len(text) % 4] for text in texts]
bank = ReasoningBank(embed)
bank.record(Trajectory(request="abc"))
assert bank.search("xyz", 1)[0].trajectory.request == "abc"
try:
    ReasoningBank(embed, index="hnsw")
except ConfigError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "pip install 'ruvllm[bank]'" in done.stdout


def test_what_needs_the_library_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    assert neighbours.is_installed()
    monkeypatch.setattr("ruvllm.reasoning.table.is_installed", lambda: False)
    with pytest.raises(ConfigError, match="needs voyager"):
        VectorTable(4, "hnsw")
