"""The command line with the real engine and the real default model."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from ruvllm.cli.chat import EXAMPLES

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.real_model

MODEL = "smollm2-135m"


def ruvllm(*arguments: str, stdin: str = "") -> str:
    result = subprocess.run(
        [sys.executable, "-m", "ruvllm", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module", autouse=True)
def fetched() -> str:
    """Fetched once, before any test's own time runs."""
    return ruvllm("pull", MODEL)


# Without it what a model of this size says first is as likely French as English, and a rounding decides.
SYSTEM = ("--system", "Answer in one sentence.")


def test_chat_without_a_terminal_answers_and_ends() -> None:
    answer = ruvllm("chat", MODEL, *SYSTEM, "--temperature", "0", stdin="What is the capital of France?\n")
    assert "Paris" in answer
    assert answer.endswith("\n")


def test_chat_answers_a_prompt() -> None:
    assert "Paris" in ruvllm("chat", *SYSTEM, "--prompt", "What is the capital of France?", "-T", "0")


def shown() -> list[str]:
    """What help and pages show to ask the smallest model, as it is typed."""
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    lines = [line.strip() for page in pages for line in page.read_text(encoding="utf-8").splitlines()]
    lines += [example for examples in EXAMPLES.values() for example in examples]
    asking = re.compile(r"ruvllm (?:run|chat|complete) .*capital of France")
    return [line for line in lines if asking.match(line) and not re.search(r"qwen|--url", line)]


@pytest.mark.parametrize("line", shown())
def test_what_is_shown_is_answered_rightly(line: str) -> None:
    """Fault 1: bare, and always the likeliest token, it said that France's capital is l'Etoile."""
    assert "Paris" in ruvllm(*shlex.split(line)[1:])


def test_there_is_something_shown() -> None:
    assert len(shown()) >= 2


def test_run_answers_a_prompt_about_what_stdin_holds() -> None:
    """As Ollama's does."""
    text = "The capital of France is Paris.\n"
    assert "Paris" in ruvllm("run", MODEL, "What is the capital of France?", *SYSTEM, "-T", "0", stdin=text)


def test_complete_is_repeatable_with_a_seed() -> None:
    arguments = ("complete", MODEL, "Once upon a time", "-n", "24", "--seed", "7")
    first = ruvllm(*arguments)
    assert len(first) > 20
    assert ruvllm(*arguments) == first


def test_complete_json() -> None:
    result = json.loads(ruvllm("complete", MODEL, "Two and two is", "-n", "8", "-T", "0", "--json"))
    assert result["text"]
    assert result["usage"]["completion_tokens"] == len(result["token_ids"]) <= 8
    assert result["timings"]["first_token_seconds"] <= result["timings"]["total_seconds"]


def test_bench_json() -> None:
    flags = "--threads 2 --prompt 512 --generate 64 --repeat 3 --json"
    report = json.loads(ruvllm("bench", MODEL, *flags.split()))
    assert [row["test"] for row in report["results"]] == ["pp512", "tg64"]
    assert all(row["tokens_per_second"] > 1 for row in report["results"])
    assert report["threads"] == 2


def test_info_json() -> None:
    facts = json.loads(ruvllm("info", MODEL, "--json"))
    assert (facts["architecture"], facts["quantization"]) == ("llama", "Q4_1")
    assert facts["file_bytes"] == 98_362_432
    assert facts["num_layers"] == 30


def test_doctor_json() -> None:
    report = json.loads(ruvllm("doctor", "--json"))
    assert report["problems"] == []
    assert report["cpu"]["isa"] in report["cpu"]["available_isas"]
    assert report["cpu"]["threads"] >= 1
    assert report["cpu"]["isa_reason"]
    assert report["cpu"]["threads_reason"]


def test_list_json() -> None:
    assert MODEL in [row["name"] for row in json.loads(ruvllm("list", "--json"))["models"]]
