"""The site of the documentation: what belongs into it; and, slow, that `make docs` sees faults."""

import functools
import http.server
import importlib.util
import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

import ruvllm
from ruvllm import GenerateParams
from ruvllm._settings import settings_of
from ruvllm.engine_settings import EngineSettings
from ruvllm.serve import ServerSettings
from tests.serve.page.browser import running_browser

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / "docs" / "site"


@pytest.fixture(scope="module")
def public_names() -> ModuleType:
    """The list that the reference is made of; its folder is no package."""
    spec = importlib.util.spec_from_file_location("public_names", SITE / "public_names.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_public_name_is_in_the_reference_once(public_names: ModuleType) -> None:
    """As Python sees the packages; the list is read from their sources."""
    told: list[object] = []
    for module, names in public_names.pages():
        room = importlib.import_module(module)
        told += [getattr(room, name) for name in names]
        assert set(names) <= set(room.__all__)
    modules = [getattr(ruvllm, name) for name in public_names.ROOMS if name in ruvllm.__all__]
    top = [name for name in ruvllm.__all__ if name != "__version__"]
    assert [name for name in top if missing(getattr(ruvllm, name), [*told, *modules])] == []
    for name in public_names.ROOMS:
        room = importlib.import_module(f"ruvllm.{name}")
        assert [one for one in room.__all__ if missing(getattr(room, one), told)] == [], name


def missing(value: object, among: list[object]) -> bool:
    return not any(value is one for one in among)


def test_every_package_that_says_what_is_public_is_in_it(public_names: ModuleType) -> None:
    """But for those below the public ones, and what has other pages: the command line, Ray (scale.md)."""
    inner = {"cli", "integrations", "observability", "runtime"}
    packages = {path.parent.name for path in (ROOT / "python" / "ruvllm").glob("*/__init__.py")}
    assert packages - inner <= set(public_names.ROOMS)


def test_every_page_is_in_the_table_of_contents() -> None:
    config = re.sub(r"!!python/\S+", "", (ROOT / "mkdocs.yml").read_text("utf-8"))
    said = json.dumps(yaml.safe_load(config)["nav"])
    pages = [path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")]
    assert len(pages) > 30
    assert [page for page in pages if f'"{page}"' not in said and page != "reference/index.md"] == []


def test_a_warning_ends_the_build() -> None:
    """`--quiet` takes warnings away before they are counted."""
    assert re.search(r"^strict: true$", (ROOT / "mkdocs.yml").read_text("utf-8"), re.M)
    assert re.search(r"/mkdocs build$", (ROOT / "Makefile").read_text("utf-8"), re.M)


def test_what_it_is_built_with_is_pinned() -> None:
    lines = (SITE / "requirements.txt").read_text("utf-8").splitlines()
    wanted = [line for line in lines if line and not line.startswith("#")]
    assert len(wanted) > 20
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in wanted)


# -- built


@pytest.fixture(scope="module")
def site() -> Path:
    if shutil.which("make") is None:
        pytest.skip("no make")
    done = subprocess.run(
        ["make", "docs"], cwd=ROOT, capture_output=True, encoding="utf-8", timeout=500, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return ROOT / ".docs" / "html"


def faults(site: Path) -> str:
    done = subprocess.run(
        [sys.executable, SITE / "check.py", site], capture_output=True, encoding="utf-8", check=False
    )
    assert (done.returncode == 0) == (done.stderr == "")
    return done.stderr


# What is done to a page, and what is said of it.
DAMAGE = {
    "a name": ("reference/ruvllm.html", 'id="ruvllm.LLM"', "", "ruvllm.LLM is not in the reference"),
    "a page": ("index.html", 'href="python.html"', 'href="pithon.html"', "pithon.html leads nowhere"),
    "a place": ("python.html", 'id="errors"', "", "#errors leads nowhere"),
    "a script": (
        "index.html",
        "</body>",
        '<script src="https://cdn.example/a.js"></script></body>',
        "loads https",
    ),
    "a font": (
        "404.html",
        "</head>",
        '<link rel="stylesheet" href="//fonts.example/a"></head>',
        "loads //fonts",
    ),
    "a setting": ("search/search_index.json", "kv_format", "kv", "does not find kv_format"),
    "a variable": ("search/search_index.json", "RUVLLM_ISA", "", "does not find RUVLLM_ISA"),
}


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("damage", DAMAGE)
def test_what_is_wrong_with_it_is_seen(damage: str, site: Path, tmp_path: Path) -> None:
    copy = tmp_path / "html"
    shutil.copytree(site, copy)
    assert faults(copy) == ""
    name, before, after, said = DAMAGE[damage]
    page = copy / name
    text = page.read_text("utf-8")
    assert before in text
    page.write_text(text.replace(before, after), "utf-8")
    assert said in faults(copy)


class Quiet(http.server.SimpleHTTPRequestHandler):
    """The site on a port."""

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""


@pytest.fixture
def address(site: Path) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


NOWHERE = "quizzacious"
# What the search says once it has looked: "12 matching documents", or that there are none.
ANSWERED = "() => /document/.test(document.querySelector('.md-search-result__meta').textContent)"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_search_finds_any_setting(address: str) -> None:
    """In a browser, as somebody who types it; nothing comes from anywhere else meanwhile."""
    settings = [*settings_of(EngineSettings), *settings_of(ServerSettings)]
    words = {one.name for one in settings} | {one.name for one in fields(GenerateParams)}
    words |= {name for one in settings if one.has_flag for name in (one.flags[0].lstrip("-"), one.variable)}
    assert len(words) > 60
    words.add(NOWHERE)
    asked, unfound = set(), []
    with running_browser() as browser:
        page = browser.new_page()
        page.on("request", lambda request: asked.add(request.url))
        page.goto(f"{address}/index.html")
        for word in sorted(words):
            page.goto(f"{address}/versions.html?q={word}")
            page.wait_for_function(ANSWERED)
            said = page.locator(".md-search-result__meta").text_content() or ""
            if not re.search(r"\d", said):
                unfound.append((word, said.strip()))
    assert [word for word, _ in unfound] == [NOWHERE], unfound
    assert {url for url in asked if not url.startswith(address)} == set()
