"""Clients of a cluster: one that asks again and again, and streams that last."""

import threading
from typing import Any

import httpx

from tests.serve.ray.cluster import PATIENCE
from tests.serve.routers.reading import streamed_text

COMPLETIONS = "/v1/completions"


def ask(url: str, prompt: str, key: str = "", session: str = "", **more: Any) -> httpx.Response:
    """A completion."""
    body = {
        "model": "smollm2-135m",
        "prompt": prompt,
        "max_tokens": 4,
        "temperature": 0,
        "ignore_eos": True,
        **more,
    }
    return httpx.post(url + COMPLETIONS, json=body, headers=headers(key, session), timeout=PATIENCE)


def headers(key: str = "", session: str = "") -> dict[str, str]:
    given = {"authorization": f"Bearer {key}"} if key else {}
    return {**given, "x-session-id": session} if session else given


class Client(threading.Thread):
    """Asks again and again, whole and as a stream, until it is told to stop."""

    def __init__(self, url: str, prompt: str, key: str) -> None:
        super().__init__(daemon=True)
        self.answers = 0
        self.failures: list[str] = []
        self._asked = (url, prompt, key)
        self._told = threading.Event()
        self.start()

    def run(self) -> None:
        while not self._told.is_set():
            try:
                whole, stream = (ask(*self._asked, max_tokens=24, stream=stream) for stream in (False, True))
                whole.raise_for_status()
                assert streamed_text(COMPLETIONS, stream.text) == whole.json()["choices"][0]["text"]
                self.answers += 1
            except (httpx.HTTPError, AssertionError, KeyError) as error:
                self.failures.append(f"{type(error).__name__}: {error}")

    def stop(self) -> "Client":
        self._told.set()
        self.join(PATIENCE)
        return self


class LongStream(threading.Thread):
    """A stream of some seconds, and whether it came whole."""

    def __init__(
        self, url: str, key: str, session: str, max_tokens: int, model: str = "smollm2-135m"
    ) -> None:
        super().__init__(daemon=True)
        self.text = ""
        self._url = url
        self._headers = headers(key, session)
        self._body = {"model": model, "prompt": f"{session} the cat", "max_tokens": max_tokens}
        self._body |= {"ignore_eos": True, "stream": True}
        self.start()

    def run(self) -> None:
        try:
            with httpx.stream(
                "POST", self._url + COMPLETIONS, json=self._body, headers=self._headers, timeout=PATIENCE
            ) as answer:
                for text in answer.iter_text():
                    self.text += text
        except httpx.HTTPError:
            pass

    @property
    def is_whole(self) -> bool:
        return self.text.rstrip().endswith("data: [DONE]") and '"error"' not in self.text
