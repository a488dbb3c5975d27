"""One cluster for all tests: SmolLM2 on two workers with keys, and a tiny model that learns and grows."""

import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.serve.ray.cluster import RayCluster, ray_cluster

KEY, SLOW, ADMIN = "sk-tenant-a", "sk-tenant-slow", "sk-admin-ray"
MAIN, LEARNING = "main", "learning"
WITH = "ruvllm.integrations.ray:app"


@dataclass
class Served:
    """Both applications, as they were deployed last."""

    cluster: RayCluster
    main: dict[str, Any]
    learning: dict[str, Any]

    @property
    def url(self) -> str:
        return self.cluster.url

    @property
    def learning_url(self) -> str:
        return f"{self.cluster.url}/{LEARNING}"

    def change_worker(self, application: dict[str, Any], **options: Any) -> None:
        """Deploy with other options of an application's workers, which is no reason to start them anew."""
        worker: dict[str, Any] = application["deployments"][0]
        worker.update(options)
        self.cluster.deploy(self.main, self.learning)


def require_ray() -> None:
    """Skip the test where Ray has no wheel; elsewhere the tests' packages bring it."""
    if sys.platform != "linux":
        pytest.skip("the processes of a cluster are found in /proc")
    if importlib.util.find_spec("ray") is None:
        pytest.skip("ray has no wheel for this machine, or is not installed: pip install 'ruvllm[ray]'")


@pytest.fixture(scope="package")
def served(
    smollm2_path: Path, tiny_chat_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """The cluster."""
    require_ray()
    folder = tmp_path_factory.mktemp("ray")
    keys = folder / "keys.txt"
    keys.write_text(f"{KEY} tenant=a\n{SLOW} tenant=slow requests-per-minute=2\n{ADMIN} admin\n")
    main = {
        "name": MAIN,
        "route_prefix": "/",
        "import_path": WITH,
        "args": {
            "model": str(smollm2_path),
            "name": "smollm2-135m",
            "api_key_file": str(keys),
            "health_check_period_s": 1,
        },
        "deployments": [{"name": "Worker", "num_replicas": 2}],
    }
    learning = {
        "name": LEARNING,
        "route_prefix": f"/{LEARNING}",
        "import_path": WITH,
        "args": {
            "model": str(tiny_chat_path),
            "name": "tiny",
            "learn_dir": str(folder / "learned"),
            "server": {"learn": True, "learn_interval": 0},
            "max_replicas": 2,
            "target_ongoing_requests": 2,
            "upscale_delay_s": 0,
            "health_check_period_s": 1,
        },
        "deployments": [{"name": "Worker"}],
    }
    with ray_cluster(cpus=4) as cluster:
        cluster.deploy(main, learning)
        yield Served(cluster, main, learning)
