"""What pytest runs: the tests, or with `--benchmark-only` the benchmarks; and which of them beside others."""

import gc
from collections.abc import Generator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent
TESTS, BENCHES = ROOT / "tests", ROOT / "benches"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Beside `-m`, not by it: whoever names marks of their own has them in both parts of `make test-py`."""
    choices = ("too", "never", "only")
    text = "tests marked `alone`, which nothing may run beside: with the others, without, or nothing else"
    parser.addoption("--alone", choices=choices, default="too", help=text)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for no garbage among ten thousand tests and what they import: they stay to the end.

    It is a third of the time that finding them takes, and half a second of each full look for garbage later.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the part that is not asked for."""
    wanted = config.getoption("alone")
    if wanted == "too":
        return
    left_out = [item for item in items if (item.get_closest_marker("alone") is None) == (wanted == "only")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if (item.get_closest_marker("alone") is None) == (wanted == "never")]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out the folder that is not asked for; who names a path gets what is there."""
    if config.args_source is not pytest.Config.ArgsSource.TESTPATHS:
        return None
    left_out = TESTS if config.getoption("benchmark_only", default=False) else BENCHES
    return True if collection_path.is_relative_to(left_out) else None
