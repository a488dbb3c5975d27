"""What a call of pytest without paths runs: the tests, or with `--benchmark-only` the benchmarks."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parent
TESTS, BENCHES = ROOT / "tests", ROOT / "benches"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out the folder that is not asked for; who names a path gets what is there."""
    if config.args_source is not pytest.Config.ArgsSource.TESTPATHS:
        return None
    left_out = TESTS if config.getoption("benchmark_only", default=False) else BENCHES
    return True if collection_path.is_relative_to(left_out) else None
