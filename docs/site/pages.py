"""Pages of the site that are no files of docs/: README, examples, the project's own pages, the reference.

A hook of mkdocs. The pages stay where they are and link to one another as files do, so that they can be read
in the repository; here such a link becomes one between pages.
"""

import posixpath
import re
import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

sys.path.insert(0, str(Path(__file__).parent))

import public_names

ROOT = Path(__file__).resolve().parents[2]
# Where files of the repository that are not in docs/ stand in the site.
MOUNTED = {
    "README.md": "index.md",
    **{
        name: f"project/{name}"
        for name in (
            "CHANGELOG.md",
            "CODE_OF_CONDUCT.md",
            "CONTRIBUTING.md",
            "SECURITY.md",
            "tests/fixtures/README.md",
            "rust/packs/kernels/README.md",
        )
    },
}
LICENCES = "project/licences.md"
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
ALSO = {
    "LICENSE-MIT": LICENCES,
    "LICENSE-APACHE": LICENCES,
    "examples": "examples/index.md",
    "examples/": "examples/index.md",
    **{f"examples/{path.name}": f"examples/{path.stem}.md" for path in EXAMPLES},
}
# A bar in the code of a table: GitHub wants it escaped, and here the escape would be seen.
IN_ROWS = re.compile(r"(?<=[| ])`[^`\n]*\\\|[^`\n]*`(?=.*\|$)", re.M)
LINK = re.compile(r"(?<=\]\()(?P<target>[^)#\s:]+)(?=(?:#[^)]*)?\))")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made here."""
    made = {site: (ROOT / name).read_text(encoding="utf-8") for name, site in MOUNTED.items()}
    made |= dict(reference())
    made |= dict(examples())
    made[LICENCES] = licences()
    for name, text in made.items():
        files.append(File.generated(config, name, content=text))
    for section in config.nav or []:
        if isinstance(section, dict):
            [(title, entry)] = section.items()
            # A folder in the table of contents is its pages, the first of them its own.
            if isinstance(entry, str) and entry.endswith("/"):
                inside = [name for name in made if name.startswith(entry)]
                first = [f"{entry}index.md", *(name for name in inside if name == "reference/ruvllm.md")]
                section[title] = [*first, *sorted(set(inside) - set(first))]
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Make links between files of the repository links between pages."""
    here = page.file.src_uri
    origin = next((name for name, site in MOUNTED.items() if site == here), f"docs/{here}")

    def moved(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(origin), match["target"]))
        site = {**MOUNTED, **ALSO}.get(target)
        if site is None and target.startswith("docs/"):
            site = target.removeprefix("docs/")
        return match["target"] if site is None else posixpath.relpath(site, posixpath.dirname(here) or ".")

    return IN_ROWS.sub(lambda code: code[0].replace("\\|", "|"), LINK.sub(moved, markdown))


def reference() -> list[tuple[str, str]]:
    """A page for each room, with what each name's docstring says."""
    made = []
    for module, names in public_names.pages():
        lines = [f"# {module}", "", f"::: {module}", "    options:", "      members: false"]
        lines += ["      show_root_heading: false", "      show_root_toc_entry: false", ""]
        for name in names:
            lines += [f"::: {module}.{name}", ""]
        if module == public_names.ROOM:
            lines += ["## Also here", "", "What stands on the page of its package:", ""]
            for name, room in public_names.told_elsewhere():
                lines.append(f"- [`{name}`]({room.removeprefix('ruvllm.')}.md#{room}.{name})")
        made.append((f"reference/{module.removeprefix('ruvllm.')}.md", "\n".join(lines)))
    return made


def examples() -> list[tuple[str, str]]:
    """Each example whole, under the first line of what it says of itself."""
    made, lines = [], ["# Examples", "", "Each runs as it stands; a test does so.", ""]
    for path in EXAMPLES:
        source = path.read_text(encoding="utf-8")
        first = source.partition('"""')[2].partition("\n")[0]
        made.append((f"examples/{path.stem}.md", f"# {path.name}\n\n{first}\n\n```python\n{source}```\n"))
        lines.append(f"- [{path.name}]({path.stem}.md): {first}")
    return [*made, ("examples/index.md", "\n".join(lines) + "\n")]


def licences() -> str:
    """Both, as they are."""
    texts = [(name, (ROOT / f"LICENSE-{name}").read_text(encoding="utf-8")) for name in ("MIT", "APACHE")]
    parts = [f"## {name}\n\n```text\n{text}\n```\n" for name, text in texts]
    return "# Licences\n\nEither, as you like.\n\n" + "\n".join(parts)
