"""The page's files: how they are served, what they may hold, that the package has them. No browser."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from ruvllm.serve.routes import page

FOLDER = Path(page.__file__).parents[1] / "page"
FILES = sorted(FOLDER.iterdir())
SCRIPTS = [path for path in FILES if path.suffix == ".js"]
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
FILE_LINES = 400
LINE_CHARACTERS = 120

# What would turn a string into markup or into a program, and what would lead elsewhere.
FORBIDDEN = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|DOMParser|srcdoc|"
    r"createContextualFragment|setTimeout\(\s*[\"'`]|[\"'`]javascript:|\.cssText|importScripts|setHTMLUnsafe"
)
ADDRESS = re.compile(r"https?://[^\s\"'`)/]+")
NAMESPACES = {"http://www.w3.org"}


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    app = FastAPI(docs_url=None, redoc_url=None)
    app.include_router(page.router)
    with TestClient(app) as opened:
        yield opened


@pytest.mark.parametrize("address", ["/", "/docs", *(f"/page/{path.name}" for path in FILES)])
def test_every_file_is_served_as_what_it_is(client: TestClient, address: str) -> None:
    answer = client.get(address)
    name = {"/": "index.html", "/docs": "docs.html"}.get(address, address.rpartition("/")[2])
    assert answer.status_code == 200
    assert answer.content == (FOLDER / name).read_bytes()
    assert answer.headers["content-type"].startswith(TYPES[Path(name).suffix])
    policy = answer.headers["content-security-policy"].split("; ")
    assert {"default-src 'none'", "script-src 'self'", "connect-src 'self'", "frame-ancestors 'none'"} <= set(
        policy
    )
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-cache"


def test_a_file_that_the_browser_has_is_not_sent_again(client: TestClient) -> None:
    tag = client.get("/page/app.js").headers["etag"]
    again = client.get("/page/app.js", headers={"if-none-match": f'"other", W/{tag}'})
    assert again.status_code == 304
    assert again.content == b""
    assert again.headers["etag"] == tag
    assert client.get("/page/app.js", headers={"if-none-match": '"other"'}).status_code == 200
    assert client.get("/page/base.css").headers["etag"] != tag


def test_head_gives_the_headers_alone(client: TestClient) -> None:
    answer = client.head("/")
    assert answer.status_code == 200
    assert answer.content == b""
    assert int(answer.headers["content-length"]) == (FOLDER / "index.html").stat().st_size


@pytest.mark.parametrize(
    "address",
    ["/page/", "/page/none.js", "/page/..%2f__init__.py", "/page/%2e%2e/app.py", "/page/../routes/page.py",
     "/page/page.py", "/page/app.js%00", "/page/..%5capp.py"],
)  # fmt: skip
def test_nothing_else_is_served(client: TestClient, address: str) -> None:
    assert client.get(address).status_code == 404


def test_the_page_is_not_part_of_the_interface() -> None:
    app = FastAPI()
    app.include_router(page.router)
    assert app.openapi()["paths"] == {}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_files_are_short_and_lead_nowhere_else(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) < FILE_LINES
    assert path.suffix != ".js" or max(map(len, text.splitlines())) <= LINE_CHARACTERS
    assert set(ADDRESS.findall(text)) <= NAMESPACES
    assert not FORBIDDEN.findall(text)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_say_what_they_are_for(path: Path) -> None:
    head = path.read_text(encoding="utf-8").splitlines()[0]
    assert re.match(r"// .{20,}", head)


@pytest.mark.parametrize("name", ["index.html", "docs.html"])
def test_the_markup_has_no_script_and_no_style_within(name: str) -> None:
    """The policy forbids both; the page must not need them."""
    text = (FOLDER / name).read_text(encoding="utf-8")
    assert not re.findall(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", text)
    for named in re.findall(r'(?:href|src)="page/([\w.-]+)', text):
        assert (FOLDER / named).is_file(), named


@pytest.mark.parametrize(("name", "first"), [("index.html", "app.js"), ("docs.html", "docs.js")])
def test_the_browser_hears_of_all_modules_at_once(name: str, first: str) -> None:
    """Else it would learn of them one import after the other, a way to the server and back each."""
    needed, todo = set(), [first]
    while todo:
        for module in re.findall(r'from "\./([\w.]+)"', (FOLDER / todo.pop()).read_text(encoding="utf-8")):
            if module not in needed:
                needed.add(module)
                todo.append(module)
    text = (FOLDER / name).read_text(encoding="utf-8")
    assert set(re.findall(r'<link rel="modulepreload" href="page/([\w.]+)">', text)) == needed


def test_every_icon_that_is_used_is_there_and_none_besides() -> None:
    icons = (
        (FOLDER / "icons.js").read_text(encoding="utf-8").partition("const LINES = {")[2].partition("\n};")[0]
    )
    symbols = set(re.findall(r'^  "?([\w-]+)"?:', icons, re.MULTILINE))
    scripts = "\n".join(path.read_text(encoding="utf-8") for path in SCRIPTS if path.name != "icons.js")
    assert set(re.findall(r'\b(?:icon|iconButton|toolButton)\("([\w-]+)"', scripts)) <= symbols
    assert not {name for name in symbols if f'"{name}"' not in scripts}
