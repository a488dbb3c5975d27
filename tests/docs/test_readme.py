"""What the documents show is what happens: their Python runs, its output is real, links lead somewhere."""

import contextlib
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ruvllm.llm import LLM
from ruvllm.serve import create_app
from tests.serve.running import running

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "tests" / "fixtures" / "README.md"]
)
# A Python block, and the text block after the next `<!-- output:name -->` where one follows it directly.
BLOCK = re.compile(
    r"^```python\n(?P<code>.*?)^```$"
    r"(?:(?:(?!^```).)*?^<!-- output:(?P<name>\w+) -->\n```text\n(?P<output>.*?)^```$)?",
    re.M | re.S,
)


def blocks() -> Iterator[Any]:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in BLOCK.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            yield pytest.param(match, id=f"{page.relative_to(ROOT)}:{line}")


SERVER = "http://127.0.0.1:8000"


@contextlib.contextmanager
def with_server(code: str, model: Path) -> Iterator[str]:
    """A block that asks the server of the pages gets one, at a port that is free."""
    if SERVER not in code:
        yield code
        return
    with LLM(model) as llm, running(create_app({"smollm2-135m": llm})) as server:
        yield code.replace(SERVER, server.url)


@pytest.mark.real_model
@pytest.mark.parametrize("block", list(blocks()))
def test_python_blocks_print_what_they_say(block: re.Match[str], smollm2_path: Path) -> None:
    printed = io.StringIO()
    with with_server(block["code"], smollm2_path) as code, contextlib.redirect_stdout(printed):
        exec(compile(code, "README", "exec"), {"__name__": "__main__"})
    if block["name"] is not None:
        assert printed.getvalue().rstrip() == block["output"].rstrip()


def test_the_readme_has_an_output() -> None:
    matches = BLOCK.finditer((ROOT / "README.md").read_text(encoding="utf-8"))
    assert [match["name"] for match in matches] == ["capital"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    missing = [target for target in targets if "://" not in target and not (page.parent / target).exists()]
    assert not missing
