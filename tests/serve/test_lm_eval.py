"""What lm-eval asks a server for, as its `local-completions` does it; and lm-eval itself, without the Hub."""

import json
import os
import subprocess
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jinja2
import pytest

from ruvllm import LLM
from ruvllm.serve import ApiKey, KeyRing, ServedModel, ServerSettings, create_app
from tests.conftest import FIXTURES
from tests.serve.conftest import REAL
from tests.serve.running import RunningServer, running

TASKS = Path(__file__).resolve().parents[2] / "examples" / "lm-eval"
KEY = "sk-lm-eval-1"
VERSION = "0.4.13"
QUESTIONS = [json.loads(line) for line in (TASKS / "capitals.jsonl").read_text("utf-8").splitlines()]


def encoded(server: RunningServer, text: str) -> list[int]:
    answer = httpx.post(f"{server.url}/tokenize", json={"prompt": text, "add_special_tokens": False})
    return answer.json()["tokens"]


@pytest.mark.real_model
def test_it_learns_the_marks_and_the_template(real_server: RunningServer, smollm2: LLM) -> None:
    info = httpx.get(f"{real_server.url}/tokenizer_info").json()
    tokenizer = smollm2.tokenizer
    assert tokenizer is not None
    assert encoded(real_server, info["eos_token"]) == [tokenizer.eos_token]
    assert encoded(real_server, info["bos_token"]) == [tokenizer.bos_token]
    assert info["add_bos_token"] is tokenizer.adds_bos
    assert info["model_max_length"] == smollm2.model_info.max_context
    messages = [{"role": "user", "content": "Hello"}]
    rendered = jinja2.Template(info["chat_template"]).render(messages=messages, add_generation_prompt=True)
    assert rendered == smollm2.apply_chat_template(messages)


def test_a_model_without_a_template_says_so(tiny_gguf: LLM) -> None:
    with running(create_app({"plain": tiny_gguf})) as server:
        info = httpx.get(f"{server.url}/tokenizer_info").json()
    assert info["chat_template"] is None
    assert info["eos_token"]


def test_a_model_without_a_tokenizer_is_refused(tiny_folder: LLM) -> None:
    with running(create_app({"bare": tiny_folder})) as server:
        answer = httpx.get(f"{server.url}/tokenizer_info")
    assert answer.status_code == 400
    assert "no tokenizer" in answer.json()["error"]["message"]


def test_it_waits_for_the_first_model() -> None:
    """As other routes do that need one: what is asked for is loaded."""

    def load() -> LLM:
        return LLM(FIXTURES / "gguf" / "llama-gqa.gguf")

    with running(create_app([ServedModel("later", load)])) as server:
        assert httpx.get(f"{server.url}/tokenizer_info", timeout=30).json()["model_max_length"] > 0


@pytest.mark.real_model
def test_it_scores_as_it_sums(real_server: RunningServer, smollm2: LLM) -> None:
    """Its body, and its reading of the answer: all but the last token, from the context's end on."""
    context, ending = encoded(real_server, "The capital of France is"), encoded(real_server, " Paris")
    body = {"model": REAL, "prompt": [context + ending], "temperature": 0, "max_tokens": 1, "seed": 1234}
    answer = httpx.post(f"{real_server.api}/completions", json={**body, "logprobs": 1, "echo": True})
    [choice] = answer.json()["choices"]
    told = choice["logprobs"]["token_logprobs"][len(context) : -1]
    likeliest = [max(top.values()) for top in choice["logprobs"]["top_logprobs"][len(context) : -1]]
    assert sum(told) == pytest.approx(-smollm2.score_endings(context, [ending])[0].sum(), abs=1e-4)
    assert (told == likeliest) == (smollm2.logits(context)[-1].argmax() == ending[0])


# -- lm-eval itself


@pytest.fixture(scope="module")
def lm_eval(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its program, in an environment of its own: what it depends on is no business of ours."""
    folder = tmp_path_factory.mktemp("lm-eval")
    venv.create(folder, with_pip=True)
    commands = folder / ("Scripts" if os.name == "nt" else "bin")
    install = [commands / "python", "-m", "pip", "install", "--quiet", f"lm-eval[api]=={VERSION}"]
    subprocess.run(install, check=True, timeout=500)
    return commands / "lm_eval"


@pytest.fixture
def keyed_server(smollm2: LLM) -> Iterator[RunningServer]:
    settings = ServerSettings(keys=KeyRing([ApiKey.of(KEY)]))
    with running(create_app({REAL: smollm2}, settings)) as server:
        yield server


@pytest.mark.slow
@pytest.mark.real_model
@pytest.mark.timeout(600)
def test_a_task_of_its_own(lm_eval: Path, keyed_server: RunningServer, smollm2: LLM, tmp_path: Path) -> None:
    """The command of docs/lm-eval.md; each choice's log-likelihood is the one that the model gives itself."""
    told = f"model={REAL},base_url={keyed_server.api}/completions,num_concurrent=4,auth_token={KEY}"
    command = [lm_eval, "run", "--model", "local-completions", "--model_args", told, "--tasks", "capitals"]
    command += ["--include_path", ".", "--output_path", tmp_path, "--log_samples"]
    environment = {
        **os.environ,
        "OPENAI_API_KEY": KEY,
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(tmp_path / "hf"),
    }
    done = subprocess.run(
        command, cwd=TASKS, env=environment, capture_output=True, encoding="utf-8", timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    [samples] = tmp_path.rglob("samples_capitals_*.jsonl")
    lines = [json.loads(line) for line in samples.read_text("utf-8").splitlines()]
    assert len(lines) == len(QUESTIONS)
    for line in lines:
        given = [float(one[0][0]) for one in line["resps"]]
        assert given == pytest.approx(own_scores(smollm2, line["doc"]), abs=1e-3)


def own_scores(llm: LLM, question: dict[str, Any]) -> list[float]:
    context = llm.tokenize(f"The capital of {question['country']} is", add_bos=False)
    endings = [llm.tokenize(f" {choice}", add_bos=False) for choice in question["choices"]]
    return [-float(scores.sum()) for scores in llm.score_endings(context, endings)]
