"""`python -m tests.serve.ray.driver PORT CPUS FOLDER`: a cluster of Ray on this machine, told what to serve.

A line of its input is a file of Serve's as JSON; once all of it runs, `ready` is written and how it stands.
The end of the input ends the cluster.
"""

import json
import os
import sys
import time

# Before Ray is imported: nothing is told to anybody.
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

import ray
from ray import serve
from ray.serve.context import _get_global_client
from ray.serve.schema import ApplicationStatus, ServeDeploySchema

# The least that it takes.
STORE_BYTES = 80 * 1024 * 1024
# For workers to start, or to leave.
SECONDS = 240.0
# What an answer begins with, beside what Ray itself writes.
READY = "ready "


def main() -> None:
    """Begin, obey, end."""
    port, cpus, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    ray.init(
        # Not one that happens to run here.
        address="local",
        num_cpus=cpus,
        include_dashboard=False,
        object_store_memory=STORE_BYTES,
        log_to_driver=False,
        _temp_dir=folder,
    )
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    for line in sys.stdin:
        # As `serve run FILE` does it.
        _get_global_client().deploy_apps(ServeDeploySchema(**json.loads(line)))
        print(f"{READY}{json.dumps(wait())}", flush=True)
    serve.shutdown()
    ray.shutdown()


def wait() -> dict[str, str]:
    """Wait until nothing is deployed any more; gives what became of each application."""
    deadline = time.monotonic() + SECONDS
    while True:
        assert time.monotonic() < deadline, serve.status()
        time.sleep(0.1)
        applications = serve.status().applications
        ended = (ApplicationStatus.RUNNING, ApplicationStatus.DEPLOY_FAILED, ApplicationStatus.UNHEALTHY)
        if applications and all(one.status in ended for one in applications.values()):
            return {name: f"{one.status.value} {one.message}" for name, one in applications.items()}


if __name__ == "__main__":
    main()
