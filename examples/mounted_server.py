"""OpenAI's API as a part of your own FastAPI application, asked by OpenAI's own client.

Run:  python examples/mounted_server.py --model smollm2-135m     (with fastapi and openai installed)
"""

import argparse
import threading

import openai
import uvicorn
from fastapi import FastAPI

from ruvllm import LLM
from ruvllm.serve import create_app


def main() -> None:
    """Serve a model under /llm beside a route of one's own, and talk to it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m", help="a short name, a path, or org/repo:Q4_K_M")
    arguments = parser.parse_args()

    with LLM(arguments.model, max_context=1024) as llm:
        app = FastAPI()
        app.mount("/llm", create_app({"model": llm}))
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
        thread = threading.Thread(target=server.run)
        thread.start()
        while not server.started:
            thread.join(0.05)
            if not thread.is_alive():
                raise SystemExit("the server did not start; what it wrote says why")
        port = server.servers[0].sockets[0].getsockname()[1]
        try:
            with openai.OpenAI(base_url=f"http://127.0.0.1:{port}/llm/v1", api_key="none") as client:
                talk(client)
        finally:
            server.should_exit = True
            thread.join()


def talk(client: openai.OpenAI) -> None:
    """Show an answer while it comes."""
    stream = client.chat.completions.create(
        model="model",
        messages=[
            {"role": "system", "content": "Answer in one sentence."},
            {"role": "user", "content": "What is the capital of France?"},
        ],
        temperature=0,
        max_tokens=32,
        stream=True,
    )
    for chunk in stream:
        print(chunk.choices[0].delta.content or "", end="", flush=True)
    print()


if __name__ == "__main__":
    main()
