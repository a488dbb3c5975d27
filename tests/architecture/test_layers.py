"""Who may import whom, in both languages: the tables of docs/architecture.md."""

import ast
import re
from pathlib import Path

import pytest

from tests.architecture import sources

# What each crate may depend on.
CRATES = {
    "kernels": set(),
    "formats": set(),
    "core": {"kernels", "formats"},
    "packs": {"kernels"},
    "py": {"formats", "core", "kernels", "packs"},
}

# Modules of the core, low to high. A module may use its own level and those below it, without cycles.
CORE = [
    {"ids", "error", "cancel", "clock", "profile"},
    {"grammar", "memory", "sampling", "speculation", "text"},
    {"kv", "lora"},
    {"learning"},
    {"prefix"},
    {"batch"},
    {"model", "quantize"},
    {"replay"},
    {"events", "sequence"},
    {"engine", "training"},
]
CORE_NEVER = {("model", "prefix"), ("prefix", "model")}

# The package, low to high; the longest matching prefix decides.
PACKAGE = [
    {
        "_native",
        "_checks",
        "_settings",
        "token_lists",
        "whole_file",
        "gguf_values",
        "errors",
        "types",
        "config",
        "engine_settings",
        "kv_precisions",
        "builtin_grammars",
        "gbnf",
        "grammar",
        "markdown",
        "params",
        "regular_lark",
        "samplers",
        "logits_processors",
        "outputs",
        "figures",
        "tools",
        "backends.registry",
        "backends.supports",
    },
    {"hub", "text", "kernels", "observability"},
    {"packs", "adapters", "importance", "quantizing"},
    {
        "runtime",
        "backends.base",
        "backends.answer_text",
        "backends.reading",
        "backends.streaming_engine",
        "caching",
    },
    {"training", "autodetect"},
    {"learning", "decisions", "structured"},
    {"llm"},
    {"async_engine"},
    # A backend is a face of the whole engine, so the native one stands over `llm`.
    {"backends", "chat", "reasoning", "evaluating"},
    {"serve", "client"},
    {"cli", "integrations"},
    {"__init__", "__main__"},
]


def written(beginning: str) -> list[set[str]]:
    """The levels of a sentence in docs/architecture.md, which arrows part."""
    page = (sources.ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    sentence = page.partition(beginning)[2]
    sentence = re.split(r"[;.](?=\s)", sentence)[0]
    return [set(re.findall(r"[\w.]+", names)) for names in sentence.split("→")]


def test_the_page_has_the_same_tables() -> None:
    page = (sources.ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `rust/(\w+)` \|.*\|(.*)\|$", page, re.M)
    assert {name: set(re.findall(r"\w+", below)) for name, below in rows} == CRATES
    assert written("Inside the core, low to high:") == CORE
    # Of the package there is no word of what is of all levels: the extension, and the package's own head.
    assert written("Inside the package:") == [names - {"_native"} for names in PACKAGE[:-1]]


def test_the_tables_have_no_row_of_what_there_is_not() -> None:
    core = {path.stem for path in (sources.RUST / "core" / "src").iterdir()}
    assert set().union(*CORE) <= core
    package = {sources.module_name(path).removeprefix("ruvllm.") for path in sources.python_files()}
    assert set().union(*PACKAGE) - {"_native", "__init__"} <= package


def crate_dependencies(crate: Path) -> set[str]:
    manifest = (crate / "Cargo.toml").read_text(encoding="utf-8")
    section = re.search(r"^\[dependencies\]\n(.*?)(?=^\[|\Z)", manifest, re.M | re.S)
    return set(re.findall(r"^ruvllm-(\w+)", section.group(1), re.M)) if section else set()


def core_uses(path: Path) -> set[str]:
    """The top-level modules of the core that a file names, `use crate::{a, b::C}` included."""
    source = sources.strip_comments_and_strings(
        sources.without_tests(path.read_text(encoding="utf-8")),
    )
    used = set(re.findall(r"\bcrate::(\w+)", source))
    for group in re.findall(r"\buse crate::\{(.*?)\};", source, re.S):
        used |= {item.strip().split("::")[0] for item in top_level_items(group)}
    return {name for name in used if name[:1].islower()}


def top_level_items(group: str) -> list[str]:
    while "{" in group:
        group = re.sub(r"\{[^{}]*\}", "", group)
    return [item for item in group.split(",") if item.strip()]


def level(table: list[set[str]], name: str) -> int | None:
    """The level of the longest prefix of a dotted name that the table holds."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        prefix = ".".join(parts[:length])
        for index, names in enumerate(table):
            if prefix in names:
                return index
    return None


@pytest.mark.parametrize("crate", sources.crates(), ids=lambda crate: crate.name)
def test_crates_depend_downwards(crate: Path) -> None:
    assert crate.name in CRATES, f"{crate.name} is not in the table: say what it may depend on"
    assert crate_dependencies(crate) <= CRATES[crate.name]


def core_edges() -> set[tuple[str, str]]:
    edges = set()
    for path in sources.rust_files(sources.RUST / "core"):
        own = path.relative_to(sources.RUST / "core" / "src").with_suffix("").parts[0]
        if own == "lib":
            continue
        edges |= {(own, used) for used in core_uses(path) if used != own}
    return edges


def test_core_modules_use_only_what_stands_below() -> None:
    wrong = []
    for own, used in sorted(core_edges()):
        upper, lower = level(CORE, own), level(CORE, used)
        if upper is None or lower is None:
            wrong.append(f"{own} -> {used}: not in the table")
        elif lower > upper or (own, used) in CORE_NEVER:
            wrong.append(f"{own} -> {used}")
    assert not wrong, wrong


def test_core_modules_have_no_cycles() -> None:
    edges = core_edges()
    remaining = {name for edge in edges for name in edge}
    while remaining:
        leaves = {name for name in remaining if not any(a == name and b in remaining for a, b in edges)}
        assert leaves, f"these use each other in a circle: {sorted(remaining)}"
        remaining -= leaves


def test_package_imports_only_what_stands_below() -> None:
    wrong = []
    for path in sources.python_files():
        own = sources.module_name(path).removeprefix("ruvllm").lstrip(".") or "__init__"
        upper = level(PACKAGE, own)
        if upper is None:
            wrong.append(f"{own}: not in the table")
            continue
        for line, name in sources.imports_of(path):
            if not name.startswith("ruvllm."):
                continue
            lower = level(PACKAGE, name.removeprefix("ruvllm."))
            if lower is None and name.count(".") == 1:
                continue  # a name out of ruvllm/__init__.py: see the next test
            if lower is None or lower > upper:
                wrong.append(f"{path.relative_to(sources.ROOT)}:{line} imports {name}")
    assert not wrong, "\n".join(wrong)


def test_package_modules_do_not_import_the_package_itself() -> None:
    """`from ruvllm import LLM` inside the package would tie every module to all of them."""
    wrong = []
    for path in sources.python_files():
        if path == sources.PACKAGE / "__init__.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            # `from ruvllm import hub` imports the head, too; `import ruvllm.hub as hub` names what it wants.
            if (isinstance(node, ast.ImportFrom) and node.module == "ruvllm") or (
                isinstance(node, ast.Import) and any(one.name == "ruvllm" for one in node.names)
            ):
                wrong.append(f"{path.relative_to(sources.ROOT)}:{node.lineno}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("use crate::kv::{Pool, Table};", {"kv"}),
        ("use crate::{ids::TokenId, kv::{Pool, Table}, Error};", {"ids", "kv"}),
        ("fn f() -> crate::model::Spec {}\n// crate::engine::Engine", {"model"}),
        ('let s = "crate::engine";', set()),
    ],
)
def test_the_reading_of_rust_imports(tmp_path: Path, source: str, expected: set[str]) -> None:
    path = tmp_path / "module.rs"
    path.write_text(source, encoding="utf-8")
    assert core_uses(path) == expected
