"""Two workers on Ray Serve behind one address: a conversation finds its worker again.

Run:  python examples/ray_cluster.py --model smollm2-135m     (with ruvllm[ray] installed)

As a program: `serve run ruvllm.integrations.ray:app model=smollm2-135m replicas=2`.
"""

import argparse
import os
import socket

# Ray tells its makers of each start unless this is said before it is imported.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import httpx
import ray
from ray import serve

from ruvllm.integrations.ray import RaySettings, app

SYSTEM = (
    "You are the guide of a small museum of clocks, open from ten to five, closed on Mondays. Answer shortly."
)


def ask(port: int, question: str) -> None:
    """Ask a question, and say how much of the prompt was known."""
    body = {
        "model": "model",
        "messages": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": question}],
        "temperature": 0,
        "max_tokens": 16,
    }
    answer = httpx.post(f"http://127.0.0.1:{port}/v1/chat/completions", json=body, timeout=60)
    usage = answer.raise_for_status().json()["usage"]
    print(f"{usage['prompt_tokens_details']['cached_tokens']} of {usage['prompt_tokens']} tokens were known")


def main() -> None:
    """Start a cluster on this machine, and talk to it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m", help="a short name, a path, or org/repo:Q4_K_M")
    arguments = parser.parse_args()

    with socket.create_server(("127.0.0.1", 0)) as opened:
        port = int(opened.getsockname()[1])
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        serve.start(http_options={"host": "127.0.0.1", "port": port})
        serve.run(app(RaySettings(model=arguments.model, name="model", replicas=2)))
        for question in ("When are you open?", "Are you open on Monday?", "What do you show?"):
            ask(port, question)
        serve.shutdown()
    finally:
        ray.shutdown()


if __name__ == "__main__":
    main()
