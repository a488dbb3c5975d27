"""Looks at the built site: `make docs` fails where something is missing or would come from elsewhere.

    python docs/site/check.py .docs/html

Every public name has a place in the reference, every link between its pages leads to a page and a place
in it, nothing is loaded from another host, and the search index has every setting by each of its names.
"""

import ast
import json
import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from public_names import PACKAGE, pages

LOADING = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src"}
# What a `link` only names, and nobody loads.
NAMED_ALONE = {"canonical", "prev", "next", "alternate"}


class Looked(HTMLParser):
    """What a page links to, what it loads, and which places it has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.places: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take what an element says of that."""
        said = {name: value or "" for name, value in attrs}
        self.places.add(said.get("id", ""))
        if tag == "a" and "href" in said:
            self.links.append(said["href"])
        if tag in LOADING and LOADING[tag] in said and said.get("rel") not in NAMED_ALONE:
            self.loads.append(said[LOADING[tag]])


def faults(site: Path) -> Iterator[str]:
    """What is wrong, a line each."""
    looked = {path: Looked(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}
    if len(looked) < 40:
        yield f"only {len(looked)} pages in {site}"
    yield from missing_names(site, looked)
    for path, page in looked.items():
        name = path.relative_to(site)
        yield from (f"{name}: loads {url}" for url in page.loads if urlsplit(url).netloc)
        if name.name != "404.html":
            yield from (
                f"{name}: {link} leads nowhere" for link in page.links if not leads(path, link, looked)
            )
    for path in site.rglob("*.css"):
        found = re.findall(r"(?:url\(|@import )[\"']?(https?:[^\"')]+)", path.read_text(encoding="utf-8"))
        yield from (f"{path.relative_to(site)}: loads {url}" for url in found)
    yield from unfound_settings(site)


def leads(path: Path, link: str, looked: dict[Path, Looked]) -> bool:
    """Whether a link ends at a page or file that is there, and at a place in it."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return True
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if target.is_dir():
        target /= "index.html"
    if target.suffix != ".html" or not parts.fragment:
        return target.exists()
    return target in looked and unquote(parts.fragment) in {*looked[target].places, "__top"}


def missing_names(site: Path, looked: dict[Path, Looked]) -> Iterator[str]:
    """Public names without a place in the reference."""
    for module, names in pages():
        page = looked[site / "reference" / f"{module.removeprefix('ruvllm.')}.html"]
        yield from (
            f"{module}.{name} is not in the reference"
            for name in names
            if f"{module}.{name}" not in page.places
        )


def unfound_settings(site: Path) -> Iterator[str]:
    """Settings that no entry of the search index has as a word."""
    index = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))
    # As the page's search does it; what is marked up is text there already.
    cut = re.compile(index["config"]["separator"])
    words = {
        word
        for one in index["docs"]
        for word in cut.split(re.sub(r"<[^>]+>", " ", one["title"] + " " + one["text"]))
    }
    for file, group in (
        ("engine_settings.py", "EngineSettings"),
        ("params.py", "GenerateParams"),
        ("serve/settings.py", "ServerSettings"),
    ):
        for name, has_flag in fields(PACKAGE / file, group):
            wanted = [name, *([f"RUVLLM_{name.upper()}"] if has_flag else [])]
            yield from (f"a search does not find {word}" for word in wanted if word not in words)


def fields(path: Path, group: str) -> Iterator[tuple[str, bool]]:
    """The fields of a class, and whether each is a setting that the command line has too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ClassDef) and node.name == group:
            for one in node.body:
                if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name):
                    said = ast.unparse(one.value) if one.value else ""
                    yield one.target.id, said.startswith("setting(") and "has_flag" not in said


if __name__ == "__main__":
    wrong = list(faults(Path(sys.argv[1]).resolve()))
    sys.exit("\n".join(wrong) if wrong else 0)
