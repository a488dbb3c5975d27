"""A server whose answers get better by feedback: asked, told what would have been right, and asked again.

Run:  python examples/learning_server.py --model smollm2-135m

The server runs in this process; `ruvllm serve --learn --learn-dir learned` is the same as a program, and its
page has thumbs. Clients are whatever speaks OpenAI's API; feedback is one request more.
"""

import argparse
import tempfile
import threading
from pathlib import Path

import httpx
import uvicorn

from ruvllm import LLM
from ruvllm.async_engine import AsyncEngine
from ruvllm.serve import ServedModel, ServerSettings, create_app

QUESTION = "What should I do today?"
RIGHT = "Take a walk by the sea, and call an old friend."


def ask(client: httpx.Client) -> tuple[str, str]:
    """An answer, and the name under which feedback may come for it."""
    body = {
        "model": "model",
        "messages": [{"role": "user", "content": QUESTION}],
        "temperature": 0,
        "max_tokens": 24,
    }
    answer = client.post("/v1/chat/completions", json=body).raise_for_status().json()
    return answer["id"], answer["choices"][0]["message"]["content"]


def teach(client: httpx.Client) -> None:
    """Ask, correct, and ask again; then take it back."""
    first, text = ask(client)
    print(f"before: {text!r}")
    for _ in range(3):
        done = client.post("/v1/feedback", json={"completion_id": first, "corrected": RIGHT}).json()
        print(
            f"generation {done['generation']}: {done['log_prob_change']:+.2f} nats a token, {done['reason']}"
        )
        first, text = ask(client)
    print(f"after: {text!r}")
    [status] = client.get("/v1/feedback").json()["data"]
    print(f"{status['updates']} updates, {status['can_undo']} can be undone")
    client.post("/v1/feedback/rollback", json={"steps": status["can_undo"]}).raise_for_status()
    print(f"undone: {ask(client)[1]!r}")


def main() -> None:
    """Serve a model that learns, and be its client."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m", help="a short name, a path, or org/repo:Q4_K_M")
    arguments = parser.parse_args()

    with LLM(arguments.model, max_context=1024) as llm, tempfile.TemporaryDirectory() as folder:
        model = ServedModel.loaded("model", AsyncEngine(llm))
        model.learned_folder = Path(folder, "learned")
        app = create_app([model], ServerSettings(learn=True, learn_interval=10))
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            while not server.started:
                thread.join(0.05)
            [port] = {one.getsockname()[1] for each in server.servers for one in each.sockets}
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
                teach(client)
        finally:
            server.should_exit = True
            thread.join()


if __name__ == "__main__":
    main()
