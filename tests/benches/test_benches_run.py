"""Benchmarks that need no model run, once each and unmeasured; those of models run with `make bench`."""

import subprocess
import sys

import pytest

from benches import files


@pytest.mark.parametrize("name", ["attention", "matmul", "norm_rope", "prefix_tree", "quant"])
def test_the_benchmarks_of(name: str) -> None:
    command = [sys.executable, "-m", "pytest", f"benches/bench_{name}.py", "--benchmark-disable", "-q"]
    result = subprocess.run(command, cwd=files.ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stdout[-2000:]
    assert " passed" in result.stdout
    assert "skipped" not in result.stdout
