"""Which names the reference has: those that packages say are public, read from sources and not imported."""

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "python" / "ruvllm"
# The first page is the package itself; the others are what it has under a name of its own.
ROOM = "ruvllm"
ROOMS = (
    "adapters",
    "autodetect",
    "backends",
    "caching",
    "chat",
    "client",
    "decisions",
    "errors",
    "evaluating",
    "hub",
    "kernels",
    "learning",
    "packs",
    "reasoning",
    "serve",
    "structured",
    "text",
    "tools",
    "training",
)


def public_names(room: str) -> list[str]:
    """`__all__` of a room, but for modules that it passes on, and the version, which is no object."""
    for node in parsed(room).body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if any(isinstance(one, ast.Name) and one.id == "__all__" for one in targets):
            names: list[str] = ast.literal_eval(node.value)  # type: ignore[union-attr]
            return [name for name in names if name not in (*ROOMS, "__version__")]
    raise SystemExit(f"{room} has no __all__")


@functools.cache
def parsed(module: str) -> ast.Module:
    """The source of a module, or of the package of that name."""
    path = PACKAGE.joinpath(*module.split(".")[1:] if module != ROOM else ())
    source = path.with_suffix(".py") if path.with_suffix(".py").is_file() else path / "__init__.py"
    return ast.parse(source.read_text(encoding="utf-8"))


def origin(module: str, name: str) -> tuple[str, str]:
    """Where a name is defined that modules pass on: two of one name may be two things."""
    for node in ast.walk(parsed(module)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{ROOM}."):
            for one in node.names:
                if (one.asname or one.name) == name:
                    return origin(node.module or "", one.name)
    return module, name


def told_elsewhere() -> Iterator[tuple[str, str]]:
    """Names of the package itself that a room's page tells, with the module of that page."""
    places = {origin(module, name): module for module, names in pages() for name in names}
    for name in public_names(ROOM):
        if (module := places[origin(ROOM, name)]) != ROOM:
            yield name, module


def pages() -> Iterator[tuple[str, list[str]]]:
    """Each page's module and the names that are told there: each thing once, the package's own page last."""
    told: set[tuple[str, str]] = set()
    for module in (*(f"{ROOM}.{room}" for room in ROOMS), ROOM):
        origins = {name: origin(module, name) for name in public_names(module)}
        yield module, [name for name, one in origins.items() if one not in told]
        told |= set(origins.values())
