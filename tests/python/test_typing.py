"""What a type checker says to a program that uses the package: mypy, as strict as it gets, on small files."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# The longest that a first run may take, which reads all that the package imports; later ones take a second.
SECONDS = 240

RIGHT = """
from ruvllm import LLM, AsyncEngine, ChatSession, GenerateParams, Limits, ModelConfig, PrefixCacheConfig

LLM("m", kv_format="int8", isa="avx2", activations="f32", threads=3, limits=Limits(max_waiting=3))
AsyncEngine("m", prefix_cache=PrefixCacheConfig(), config=ModelConfig(), progress=print)


async def opened() -> AsyncEngine:
    async with AsyncEngine.open("m", kv_cache_bytes=1000) as engine:
        await engine.chat("Hello")
    return await AsyncEngine.open("m", max_context=None)


def asked(llm: LLM, session: ChatSession, params: GenerateParams) -> str:
    llm.generate(["a", "b"], params, max_tokens=3)[0].text
    llm.generate([], max_tokens=3).append(llm.generate([3, 4]))
    llm.generate(("a" for _ in range(3)), [params, params, params]).clear()
    llm.generate([[{"role": "user", "content": "a"}]]).append(llm.generate([{"role": "user"}]))
    llm.chat(["a", "b"], [params, params]).append(llm.chat([{"role": "user", "content": "a"}]))
    llm.chat([]).clear()
    llm.generate("a", stop="b", seed=None).text
    for chunk in llm.stream("a", temperature=0, stop=["b", "c"]):
        print(chunk.text)
    session.send("a", top_k=1)
    return llm.chat("a", temperature=0, tool_choice="none").text
"""
# Each line is refused, for what stands behind it.
WRONG = """
from ruvllm import LLM, AsyncEngine, ChatSession

AsyncEngine("m", kv_formt="int8")  # Unexpected keyword argument "kv_formt"
AsyncEngine("m", thraeds=3)  # Unexpected keyword argument "thraeds"
LLM(kv_format="q3")  # Argument "kv_format" to "LLM" has incompatible type "Literal['q3']"
LLM(isa="sse9")  # Argument "isa" to "LLM" has incompatible type "Literal['sse9']"
LLM(activations="int4")  # Argument "activations" to "LLM" has incompatible type "Literal['int4']"
LLM(threads="two")  # Argument "threads" to "LLM" has incompatible type "str"
AsyncEngine.open("m", kv_formt="int8")  # Unexpected keyword argument "kv_formt"
AsyncEngine.open("m", limits=3)  # Argument "limits" to "open" of "AsyncEngine" has incompatible type "int"
LLM().chat("a", max_token=3)  # No overload variant of "chat"
LLM().chat("a", temperature="cold")  # No overload variant of "chat"
LLM().stream("a", max_tokens=None)  # Argument "max_tokens" to "stream"
LLM().stream("a", tools=[])  # Unexpected keyword argument "tools" for "stream"
LLM().generate("a", max_token=3)  # No overload variant of "generate"
LLM().as_completed(["a"], stop=3)  # Argument "stop" to "as_completed"
AsyncEngine().stream("a", sead=3)  # Unexpected keyword argument "sead" for "stream"
ChatSession(LLM()).send("a", seed="x")  # Argument "seed" to "send"
"""


def said_by_mypy(source: str, folder: Path) -> list[str]:
    path = folder / "program.py"
    path.write_text(source, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"), str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    return [line for line in done.stdout.splitlines() if "error:" in line]


@pytest.mark.timeout(SECONDS)
def test_what_is_right_passes(tmp_path: Path) -> None:
    assert said_by_mypy(RIGHT, tmp_path) == []


@pytest.mark.timeout(SECONDS)
def test_what_is_wrong_is_refused_where_it_stands(tmp_path: Path) -> None:
    wanted = {
        number: line.partition("  # ")[2]
        for number, line in enumerate(WRONG.splitlines(), 1)
        if "  # " in line
    }
    said = said_by_mypy(WRONG, tmp_path)
    found = {int(line.split(":")[1]): line for line in said}
    assert found.keys() == wanted.keys(), said
    assert [line for number, line in found.items() if wanted[number] not in line] == []
