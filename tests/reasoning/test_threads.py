"""A bank that many threads use at once: nothing is lost, doubled or torn."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ruvllm import ReasoningBank, Trajectory
from tests.reasoning.word_vectors import word_vectors


def test_many_threads_have_one_bank(tmp_path: Path) -> None:
    together = threading.Barrier(5)

    def record(name: str) -> dict[int, str]:
        together.wait()
        found = {}
        for number in range(15):
            request = f"{name} does {number}"
            found[bank.record(Trajectory(request=request))] = request
            if number % 5 == 4:
                gone = min(found)
                bank.forget(gone)
                del found[gone]
        return found

    def look() -> dict[int, str]:
        together.wait()
        for number in range(15):
            matches = bank.search(f"anna does {number}", 5)
            assert len({match.id for match in matches}) == len(matches)
            bank.distill(3, seed=number)
            bank.context("bert does", 2)
        return {}

    with ReasoningBank(word_vectors, tmp_path) as bank, ThreadPoolExecutor(5) as pool:
        recorders = [pool.submit(record, name) for name in ("anna", "bert", "carl")]
        lookers = [pool.submit(look) for _ in range(2)]
        for one in lookers:
            one.result()
        expected: dict[int, str] = {}
        for one in recorders:
            assert not expected.keys() & one.result().keys()
            expected |= one.result()
    with ReasoningBank(word_vectors, tmp_path) as bank:
        assert {number: bank.get(number).request for number in expected} == expected
        assert len(bank) == len(expected) == 36
