"""A cluster of Ray in processes of its own, and what tests ask of it."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.serve.process import free_port, wait_until

# As `driver` writes it, which imports Ray and is not imported here.
READY = "ready "
# On a machine that has other things to do.
PATIENCE = 120.0
MARKER = "RUVLLM_TESTED_CLUSTER"


class RayCluster:
    """Applications on Ray Serve."""

    def __init__(self, process: "subprocess.Popen[str]", port: int, marker: str) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._process = process
        self._marker = marker

    def deploy(self, *applications: dict[str, Any]) -> None:
        """Have these applications, and wait until they run."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"applications": applications}) + "\n")
        self._process.stdin.flush()
        said = next((line for line in self._process.stdout if line.startswith(READY)), "")
        assert said, f"the cluster ended with {self._process.poll()}"
        statuses = json.loads(said.removeprefix(READY))
        assert all(status.startswith("RUNNING") for status in statuses.values()), said

    def workers(self, app: str) -> list[int]:
        """The processes of an application's workers."""
        return [
            pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if self._is_worker(pid, app)
        ]

    def _is_worker(self, pid: int, app: str) -> bool:
        try:
            title = Path(f"/proc/{pid}/cmdline").read_bytes()
            return title.startswith(f"ray::ServeReplica:{app}:Worker".encode()) and (
                self._marker.encode() in Path(f"/proc/{pid}/environ").read_bytes()
            )
        except OSError:
            return False


@contextmanager
def ray_cluster(cpus: int) -> Iterator[RayCluster]:
    """A cluster while the block runs."""
    port, marker = free_port(), uuid.uuid4().hex
    # Ray's sockets lie in it, whose names may not be long.
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.serve.ray.driver", str(port), str(cpus), folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        # Ray leaves a token in its user's home.
        env={**os.environ, **SETTINGS, MARKER: marker, "HOME": folder},
    )
    try:
        yield RayCluster(process, port, marker)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(PATIENCE)
        finally:
            process.kill()
            process.wait()
            process.stdout.close()  # type: ignore[union-attr]
            shutil.rmtree(folder, ignore_errors=True)


# Handles count what waits as often as a test can wait; nothing is looked up elsewhere.
SETTINGS = {
    "RAY_SERVE_HANDLE_AUTOSCALING_METRIC_PUSH_INTERVAL_S": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}


def figures(url: str, name: str, key: str = "") -> dict[str, float]:
    """What each worker says of one of its figures, added up; nothing while one of them is leaving or dead."""
    headers = {"authorization": f"Bearer {key}"} if key else {}
    page = httpx.get(f"{url}/metrics", headers=headers, timeout=PATIENCE)
    if page.status_code != 200:
        return {}
    found: dict[str, float] = {}
    for line in page.text.splitlines():
        if line.startswith(f"ruvllm:{name}{{"):
            worker = re.search(r'replica="(\w+)"', line)
            assert worker, line
            found[worker[1]] = found.get(worker[1], 0) + float(line.split()[-1])
    return found


def wait_for_workers(url: str, count: int, key: str = "", seconds: float = PATIENCE) -> set[str]:
    """Wait until so many answer; gives their names."""
    names: set[str] = set()

    def are_there() -> bool:
        names.clear()
        names.update(figures(url, "num_requests_running", key))
        return len(names) == count

    wait_until(are_there, seconds)
    return names
