"""Models loaded and given up while the server runs: nobody's request pays for it, and only admins may."""

import gc
import json
import shutil
import signal
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import ollama
import pytest

from ruvllm import LLM, AsyncEngine
from ruvllm.errors import ConfigError, StorageError
from ruvllm.serve import KeyRing, ServedModel, ServerSettings, create_app
from ruvllm.serve.schemas.keep_alive import kept_seconds
from tests.serve.adapters import FIRST, SECOND, folder
from tests.serve.conftest import TINY
from tests.serve.managed import ADMIN, KEYS, USER, Gate, Managed, managed
from tests.serve.process import serving, wait_until

# Tokens of an answer that takes two seconds on the slow server.
LONG = 400
LOAD = {"model": TINY, "wait": 60}


@pytest.fixture
def gate(tiny_chat_path: Path) -> Gate:
    return Gate(tiny_chat_path)


@pytest.fixture
def server(gate: Gate) -> Iterator[Managed]:
    with managed([gate.served()]) as server:
        wait_until(lambda: server.state()["value"] == "loaded")
        yield server


@pytest.fixture
def slow(gate: Gate) -> Iterator[Managed]:
    gate.step_seconds = 0.005
    with managed([gate.served()]) as server:
        wait_until(lambda: server.state()["value"] == "loaded")
        yield server


@contextmanager
def without_collector() -> Iterator[None]:
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


# -- states


def test_a_model_is_loaded_given_up_and_loaded_by_a_request(server: Managed, gate: Gate) -> None:
    before = server.says()
    assert server.done("/models/unload", model=TINY)["status"] == {"value": "unloaded"}
    assert server.state() == {"value": "unloaded"}
    health = server.ask("GET", "/health", "")
    assert (health.status_code, health.json()) == (200, {"status": "ok"}), "it loads when it is asked for"
    assert server.says() == before
    assert server.state() == {"value": "loaded"}
    assert gate.asked == 2


def test_the_share_of_a_load_is_told_and_all_wait_for_one(gate: Gate) -> None:
    gate.open.clear()
    with managed([gate.served()]) as server, ThreadPoolExecutor(6) as pool:
        wait_until(lambda: server.state()["value"] == "loading")
        wait_until(lambda: "progress" in server.state())
        assert server.state()["progress"] == {
            "stages": ["text_model"],
            "current": "text_model",
            "value": 0.25,
        }
        loads = [pool.submit(server.done, "/models/load", model=TINY, wait=20) for _ in range(2)]
        answers = [pool.submit(server.says) for _ in range(4)]
        # What waits for the model holds up nothing else.
        began = time.monotonic()
        for _ in range(20):
            assert server.ask("GET", "/health", "").status_code == 503
        assert time.monotonic() - began < 5
        gate.open.set()
        assert len({answer.result() for answer in answers}) == 1
        assert [load.result()["status"] for load in loads] == [{"value": "loaded"}] * 2
    assert gate.asked == 1


def test_to_load_is_answered_at_once_unless_it_is_to_wait(server: Managed, gate: Gate) -> None:
    server.done("/models/unload", model=TINY)
    gate.open.clear()
    answer = server.done("/models/load", model=TINY)
    assert (answer["success"], answer["status"]["value"]) == (True, "loading")
    assert server.done("/models/load", model=TINY, wait=0.1)["status"]["value"] == "loading"
    gate.open.set()
    assert server.done("/models/load", model=TINY, wait=20)["status"] == {"value": "loaded"}
    assert gate.asked == 2
    # Loaded already.
    assert server.done("/models/load", model=TINY, wait=20)["status"] == {"value": "loaded"}
    assert gate.asked == 2


@pytest.mark.parametrize("error", [StorageError("it is torn"), MemoryError("it is torn")])
def test_a_load_that_fails_leaves_the_server_serving(
    tiny_chat_path: Path, gate: Gate, error: Exception
) -> None:
    other = Gate(tiny_chat_path)
    with managed([gate.served(), other.served("other")]) as server:
        wait_until(lambda: server.state()["value"] == "loaded")
        server.done("/models/unload", model=TINY)
        gate.failing = error
        refused = server.refused(503, "/models/load", model=TINY, wait=20)
        assert "it is torn" in refused["message"]
        assert server.state() == {"value": "unloaded", "failed": True, "reason": str(error)}
        assert server.says(model="other")
        health = server.ask("GET", "/health", "")
        assert (health.status_code, health.json()["not_loaded"]) == (200, {TINY: str(error)})
        # Who is told to try later may not; an admin tries at once.
        gate.failing = None
        assert server.done("/models/load", model=TINY, wait=20)["status"] == {"value": "loaded"}
        assert server.says()


# -- nobody pays for it


def test_an_answer_that_runs_is_waited_for(slow: Managed, gate: Gate) -> None:
    server = slow
    with ThreadPoolExecutor(2) as pool, server.streaming(LONG) as rest:
        unloading = pool.submit(server.done, "/models/unload", model=TINY, wait=30)
        wait_until(lambda: server.state()["value"] == "loaded")
        assert rest() == "data: [DONE]"
        assert unloading.result()["status"] == {"value": "unloaded"}
    assert gate.asked == 1


def test_beside_an_answer_that_runs_on_it_is_refused(slow: Managed) -> None:
    server = slow
    with server.streaming(LONG) as rest:
        error = server.refused(409, "/models/unload", model=TINY, wait=0)
        assert error["code"] == "model_in_use"
        assert "1 request" in error["message"]
        assert server.says(), "the others are answered as ever"
        assert rest() == "data: [DONE]"
    assert server.done("/models/unload", model=TINY)["status"] == {"value": "unloaded"}


def test_requests_that_come_while_it_goes_are_answered(server: Managed, gate: Gate) -> None:
    expected = server.says()
    stop = threading.Event()

    def unload_on_and_on() -> int:
        count = 0
        while not stop.is_set():
            count += server.post("/models/unload", model=TINY, wait=5).status_code == 200
        return count

    with ThreadPoolExecutor(5) as pool:
        unloading = pool.submit(unload_on_and_on)
        texts = [text for _ in range(4) for text in pool.map(lambda _: server.says(), range(4))]
        stop.set()
        assert texts == [expected] * 16
        assert unloading.result() >= 1
    assert gate.asked >= 2


def test_a_client_that_leaves_holds_nothing(slow: Managed) -> None:
    server = slow
    body = {"model": TINY, "prompt": "a", "max_tokens": LONG, "ignore_eos": True, "n": 4}
    headers = {"authorization": f"Bearer {USER}"}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{server.url}/v1/completions", json=body, headers=headers, timeout=0.2)
    assert server.done("/models/unload", model=TINY, wait=10)["status"] == {"value": "unloaded"}


def seconds_beside(ask: Callable[[], httpx.Response], url: str) -> list[float]:
    """How long each look at `/health` took while something else was asked."""
    waits = []
    with ThreadPoolExecutor(1) as pool, httpx.Client(base_url=url) as client:
        asked = pool.submit(ask)
        while not asked.done():
            began = time.perf_counter()
            assert client.get("/health").status_code == 200
            waits.append(time.perf_counter() - began)
        assert asked.result().status_code == 200
    return waits


@pytest.mark.alone
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the kernel tells of memory there")
@pytest.mark.real_model
def test_its_memory_is_given_back(smollm2_path: Path, tmp_path: Path) -> None:
    keys = tmp_path / "keys.txt"
    keys.write_text(f"{ADMIN} admin\n")
    headers = {"authorization": f"Bearer {ADMIN}"}
    sizes = []
    # Weights are packed anew: those of an image are shared with the system's cache of files.
    with serving(smollm2_path, "--api-key-file", keys, "--weight-image", "off") as process:
        url = process.wait_until_ready().url

        def resident() -> int:
            text = Path(f"/proc/{process.process.pid}/status").read_text()
            return int(text.partition("VmRSS:")[2].split()[0]) * 1024

        for _ in range(3):
            body = {"model": TINY, "prompt": "The capital of France is", "max_tokens": 4}
            answer = httpx.post(f"{url}/v1/completions", json=body, headers=headers, timeout=60)
            assert answer.status_code == 200
            loaded = resident()
            gone = httpx.post(f"{url}/models/unload", json={"model": TINY}, headers=headers, timeout=30)
            assert gone.status_code == 200, gone.text
            sizes.append((loaded, resident()))
        # While it loads once more, the event loop goes on: each answer comes at once.
        waits = seconds_beside(
            lambda: httpx.post(f"{url}/models/load", json=LOAD, headers=headers, timeout=60), url
        )
        assert len(waits) > 5
        assert max(waits) < 1
    weights = smollm2_path.stat().st_size
    for loaded, unloaded in sizes:
        assert loaded - unloaded > 0.9 * weights, sizes
    # What stays does not grow from one time to the next.
    assert sizes[-1][1] - sizes[0][1] < 0.2 * weights, sizes


@pytest.mark.parametrize("learns", [False, True])
def test_nothing_keeps_the_engine_alive(gate: Gate, tmp_path: Path, learns: bool) -> None:
    model = gate.served()
    model.learned_folder = tmp_path / "learned"
    gc.collect()
    with managed([model], learn=learns) as server, without_collector():
        server.says()
        if learns:
            taught(server)
        held = weakref.ref(model.llm)
        server.done("/models/unload", model=TINY)
        # Not when cycles are looked for some time: whoever holds it holds its weights.
        wait_until(lambda: held() is None, seconds=5)


# -- when nobody has used it for long


def test_a_model_that_nobody_uses_goes_by_itself(gate: Gate) -> None:
    gate.step_seconds = 0.005
    model = gate.served()
    with managed([model], idle_unload=600) as server:
        wait_until(lambda: server.state()["value"] == "loaded")
        ends = server.ask("GET", "/api/ps").json()["models"][0]["expires_at"]
        assert not ends.startswith("9999")
        model.keep_for(0.5)
        with server.streaming(LONG) as rest:
            time.sleep(0.8)
            assert server.state()["value"] == "loaded", "it answers"
            assert rest() == "data: [DONE]"
        wait_until(lambda: server.state() == {"value": "unloaded"})
        assert server.says()
        assert gate.asked == 2


def test_to_look_at_it_is_no_use(gate: Gate) -> None:
    model = gate.served()
    with managed([model], idle_unload=0.5) as server:
        wait_until(lambda: model.was_loaded)

        def looked() -> bool:
            for path in ("/v1/cache", "/metrics", "/health", "/api/ps", "/v1/models"):
                assert server.ask("GET", path).status_code == 200
            return server.state()["value"] == "unloaded"

        wait_until(looked, seconds=10)


def test_ollama_s_clients_say_how_long(server: Managed) -> None:
    with ollama.Client(host=server.url, headers={"authorization": f"Bearer {ADMIN}"}) as admin:
        assert admin.ps().models[0].expires_at is not None
        assert admin.ps().models[0].expires_at.year == 9999
        admin.generate(TINY, "a", keep_alive="5m", options={"num_predict": 1})
        left = admin.ps().models[0].expires_at.timestamp() - time.time()
        assert 280 < left <= 300
        # Another key's word is taken and changes nothing; what it says may not be nonsense.
        with ollama.Client(host=server.url, headers={"authorization": f"Bearer {USER}"}) as user:
            user.generate(TINY, "a", keep_alive="1s", options={"num_predict": 1})
            with pytest.raises(ollama.ResponseError) as refused:
                user.generate(TINY, keep_alive=0)
            assert refused.value.status_code == 403
            with pytest.raises(ollama.ResponseError) as wrong:
                user.generate(TINY, "a", keep_alive="5 minutes")
            assert wrong.value.status_code == 400
        left = admin.ps().models[0].expires_at.timestamp() - time.time()
        assert 280 < left <= 300
        assert admin.generate(TINY, keep_alive=0).done_reason == "unload"
        assert admin.ps().models == []
        assert admin.generate(TINY, "a", keep_alive=0, options={"num_predict": 1}).done
        wait_until(lambda: admin.ps().models == [])
        assert admin.chat(TINY, keep_alive=-1).done_reason == "load"
        assert admin.ps().models[0].expires_at.year == 9999


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        (0, 0),
        (2.5, 2.5),
        (-1, None),
        ("0", 0),
        ("0s", 0),
        ("-1", None),
        ("-5m", None),
        ("90", 90),
        ("1h30m", 5400),
        ("1.5m", 90),
        ("250ms", 0.25),
        ("24h", 86_400),
        (1e300, None),
    ],
)
def test_how_durations_are_written(said: Any, seconds: float | None) -> None:
    assert kept_seconds(said) == seconds


# -- what it had


def test_its_adapters_come_back(gate: Gate, tmp_path: Path) -> None:
    for name in (FIRST, SECOND):
        shutil.copytree(folder(name), tmp_path / name)
    model = gate.served()
    model.comes_with("given", tmp_path / FIRST)
    with managed([model], adapter_dirs=(tmp_path,)) as server:
        wait_until(lambda: server.state()["value"] == "loaded")
        assert server.post("/v1/load_lora_adapter", lora_name="late", lora_path=SECOND).status_code == 200
        before = {name: server.says(model=name) for name in (TINY, "given", "late")}
        assert len(set(before.values())) == 3
        server.done("/models/unload", model=TINY)
        assert server.says(model="late") == before["late"], "it loads the model with its adapters"
        assert {name: server.says(model=name) for name in before} == before
        # What was forgotten stays so, be it that it came with the model, and be the model loaded or not.
        assert server.post("/v1/unload_lora_adapter", lora_name="given").status_code == 200
        server.done("/models/unload", model=TINY)
        assert server.post("/v1/unload_lora_adapter", lora_name="late").status_code == 200
        server.done("/models/unload", model=TINY)
        server.done("/models/load", model=TINY, wait=20)
        assert server.ask("GET", "/v1/lora_adapters").json()["data"] == []
        assert server.refused(404, "/v1/completions", model="given", prompt="a")["code"] == "model_not_found"


def taught(server: Managed) -> tuple[str, str]:
    """An answer that was said to be bad, and what is said after that."""
    messages = [{"role": "user", "content": "the cat sat"}]
    body = {"model": TINY, "messages": messages, "max_tokens": 6, "temperature": 0}
    answer = server.done("/v1/chat/completions", USER, **body)
    assert server.done("/v1/feedback", USER, completion_id=answer["id"], feedback=-1)["applied"]
    return answer["id"], server.done("/v1/chat/completions", USER, **body)["id"]


def learned(server: Managed) -> int:
    data = server.ask("GET", "/v1/feedback", USER).json()["data"]
    return sum(one["updates"] for one in data)


def test_what_tenants_taught_it_comes_back(gate: Gate, tmp_path: Path) -> None:
    model = gate.served()
    model.learned_folder = tmp_path / "learned"
    with managed([model], learn=True) as server:
        _, later = taught(server)
        assert learned(server) == 1
        server.done("/models/unload", model=TINY)
        assert learned(server) == 0, "nothing of what is not loaded"
        server.done("/models/load", model=TINY, wait=20)
        assert learned(server) == 1
        # Of answers before, the engine knows nothing any more, and says so; new ones can be taught from.
        assert server.refused(404, "/v1/feedback", USER, completion_id=later, feedback=1)
        taught(server)
        assert learned(server) == 2


def test_what_would_be_lost_is_not_given_up(gate: Gate) -> None:
    model = gate.served()
    with managed([model], learn=True) as server:
        wait_until(lambda: model.was_loaded)
        assert server.done("/models/unload", model=TINY)["success"], "nobody has taught it anything"
        taught(server)
        error = server.refused(409, "/models/unload", model=TINY)
        assert error["code"] == "would_be_lost"
        assert "--learn-dir" in error["message"]
        model.keep_for(0.1)
        assert server.says()
        time.sleep(0.5)
        assert learned(server) == 1, "nor does it go by itself"
        assert server.state() == {"value": "loaded"}


def test_while_it_is_trained_it_stays(gate: Gate, tmp_path: Path) -> None:
    model = gate.served()
    model.learned_folder = tmp_path / "learned"
    with managed([model], learn=True) as server:
        wait_until(lambda: model.was_loaded)
        assert model.learning is not None
        turns = model.learning._deep
        # A turn takes minutes: here it is as if one had begun.
        turns._running = "acme", threading.current_thread()
        try:
            error = server.refused(409, "/models/unload", model=TINY)
        finally:
            turns._running = None
        assert (error["code"], "trained" in error["message"]) == ("would_be_lost", True)
        assert server.done("/models/unload", model=TINY)["status"] == {"value": "unloaded"}


def test_its_prefixes_come_back(gate: Gate, tmp_path: Path) -> None:
    model = gate.served()
    model.prefix_file = tmp_path / "tiny.prefixes"
    prompt = "the cat sat on the mat and looked at the dog " * 4

    def cached(server: Managed) -> int:
        usage = server.done("/v1/completions", model=TINY, prompt=prompt, max_tokens=1)["usage"]
        count: int = usage["prompt_tokens_details"]["cached_tokens"]
        return count

    with managed([model]) as server:
        assert cached(server) == 0
        server.done("/models/unload", model=TINY)
        assert cached(server) > 0


def test_a_program_s_own_model_stays(tiny_chat: LLM) -> None:
    models = [ServedModel.loaded(TINY, AsyncEngine(tiny_chat))]
    with pytest.raises(ConfigError, match="idle_unload"):
        create_app(models, ServerSettings(idle_unload=0.1))
    with managed(models) as server:
        assert server.says()
        assert server.refused(409, "/models/unload", model=TINY)["code"] == "not_ours"
        body = {"model": TINY, "prompt": "a", "keep_alive": "1ms", "options": {"num_predict": 1}}
        assert server.post("/api/generate", **body).status_code == 200
        time.sleep(0.2)
        assert server.state() == {"value": "loaded"}
        assert server.ask("GET", "/api/ps").json()["models"][0]["expires_at"].startswith("9999"), (
            "nor is it told"
        )


# -- who may


@pytest.mark.parametrize("path", ["/models/load", "/models/unload", "/models", "/api/pull"])
def test_only_an_admin_may(server: Managed, path: str) -> None:
    for key, status in ((USER, 403), ("", 401)):
        answer = server.post(path, key, model=TINY)
        assert answer.status_code == status
    answer = server.ask("DELETE", f"/models?model={TINY}", USER)
    assert answer.status_code == 403
    assert server.ask("DELETE", "/api/delete", USER, json={"model": TINY}).status_code == 403
    assert server.state() == {"value": "loaded"}


def test_a_server_without_an_admin_key_says_how(gate: Gate) -> None:
    users = KeyRing([key for key in KEYS if not key.is_admin])
    for keys, key in ((KeyRing(()), ""), (users, USER)):
        with managed([gate.served()], keys=keys) as server:
            error = server.refused(403, "/models/unload", key, model=TINY)
            assert "--api-key" in error["message"]
            # What was open is.
            assert server.says(key)
            assert server.done("/api/generate", key, model=TINY, stream=False)["done_reason"] == "load"


def test_a_name_that_nothing_has(server: Managed) -> None:
    for path in ("/models/load", "/models/unload"):
        error = server.refused(404, path, model="tinny")
        assert (error["code"], error["param"]) == ("model_not_found", "model")
        for part in ("there is tiny", "Did you mean 'tiny'?", "ruvllm serve", "POST /models"):
            assert part in error["message"]


# -- what changes is told


def test_who_listens_is_told(server: Managed, gate: Gate) -> None:
    events: list[dict[str, Any]] = []

    def listen() -> None:
        headers = {"authorization": f"Bearer {USER}"}
        with httpx.stream("GET", f"{server.url}/models/sse", headers=headers, timeout=30) as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")
            for line in stream.iter_lines():
                if line.startswith("data: "):
                    events.append(json.loads(line.removeprefix("data: ")))
                if len(events) == 4:
                    return

    listening = threading.Thread(target=listen, daemon=True)
    listening.start()
    wait_until(lambda: len(events) == 1)
    gate.open.clear()
    server.done("/models/unload", model=TINY)
    wait_until(lambda: len(events) == 2)
    server.done("/models/load", model=TINY)
    wait_until(lambda: len(events) == 3)
    gate.open.set()
    listening.join(20)
    assert [one["model"] for one in events] == [TINY] * 4
    assert {one["event"] for one in events} == {"model_status"}
    assert [one["data"]["status"] for one in events] == ["loaded", "unloaded", "loading", "loaded"]
    assert events[2]["data"]["progress"]["value"] == 0.25


def test_who_listens_does_not_hold_up_the_end(tiny_chat_path: Path) -> None:
    with serving(tiny_chat_path) as process:
        url = process.wait_until_ready().url
        with httpx.stream("GET", f"{url}/models/sse", timeout=30) as stream:
            lines = stream.iter_lines()
            assert "model_status" in next(lines)
            process.process.send_signal(signal.SIGTERM)
            assert not [line for line in lines if line.startswith("data: ")]
        # What runs may take twenty seconds.
        assert process.ended(10) == 0
