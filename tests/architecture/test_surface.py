"""The public surface: the extension is wholly used and private, public names are documented, one version."""

import ast
import functools
import importlib.metadata
import re
import subprocess
import sys

import pytest

from tests.architecture import sources

# Imported when they are needed; `import ruvllm` alone loads none of them.
LATE = {"typer", "rich", "prompt_toolkit", "minijinja", "fastapi", "uvicorn", "click"}


def native_names() -> list[str]:
    """The names that the stub of the extension defines."""
    names = []
    for node in ast.parse((sources.PACKAGE / "_native.pyi").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names.append(node.name)
        elif isinstance(node, ast.Assign):
            names += [target.id for target in node.targets if isinstance(target, ast.Name)]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.append(node.target.id)
    return names


def used_native_names() -> set[str]:
    """Names of the extension that the package imports or reads as attributes of `_native`."""
    used = set()
    for path in sources.python_files():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[-1] == "_native":
                used |= {alias.name for alias in node.names}
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name | ast.Attribute):
                owner = node.value.id if isinstance(node.value, ast.Name) else node.value.attr
                if owner in ("_native", "native"):
                    used.add(node.attr)
    return used


@functools.cache
def reachable_native_names() -> set[str]:
    """The used names, and the names that stand in the stub's annotations of a reachable one."""
    tree = ast.parse((sources.PACKAGE / "_native.pyi").read_text(encoding="utf-8"))
    mentions: dict[str, set[str]] = {}
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names = {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}
            mentions[node.name] = names
        elif isinstance(node, ast.Assign):
            names = {inner.id for inner in ast.walk(node.value) if isinstance(inner, ast.Name)}
            mentions.update({target.id: names for target in node.targets if isinstance(target, ast.Name)})
    reachable = used_native_names()
    while new := {name for known in reachable for name in mentions.get(known, ())} - reachable:
        reachable |= new
    return reachable


@pytest.mark.parametrize("name", native_names())
def test_every_native_name_has_a_python_face(name: str) -> None:
    assert name in reachable_native_names(), f"nothing in the package leads to _native.{name}"


def test_no_native_name_is_public() -> None:
    import ruvllm

    homes = {name: getattr(getattr(ruvllm, name), "__module__", None) for name in ruvllm.__all__}
    assert not [name for name, home in homes.items() if home == "ruvllm._native"]


def test_public_names_exist_and_are_documented() -> None:
    import ruvllm

    assert len(set(ruvllm.__all__)) == len(ruvllm.__all__)
    undocumented = []
    for name in ruvllm.__all__:
        value = getattr(ruvllm, name)
        own = value.__dict__.get("__doc__") if isinstance(value, type) else getattr(value, "__doc__", None)
        # A dataclass without a docstring gets its signature for one.
        if not isinstance(value, str) and (not own or own.startswith(f"{name}(")):
            undocumented.append(name)
    assert not undocumented


def test_one_version() -> None:
    import ruvllm

    workspace = (sources.ROOT / "Cargo.toml").read_text(encoding="utf-8")
    section = re.search(r"^\[workspace\.package\]\n(.*?)^\[", workspace, re.M | re.S)
    assert section
    version = re.search(r'^version = "(.+)"$', section.group(1), re.M)
    assert version
    assert importlib.metadata.version("ruvllm") == version.group(1)
    assert ruvllm.__version__ == version.group(1)
    for crate in sources.crates():
        assert "version.workspace = true" in (crate / "Cargo.toml").read_text(encoding="utf-8"), crate.name


def test_a_bare_import_is_light() -> None:
    program = "import sys, ruvllm; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not result.stderr
    assert not set(result.stdout.split()) & LATE
