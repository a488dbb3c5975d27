"""The event loop never works for long: whatever one body holds, others are answered beside it.

Bodies of 4 MB, the most that a server takes, against the real command. Another connection asks `/health` all
the while: each answer must be there within 0.2 s, and the process must not grow by 20 times the body.
"""

import http.client
import json
import socket
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import FIXTURES
from tests.serve.process import ServeProcess, serving
from tests.serve.raw import read_answer, request_bytes
from tests.serve.tiny_models import with_chat_template

pytestmark = pytest.mark.alone

BODY_BYTES = 4 * 1024 * 1024
MOST_SECONDS = 0.2
MOST_GROWTH = 20 * BODY_BYTES
# A server that still holds more after a body takes no other.
MOST_LEFT = 6 * BODY_BYTES
linux = pytest.mark.skipif(sys.platform != "linux", reason="memory is read as Linux tells it")
# The longest of many waits is noisy where other programs run: a server that is at fault fails each time.
TRIES = 3

COMPLETIONS, CHAT, MESSAGES = "/v1/completions", "/v1/chat/completions", "/v1/messages"
COUNT, RESPONSES, EMBEDDINGS = "/v1/messages/count_tokens", "/v1/responses", "/v1/embeddings"
TOKENIZE, DETOKENIZE = "/tokenize", "/detokenize"
RENDER, RENDER_CHAT = f"{COMPLETIONS}/render", f"{CHAT}/render"

# What makes each route's body whole, beside the field that is attacked.
REST: dict[str, dict[str, Any]] = {
    COMPLETIONS: {"model": "tiny", "prompt": "hi", "max_tokens": 1},
    CHAT: {"model": "tiny", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 1},
    MESSAGES: {"model": "tiny", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 1},
    COUNT: {"model": "tiny", "messages": [{"role": "user", "content": "hi"}]},
    RESPONSES: {"model": "tiny", "input": "hi", "max_output_tokens": 1},
    EMBEDDINGS: {"model": "tiny", "input": "hi"},
    TOKENIZE: {"model": "tiny"},
    RENDER: {"model": "tiny", "prompt": "hi"},
    RENDER_CHAT: {"model": "tiny", "messages": [{"role": "user", "content": "hi"}]},
    DETOKENIZE: {"model": "tiny"},
}


@dataclass(frozen=True)
class Attack:
    """A body whose `field` is as large as a body may be: `before`, as many `units` as fit, `after`."""

    path: str
    field: str
    unit: str
    before: str = "["
    after: str = "]"
    most: int = BODY_BYTES

    def body(self) -> bytes:
        rest = {name: value for name, value in REST[self.path].items() if name != self.field}
        head = f"{json.dumps(rest)[:-1]}, " + f'"{self.field}": {self.before}'
        room = BODY_BYTES - len(head.encode()) - len(self.after.encode()) - 1
        count = min(self.most, room // max(1, len(self.unit.encode())))
        units = (self.unit * count).removesuffix(",")
        return f"{head}{units}{self.after}}}".encode()


def named(first: str, count: int, value: str) -> str:
    """Members of an object, each with a name of its own."""
    return "{" + ",".join(f'"{first}{index:x}":{value}' for index in range(count)) + "}"


def text(path: str, field: str, unit: str) -> Attack:
    return Attack(path, field, unit, before='"', after='"')


def part(content: str) -> str:
    return '{"role":"user","content":[' + content + "]},"


SURROGATE = "\\ud83d\\ude00"
MESSAGE = '{"role":"user","content":"hi"},'
EMPTY_PART = '{"type":"text","text":""},'

FAULT_1 = {
    "objects as prompts": Attack(COMPLETIONS, "prompt", "{},"),
    "numbers as parts": Attack(CHAT, "messages", "1,", '[{"role":"user","content":[', "]}]"),
    "numbers as Anthropic's parts": Attack(MESSAGES, "messages", "1,", '[{"role":"user","content":[', "]}]"),
    "numbers as parts of an input": Attack(RESPONSES, "input", "1,", '[{"role":"user","content":[', "]}]"),
    "biases": Attack(CHAT, "logit_bias", "", named("", 300_000, "1"), ""),
    "texts as token ids": Attack(DETOKENIZE, "tokens", '"a",'),
    "objects as inputs": Attack(EMBEDDINGS, "input", "{},"),
}
FAULT_9 = {
    "tokens by name": text(TOKENIZE, "prompt", "a b "),
    "unknown fields": Attack(COMPLETIONS, "x", "", "1," + named("y", 300_000, "1")[1:-1], ""),
    "prompts of one token": Attack(COMPLETIONS, "prompt", "[5],"),
    "one prompt of token ids": Attack(COMPLETIONS, "prompt", "5,"),
    "token ids to text": Attack(DETOKENIZE, "tokens", "5,"),
    "text to tokens": text(TOKENIZE, "content", "ab"),
}
# Each as large as it may be and still be looked at: what is beyond a bound is refused by a count.
OTHERS = {
    "just as many token ids": Attack(COMPLETIONS, "prompt", "317,", most=524_280),
    "token ids of nobody": Attack(COMPLETIONS, "prompt", "2147483647,"),
    "token ids, the last one wrong": Attack(COMPLETIONS, "prompt", "12345,", after="true]"),
    "negative token ids": Attack(EMBEDDINGS, "input", "-5,"),
    "huge integers": Attack(COMPLETIONS, "prompt", "9" * 4299 + ","),
    "integers of many digits": Attack(EMBEDDINGS, "input", "9" * 256 + ","),
    "huge floats": Attack(COMPLETIONS, "prompt", "1." + "7" * 249 + "e307,", most=8192),
    "infinite floats": Attack(DETOKENIZE, "tokens", "1e400,"),
    "one number": Attack(COMPLETIONS, "temperature", "1", "0.", ""),
    "just as many fractions": Attack(
        CHAT, "x", "0.1234567890123456789012345678901234567890123456789e-300,", most=8000
    ),
    "lists of lists": Attack(COMPLETIONS, "prompt", "[" * 60 + "]" * 60 + ","),
    "just as many lists of token ids": Attack(EMBEDDINGS, "input", "[" + "7," * 31 + "7],", most=16_000),
    "empty texts": Attack(COMPLETIONS, "prompt", '"",'),
    "just as many texts": Attack(EMBEDDINGS, "input", '"' + "\u00e9" * 28 + '",', most=65_000),
    "the most texts that are answered": Attack(COMPLETIONS, "prompt", '"' + "a" * 16_000 + '",', most=256),
    "the most prompts to tell the tokens of": Attack(RENDER, "prompt", "[" + "7," * 500 + "7],", most=256),
    "just as many messages to tell the tokens of": Attack(
        RENDER_CHAT, "messages", MESSAGE.replace("hi", "h" * 200), most=4096
    ),
    "bools": Attack(COMPLETIONS, "prompt", "true,"),
    "nulls": Attack(EMBEDDINGS, "input", "null,"),
    "stop texts": Attack(CHAT, "stop", '"stop",'),
    "one stop text": text(COMPLETIONS, "stop", "x"),
    "many messages": Attack(CHAT, "messages", MESSAGE),
    "just as many messages": Attack(CHAT, "messages", MESSAGE.replace("hi", "h" * 900), most=4096),
    "just as many messages to count": Attack(COUNT, "messages", MESSAGE.replace("hi", "h" * 200), most=4096),
    "messages with parts": Attack(
        CHAT, "messages", part(EMPTY_PART + '{"type":"text","text":"a"}'), most=4000
    ),
    "empty parts": Attack(
        RESPONSES,
        "input",
        EMPTY_PART * 3999 + EMPTY_PART[:-1] + "]},",
        '[{"role":"user","content":[',
        '{"role":"user","content":"x"}]',
        most=1,
    ),
    "messages of empty parts": Attack(MESSAGES, "messages", part((EMPTY_PART * 3000)[:-1]), most=4),
    "system of parts": Attack(MESSAGES, "system", '{"type":"text","text":"' + "s" * 1000 + '"},', most=4096),
    "parts of another type": Attack(
        CHAT, "messages", '{"type":"image_url"},', '[{"role":"user","content":[', "]}]", most=4096
    ),
    "metadata": Attack(RESPONSES, "metadata", "", named("m", 250_000, '"v"'), ""),
    "metadata of long names": Attack(
        RESPONSES, "metadata", "k" * 200_000 + '":"v","', '{"', '":"v"}', most=20
    ),
    "one long name": Attack(CHAT, "x", "n", '1,"', '":1'),
    "one long name of a bias": Attack(CHAT, "logit_bias", "7", '{"', '":1}'),
    "the same name again and again": Attack(COMPLETIONS, "x", '"x":1,', "1,", '"x":2'),
    "the same name with lists": Attack(COMPLETIONS, "x", '"prompt":[5,6],', "1,", '"x":2'),
    "objects with the most fields": Attack(CHAT, "x", named("f", 4000, "1") + ",", most=16),
    "labels that are told back": Attack(RESPONSES, "max_tool_calls", "1234567,"),
    "a refused field": Attack(CHAT, "tools", '{"type":"function"},'),
    "an answer's format": Attack(CHAT, "response_format", "[" * 50 + "]" * 50 + ","),
    "just as deep": Attack(RESPONSES, "x", "[" * 61 + "1" + "]" * 61 + ",", most=260),
    "too deep": Attack(TOKENIZE, "prompt", "[", "", ""),
    "never closed": Attack(TOKENIZE, "prompt", '{"a":', "", ""),
    "escapes": text(TOKENIZE, "prompt", "\\n"),
    "escaped quotation marks": text(CHAT, "x", '\\"'),
    "escaped backslashes": text(COUNT, "system", "\\\\"),
    "escaped characters": text(EMBEDDINGS, "input", "\\u00e9"),
    "escaped pairs": text(DETOKENIZE, "model", SURROGATE),
    "half a pair at the end": Attack(TOKENIZE, "prompt", SURROGATE, '"', '\\ud83d"'),
    "texts of pairs": Attack(COMPLETIONS, "prompt", f'"{SURROGATE}",', most=60_000),
    "wide characters": text(TOKENIZE, "prompt", "\U0001f600"),
    "one wide character": Attack(CHAT, "messages", "a", '[{"role":"user","content":"\U0001f600', '"}]'),
    "the longest text": Attack(TOKENIZE, "prompt", " ", '"', '"', most=1_048_576),
    "the longest text by name": Attack(
        TOKENIZE, "return_token_strs", "!?", 'true,"prompt":"', '"', most=524_288
    ),
    "the longest text to count": Attack(COUNT, "system", "\\n", '"', '"', most=524_280),
    "combining marks": text(EMBEDDINGS, "input", "e\u0301"),
    "marks of the template": text(COMPLETIONS, "prompt", "<|im_end|>"),
    "zeros": text(CHAT, "user", "\\u0000"),
    "a long name of a model": text(COMPLETIONS, "model", "m"),
    "a long id": text(RESPONSES, "previous_response_id", "r"),
    "instructions": text(RESPONSES, "instructions", " "),
    "tokens that are text": Attack(DETOKENIZE, "tokens", "300,", most=131_072),
    "white space": Attack(TOKENIZE, "prompt", " ", '"a"', ""),
    "no JSON": Attack(CHAT, "x", "?", "", ""),
    "no UTF-8 at its end": Attack(CHAT, "x", "\u00e9", '"', ""),
    "commas": Attack(CHAT, "x", ",", "1", ""),
    "words": Attack(CHAT, "x", "NaN,"),
}


@dataclass(frozen=True)
class Served:
    """The command, and the memory that it had before the first large body."""

    process: ServeProcess
    bytes_at_rest: int


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    return with_chat_template(FIXTURES / "gguf" / "llama-gqa.gguf", folder / "tiny.gguf")


class Servers:
    """The command with a tiny model, begun anew where earlier bodies have left much behind.

    What Python and the allocator keep for the next body would count as growth of one that did nothing.
    """

    def __init__(self, model: Path) -> None:
        self._model = model
        self._stack = ExitStack()
        self._served: Served | None = None

    def serve(self) -> Served:
        served = self._served
        if served is None or memory_of(served.process, "VmRSS:") - served.bytes_at_rest > MOST_LEFT:
            self.close()
            served = self._served = self._begin()
        return served

    def close(self) -> None:
        self._stack.close()

    def _begin(self) -> Served:
        """One that has taken a body of each route: what is loaded late is there."""
        process = self._stack.enter_context(serving(self._model))
        process.wait_until_ready()
        for route, body in REST.items():
            process.post(route, **body)
        return Served(process, memory_of(process, "VmRSS:"))


@pytest.fixture(scope="module")
def servers(model: Path) -> Iterator[Servers]:
    servers = Servers(model)
    yield servers
    servers.close()


@pytest.fixture
def served(servers: Servers) -> Served:
    return servers.serve()


class Watch:
    """Asks `/health` on a connection of its own while the block runs, and keeps the longest wait."""

    def __init__(self, port: int) -> None:
        self.longest = 0.0
        self.count = 0
        self._stop = threading.Event()
        self._connection = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._thread = threading.Thread(target=self._ask)

    def _ask(self) -> None:
        while not self._stop.is_set():
            began = time.perf_counter()
            self._connection.sendall(request_bytes("GET", "/health"))
            response, _ = read_answer(self._connection, "GET")
            self.longest = max(self.longest, time.perf_counter() - began)
            self.count += 1
            assert response.status == 200
            time.sleep(0.002)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._connection.close()


def port_of(server: ServeProcess) -> int:
    return int(server.url.rpartition(":")[2])


def memory_of(server: ServeProcess, name: str) -> int:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith(name))


def send(server: ServeProcess, path: str, body: bytes) -> tuple[http.client.HTTPResponse, bytes]:
    with socket.create_connection(("127.0.0.1", port_of(server)), timeout=60) as opened:
        opened.sendall(request_bytes("POST", path, body))
        return read_answer(opened)


@dataclass(frozen=True)
class Seen:
    """What a body did: the longest wait beside it, and the most memory above that of the server at rest."""

    longest_wait: float
    growth: int
    status: int
    content: bytes

    @property
    def is_harmless(self) -> bool:
        return self.longest_wait < MOST_SECONDS and self.growth < MOST_GROWTH


def tried(served: Served, attack: Attack) -> Seen:
    body = attack.body()
    assert len(body) <= BODY_BYTES
    process = served.process
    Path(f"/proc/{process.process.pid}/clear_refs").write_text("5")  # the highest mark begins anew
    with Watch(port_of(process)) as watch:
        response, content = send(process, attack.path, body)
    growth = memory_of(process, "VmHWM:") - served.bytes_at_rest
    return Seen(watch.longest, growth, response.status, content)


def check(served: Served, attack: Attack) -> None:
    seen = tried(served, attack)
    for _ in range(TRIES - 1):
        if seen.is_harmless:
            break
        seen = tried(served, attack)
    assert seen.is_harmless, (seen.longest_wait, seen.growth / BODY_BYTES, seen.content[:300])
    assert seen.status in (200, 400, 404), seen.content[:300]
    if seen.status != 200:
        error = json.loads(seen.content)["error"]
        assert 0 < len(error["message"]) < 2000
        assert len(seen.content) < 3000


@linux
@pytest.mark.parametrize("name", FAULT_1)
def test_fault_1_wrong_entries_by_the_million(served: Served, name: str) -> None:
    check(served, FAULT_1[name])


@linux
@pytest.mark.parametrize("name", FAULT_9)
def test_fault_9_work_on_the_event_loop(served: Served, name: str) -> None:
    check(served, FAULT_9[name])


@linux
@pytest.mark.parametrize("name", OTHERS)
def test_others_are_answered_beside_a_body(served: Served, name: str) -> None:
    check(served, OTHERS[name])


@linux
def test_others_are_answered_beside_many_bodies_at_once(served: Served) -> None:
    """Each takes its thread for a while; a text that needs one, too, waits for no more than a few of them."""
    attacks = [OTHERS["just as many token ids"], OTHERS["the longest text by name"]] * 6
    bodies = [(attack.path, attack.body()) for attack in attacks]
    with ThreadPoolExecutor(len(bodies)) as threads, Watch(port_of(served.process)) as watch:
        answers = [threads.submit(send, served.process, path, body) for path, body in bodies]
        text = json.dumps({"model": "tiny", "prompt": "the cat " * 4000}).encode()
        began = time.perf_counter()
        assert send(served.process, TOKENIZE, text)[0].status == 200
        beside = time.perf_counter() - began
        began = time.perf_counter()
        statuses = [answer.result()[0].status for answer in answers]
        rest = time.perf_counter() - began
    assert set(statuses) <= {200, 400, 429}
    assert watch.longest < 1.0, watch.longest
    assert beside < max(1.0, rest), "a small text waited for all the large bodies"
