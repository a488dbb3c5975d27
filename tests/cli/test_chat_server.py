"""`ruvllm chat --url`: the chat with a server that answers as it is told."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.scripted_server import Reply, Request, ScriptedServer, answer_events

Ruvllm = Callable[..., Any]

USAGE = {"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13}
TIMINGS = {"prompt_n": 10, "predicted_n": 3, "predicted_ms": 400.0}


def models(owner: str) -> Reply:
    return Reply.json({"data": [{"id": "one", "owned_by": owner}, {"id": "two", "owned_by": owner}]})


def echo(request: Request, owner: str = "ruvllm") -> Reply:
    if request.path == "/v1/models":
        return models(owner)
    question = request.body["messages"][-1]["content"]
    if "silently" in question:
        return Reply.stream([30.0, *answer_events(["late"])])
    if "slowly" in question:
        return Reply.stream(answer_events([f"word{index} " for index in range(400)], pause=0.02))
    if "fail" in question:
        return Reply.error(500, "broken")
    return Reply.stream(answer_events(["You ", f"said: {question}"], usage=USAGE, timings=TIMINGS))


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer(echo) as server:
        yield server


@pytest.fixture
def stranger() -> Iterator[ScriptedServer]:
    """Another vendor's, which counts nothing."""

    def answer(request: Request) -> Reply:
        return models("somebody") if request.path == "/v1/models" else Reply.stream(answer_events(["Hm."]))

    with ScriptedServer(answer) as server:
        yield server


def test_one_answer(ruvllm: Ruvllm, server: ScriptedServer) -> None:
    result = ruvllm("chat", "--url", server.url, "-p", "hello", "--verbose")
    assert (result.exit_code, result.stdout) == (0, "You said: hello\n")
    assert "3 tokens, 5.0 tokens/s, first after 0.0" in result.stderr
    body = server.requests[-1].body
    assert body["messages"] == [{"role": "user", "content": "hello"}]
    # Our own server gets what a model here would: the defaults that --help shows.
    assert {key: body[key] for key in ("model", "temperature", "top_p", "top_k", "min_p")} == {
        "model": "one",
        "temperature": 0.7,
        "top_p": 0.9,
        "top_k": 0,
        "min_p": 0.0,
    }
    assert (body["repetition_penalty"], body["max_tokens"]) == (1.1, 1024)
    assert not {"seed", "stop"} & set(body)


def test_all_sampling_flags_are_sent(ruvllm: Ruvllm, stranger: ScriptedServer) -> None:
    flags = (
        "--temperature 0 --top-p 0.5 --top-k 5 --min-p 0.1 --repetition-penalty 1.1 -n 7 --seed 9 --stop a"
    )
    result = ruvllm("chat", "two", "--url", stranger.url, "-p", "x", "--system", "Be brief.", *flags.split())
    assert (result.exit_code, result.stdout) == (0, "Hm.\n"), result.output
    assert stranger.requests[-1].body == {
        "model": "two",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "x"}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0,
        "top_p": 0.5,
        "top_k": 5,
        "min_p": 0.1,
        "repetition_penalty": 1.1,
        "max_tokens": 7,
        "seed": 9,
        "stop": ["a"],
    }


def test_another_vendors_server_gets_only_what_was_chosen(
    ruvllm: Ruvllm, stranger: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUVLLM_TOP_P", "0.5")
    result = ruvllm("chat", "--url", stranger.url, "-p", "x", "-v")
    assert result.exit_code == 0, result.output
    assert set(stranger.requests[-1].body) == {
        "model",
        "messages",
        "stream",
        "stream_options",
        "max_tokens",
        "top_p",
    }
    assert "s in all, the server counts no tokens" in result.stderr


def test_samplers_are_sent_as_they_are_meant(
    ruvllm: Ruvllm, server: ScriptedServer, stranger: ScriptedServer
) -> None:
    flags = "--mirostat 2 --dry-multiplier 1 --dry-sequence-breaker none"
    for there in (server, stranger):
        assert ruvllm("chat", "--url", there.url, "-p", "x", *flags.split()).exit_code == 0
        body = there.requests[-1].body
        assert (body["mirostat"], body["dry_multiplier"], body["dry_sequence_breakers"]) == (2, 1, [])
    # Ours is told the defaults, among which a filter would leave mirostat nothing to do.
    assert server.requests[-1].body["top_p"] == 1
    assert "top_p" not in stranger.requests[-1].body
    escaped = ["--dry-multiplier", "1", "--dry-sequence-breaker", r"\n"]
    assert ruvllm("chat", "--url", server.url, "-p", "x", *escaped).exit_code == 0
    assert server.requests[-1].body["dry_sequence_breakers"] == ["\n"]
    refused = ruvllm("chat", "--url", server.url, "-p", "x", "--mirostat-tau", "3")
    assert refused.exit_code == 2
    assert "--mirostat-tau needs --mirostat 2" in refused.stderr


def test_variables_and_the_key(
    ruvllm: Ruvllm, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUVLLM_URL", server.url)
    monkeypatch.setenv("RUVLLM_API_KEY", "sk-1")
    monkeypatch.setenv("RUVLLM_THREADS", "2")  # this machine's setting, and no wish for this chat
    assert ruvllm("chat", stdin="hello\n").stdout == "You said: hello\n"
    assert {request.headers["authorization"] for request in server.requests} == {"Bearer sk-1"}
    report = ruvllm("doctor", "--json").stdout
    assert "sk-1" not in report
    assert json.loads(report)["variables"]["RUVLLM_API_KEY"] == "(set)"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--threads", "2"], "--threads would set the engine"),
        (["--isa", "avx2", "--kv-format", "auto"], "--isa, --kv-format would set the engine"),
        (["--cache-dir", "."], "--cache-dir"),
        (["--top-p", "0"], "top_p is 0.0"),
        (["--api-key", "a b"], "API key"),
        (["--params", "model"], "is read from its files, which the server has"),
    ],
)
def test_wrong_usage(ruvllm: Ruvllm, server: ScriptedServer, flags: list[str], said: str) -> None:
    result = ruvllm("chat", "--url", server.url, "-p", "x", *flags)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in " ".join(result.stderr.replace("│", " ").split())


def test_the_makers_sampling_is_asked_for_by_no_other_way(
    ruvllm: Ruvllm, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refusal() -> str:
        result = ruvllm("chat", "--url", server.url, "-p", "x")
        assert (result.exit_code, result.stdout) == (2, ""), result.output
        return result.stderr

    monkeypatch.setenv("RUVLLM_PARAMS", "model")
    assert "--params" in refusal()
    monkeypatch.delenv("RUVLLM_PARAMS")
    file = tmp_path / "settings.toml"
    file.write_text('[chat]\nparams = "model"\n')
    monkeypatch.setenv("RUVLLM_CONFIG", str(file))
    assert "--params" in refusal()


def test_a_key_without_a_server(ruvllm: Ruvllm, model: str) -> None:
    result = ruvllm("chat", model, "-p", "x", "--api-key", "sk-1")
    assert result.exit_code == 2
    assert "needs no key" in result.stderr


def test_a_url_that_is_none(ruvllm: Ruvllm) -> None:
    result = ruvllm("chat", "--url", "127.0.0.1:8000", "-p", "x")
    assert result.exit_code == 2
    assert "it must be like http://127.0.0.1:8000" in result.stderr


def test_errors_of_the_server(ruvllm: Ruvllm, server: ScriptedServer) -> None:
    result = ruvllm("chat", "--url", server.url, "-p", "fail")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "error: Backend error: the server: broken (HTTP status 500)\n"
    result = ruvllm("chat", "--url", "http://127.0.0.1:9", "-p", "x")
    assert result.exit_code == 1
    assert "no server answers at http://127.0.0.1:9" in result.stderr


# -- on a terminal


@pytest.fixture
def chat(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    pexpect = pytest.importorskip("pexpect")
    if sys.platform == "win32":
        pytest.skip("pseudo-terminals")
    monkeypatch.setenv("TERM", "xterm")
    child = pexpect.spawn(
        sys.executable,
        ["-m", "tests.cli.fake_engine", "chat", "--url", server.url],
        encoding="utf-8",
        timeout=20,
        dimensions=(40, 200),
    )
    child.expect(f"one at {server.url}")
    await_prompt(child)
    yield child
    child.close(force=True)


def await_prompt(child: Any) -> None:
    child.expect(r"\x1b\[\?2004h")
    child.expect(">")


def say(child: Any, line: str) -> None:
    child.send(line)
    child.send("\r")


def test_turns_and_commands(chat: Any, server: ScriptedServer, tmp_path: Path) -> None:
    say(chat, "hello")
    chat.expect("You said: hello")
    chat.expect("3 tokens, 5.0 tokens/s, first after 0")
    say(chat, "/help")
    chat.expect("/model")
    chat.expect("/exit")
    say(chat, "/model two")
    chat.expect("model: two")
    say(chat, "/model")
    chat.expect("at hand.*one, two")
    say(chat, "/regenerate")
    chat.expect("You said: hello")
    assert [request.body["model"] for request in server.asked("/v1/chat/completions")] == ["one", "two"]
    say(chat, "/stats")
    chat.expect("answer tokens")
    chat.expect(r"\b6\b")
    chat.expect("it is the server's")
    say(chat, "fail")
    chat.expect("error: .*broken")
    saved = tmp_path / "chat.json"
    say(chat, f"/save {saved}")
    chat.expect("saved to")
    assert [message["role"] for message in json.loads(saved.read_text())["messages"]] == ["user", "assistant"]
    say(chat, "/exit")
    chat.wait()
    assert chat.exitstatus == 0


def test_ctrl_c_hangs_up_and_the_chat_goes_on(chat: Any, server: ScriptedServer) -> None:
    say(chat, "speak slowly")
    chat.expect("word3 ")
    chat.sendintr()
    chat.expect("stopped")
    server.wait_until_idle()
    assert server.hung_up == 1
    say(chat, "think silently")
    while len(server.asked("/v1/chat/completions")) < 2:
        time.sleep(0.01)
    chat.sendintr()
    chat.expect("stopped")
    server.wait_until_idle()
    assert server.hung_up == 2
    say(chat, "still there?")
    chat.expect("You said: still there")
    spoken = server.requests[-1].body["messages"]
    assert spoken[0]["content"] == "speak slowly"
    assert spoken[1]["content"].startswith("word0 word1 ")
