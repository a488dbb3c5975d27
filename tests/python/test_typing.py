"""What a type checker says to a program that uses the package: mypy, as strict as it gets, on small files."""

import re
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
# Each line of it that has a comment behind it is refused, for what that says.
WRONG = Path(__file__).with_name("wrong_uses.py")
MARKED = re.compile(r"  # (?P<code>[a-z-]+): (?P<said>.+)")


def said_by_mypy(path: Path) -> list[str]:
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
    path = tmp_path / "program.py"
    path.write_text(RIGHT, encoding="utf-8")
    assert said_by_mypy(path) == []


@pytest.mark.timeout(SECONDS)
def test_what_is_wrong_is_refused_where_it_stands() -> None:
    marks = {
        number: marked.groupdict()
        for number, line in enumerate(WRONG.read_text(encoding="utf-8").splitlines(), 1)
        if (marked := MARKED.search(line))
    }
    assert len(marks) >= 25
    said = "\n".join(said_by_mypy(WRONG))
    found = {
        (int(number), code) for number, code in re.findall(r":(\d+): error: .*\[([a-z-]+)\]$", said, re.M)
    }
    assert found == {(number, mark["code"]) for number, mark in marks.items()}, said
    lines = {number: re.findall(rf":{number}: error: (.*)", said) for number in marks}
    assert [mark for number, mark in marks.items() if mark["said"] not in "\n".join(lines[number])] == []
