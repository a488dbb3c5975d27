"""`python -m tests.serve.routers.record`: what the routers that are installed write, into bodies.json."""

import json
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx

from tests.serve.routers.fleet import ROUTERS, Router

RECORDED = Path(__file__).parent / "bodies.json"
SAYS = [{"role": "user", "content": "the cat"}]
TALK = [
    {"role": "system", "content": "a"},
    {"role": "user", "content": [{"type": "text", "text": "the cat"}]},
    {"role": "assistant", "content": "sat"},
    {"role": "user", "content": "on"},
]
CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
SHORT: dict[str, Any] = {"model": "tiny", "max_tokens": 4, "temperature": 0}
SAMPLED: dict[str, Any] = {"model": "tiny", "max_tokens": 4, "seed": 3, "top_k": 4, "min_p": 0.125}
# What clients send. Each answer is the same whenever it is asked for.
SENT: list[tuple[str, dict[str, Any]]] = [
    (CHAT, {**SHORT, "messages": SAYS}),
    (CHAT, {**SAMPLED, "messages": TALK, "stop": ["x"], "logprobs": True, "top_logprobs": 2, "n": 2}),
    (CHAT, {**SHORT, "messages": SAYS, "stream": True, "stream_options": {"include_usage": True}}),
    (CHAT, {**SHORT, "messages": SAYS, "cache_prefix": False, "priority": 1, "ignore_eos": True}),
    (COMPLETIONS, {**SHORT, "prompt": "the cat"}),
    (COMPLETIONS, {**SAMPLED, "prompt": ["the cat", "a"], "logprobs": 1, "echo": True, "n": 2}),
    (COMPLETIONS, {**SHORT, "prompt": "the cat", "stream": True, "cache_prefix": False}),
    ("/v1/responses", {"model": "tiny", "input": "the cat", "max_output_tokens": 4, "temperature": 0}),
    (
        "/v1/responses",
        {"model": "tiny", "input": SAYS, "instructions": "a", "temperature": 0, "stream": True},
    ),
    ("/v1/embeddings", {"model": "tiny", "input": ["the cat", "a"], "dimensions": 8}),
]
# What only vllm-router passes on.
SENT_TO_VLLM_ROUTER: list[tuple[str, dict[str, Any]]] = [
    (COMPLETIONS, {**SHORT, "prompt": [[70, 71, 72], [73]]}),
    ("/v1/messages", {**SHORT, "messages": SAYS}),
    ("/v1/messages/count_tokens", {"model": "tiny", "messages": SAYS}),
    ("/tokenize", {"model": "tiny", "messages": SAYS}),
]


def sent_through(router: str) -> list[tuple[str, dict[str, Any]]]:
    """What a router of this name passes on."""
    return [*SENT, *(SENT_TO_VLLM_ROUTER if router == "vllm-router" else [])]


@contextmanager
def recorder(seen: list[tuple[str, Any]]) -> Iterator[str]:
    """A worker that answers nothing and keeps what it is sent; gives its address."""

    class Recording(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer({"status": "ok"})

        def do_POST(self) -> None:
            seen.append((self.path, json.loads(self.rfile.read(int(self.headers["content-length"])))))
            self._answer({"object": "nothing", "choices": [], "data": [], "output": []})

        def _answer(self, content: dict[str, Any]) -> None:
            body = json.dumps(content).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Recording)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def written_by(router: Router) -> list[dict[str, Any]]:
    """Each path with what was sent, what the worker got, and what it was asked for the prompt's tokens."""
    seen: list[tuple[str, Any]] = []
    entries = []
    with (
        recorder(seen) as worker,
        tempfile.TemporaryDirectory() as folder,
        router.before([worker], Path(folder) / "log") as url,
    ):
        for path, body in sent_through(router.name):
            seen.clear()
            httpx.post(url + path, json=body).raise_for_status()
            entries += [{"path": at, "sent": body, "written": written} for at, written in seen]
    return entries


def main() -> None:
    """Ask all of them, and write it down."""
    routers = []
    for router in ROUTERS:
        entries = ",\n".join(json.dumps(entry) for entry in written_by(router))
        routers.append(f'"{router.name} {version(router.name)}": [\n{entries}\n]')
    RECORDED.write_text("{\n" + ",\n".join(routers) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
