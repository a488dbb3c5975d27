"""Which files of a crate use which others, read from their paths.

A small reader of Rust, enough for paths that begin at the crate, at the module or its parent, or with the
name of a child. What is named through a re-export counts for the file that defines it, and a re-export
alone is no use. Calls of methods name no file and are not seen; tests are left out.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from tests.architecture import sources

Module = tuple[str, ...]
File = TypeVar("File", str, Module)

TOKENS = re.compile(r"::|\w+|[^\s\w]")
CONDITIONAL_TEST = re.compile(
    r"^( *)#\[cfg\(test\)\]\n(?: *#\[.*\]\n)*\1(?:pub(?:\([^)]*\))? )?mod \w+;\n", re.M
)


@dataclass
class Use:
    """One name that a `use` brings in, `*` for all, and the path behind it; None: another crate's."""

    path: Module | None
    name: str
    is_public: bool


@dataclass
class Reading:
    """What a file says, paths made absolute where they can be."""

    children: set[str] = field(default_factory=set)
    uses: list[Use] = field(default_factory=list)
    paths: list[Module] = field(default_factory=list)
    """Those in code that begin with `crate`, `self`, `super` or a child."""
    named: list[Module] = field(default_factory=list)
    """Those that begin with any other name."""
    words: list[str] = field(default_factory=list)
    """Every word outside of `use`."""


def modules(crate: Path) -> dict[Module, Path]:
    """The module of each file of a crate's own code; () is its root."""
    found = {}
    for path in sources.rust_files(crate):
        parts = path.relative_to(crate / "src").with_suffix("").parts
        if parts[-1] in ("mod", "lib", "main"):
            parts = parts[:-1]
        found[parts] = path
    return found


def read(source: str, module: Module) -> Reading:
    """Reads one file, which is `module`."""
    code = CONDITIONAL_TEST.sub("", sources.without_tests(source))
    return Reader(TOKENS.findall(sources.strip_comments_and_strings(code)), module).reading


class Reader:
    """Goes through the words and signs of one file."""

    def __init__(self, tokens: list[str], module: Module) -> None:
        triples = zip(tokens, tokens[1:], tokens[2:], strict=False)
        children = {name for mod, name, end in triples if (mod, end) == ("mod", ";")}
        self.reading = Reading(children)
        self.tokens = tokens
        self.module = module
        self.inline: list[
            tuple[int, str]
        ] = []  # blocks `mod name { .. }` that are open, with the depth outside
        self.depth = place = 0
        while place < len(tokens):
            place = self.step(place) + 1

    def step(self, place: int) -> int:
        """Reads what begins at a place; where it ends."""
        token = self.tokens[place]
        if token == "use" and (place == 0 or self.tokens[place - 1] in (";", "{", "}", ")", "]", "pub")):
            return self.use(place)
        if token == "pub" and self.tokens[place + 1 : place + 2] == ["("]:
            return self.tokens.index(")", place)
        if token == "mod" and {"{", ";"} & set(self.tokens[place + 1 : place + 4]):
            # The name may be a macro's: `mod $name {`.
            place += 2 if self.tokens[place + 1] != "$" else 3
            if self.tokens[place] == "{":
                self.inline.append((self.depth, self.tokens[place - 1]))
        if self.tokens[place] in "{}":
            self.brace(self.tokens[place])
            return place
        return self.path(place) if is_word(token) else place

    @property
    def here(self) -> Module:
        return (*self.module, *(name for _, name in self.inline))

    def brace(self, token: str) -> None:
        self.depth += 1 if token == "{" else -1
        if self.inline and self.inline[-1][0] == self.depth:
            self.inline.pop()

    def use(self, place: int) -> int:
        is_public = place > 0 and self.tokens[place - 1] in (")", "pub") and not self.inline
        end = self.tokens.index(";", place)
        children = set() if self.inline else self.reading.children
        for path, name in tree(self.tokens[place + 1 : end]):
            self.reading.uses.append(Use(absolute(path, self.here, children), name, is_public))
        return end

    def path(self, place: int) -> int:
        path = [self.tokens[place]]
        while self.tokens[place + 1 : place + 2] == ["::"] and is_word(
            "".join(self.tokens[place + 2 : place + 3])
        ):
            path.append(self.tokens[place + 2])
            place += 2
        self.reading.words.extend(path)
        target = absolute(tuple(path), self.here, self.reading.children)
        if len(path) > 1:
            (self.reading.paths if target else self.reading.named).append(target or tuple(path))
        return place


def is_word(token: str) -> bool:
    return bool(re.fullmatch(r"[A-Za-z_]\w*", token))


def tree(tokens: list[str], before: Module = ()) -> Iterator[tuple[Module, str]]:
    """(path, name) of everything that the tokens between `use` and `;` bring in, nested braces included."""
    path, place = before, 0
    while place < len(tokens):
        token = tokens[place]
        if token == "{":
            end = closing(tokens, place)
            for item in split(tokens[place + 1 : end]):
                yield from tree(item, path)
            return
        if token == "as":
            yield path, tokens[place + 1]
            return
        if is_word(token) or token == "*":
            # `a::{self}` is a itself.
            path = path if token == "self" and path else (*path, token)
        place += 1
    if path:
        yield path, path[-1]


def closing(tokens: list[str], place: int) -> int:
    depth = 0
    for index in range(place, len(tokens)):
        depth += {"{": 1, "}": -1}.get(tokens[index], 0)
        if depth == 0:
            return index
    raise ValueError("a brace is not closed")


def split(tokens: list[str]) -> Iterator[list[str]]:
    """The items between the commas of one level."""
    depth = 0
    item: list[str] = []
    for token in tokens:
        depth += {"{": 1, "}": -1}.get(token, 0)
        if token == "," and depth == 0:
            yield item
            item = []
        else:
            item.append(token)
    if item:
        yield item


def absolute(path: Module, here: Module, children: set[str]) -> Module | None:
    """The path from the crate's root; None where it begins somewhere else."""
    if path[0] == "crate":
        return path[1:]
    if path[0] == "self":
        return (*here, *path[1:])
    if path[0] == "super":
        while path and path[0] == "super":
            here, path = here[:-1], path[1:]
        return (*here, *path)
    return (*here, *path) if path[0] in children else None


class Crate:
    """The files of a crate and what they say."""

    def __init__(self, files: Mapping[Module, str]) -> None:
        """`files`: the source of each module that is a file."""
        self.readings = {module: read(source, module) for module, source in files.items()}

    def edges(self) -> set[tuple[Module, Module]]:
        """(who, whom) of all files that use another one."""
        found = set()
        for module, reading in self.readings.items():
            paths = list(reading.paths)
            brought = {use.name: use.path for use in reading.uses if use.path}
            paths += [brought[path[0]] + path[1:] for path in reading.named if path[0] in brought]
            for use in reading.uses:
                # A module that was brought in is used where a path begins with it.
                if (
                    use.path
                    and use.path not in self.readings
                    and (not use.is_public or use.name in reading.words)
                ):
                    paths.append(use.path)
            found |= {(module, target) for path in paths for target in self.defined_in(path)}
        return {(own, used) for own, used in found if own != used}

    def defined_in(self, path: Module, seen: frozenset[Module] = frozenset()) -> set[Module]:
        """The files that define what a path names: one, or those behind a `*`."""
        if path in seen:
            return set()
        seen |= {path}
        for length in range(len(path), -1, -1):
            module = path[:length]
            if module in self.readings:
                break
        else:
            return set()
        reading, rest = self.readings[module], path[length:]
        if not rest:
            return {module}
        for use in reading.uses:
            if use.name == rest[0] and use.path != path:
                return self.defined_in((*use.path, *rest[1:]), seen) if use.path else set()
        if rest[0] == "*":
            named = [use.path for use in reading.uses if use.is_public and use.path and use.name != "*"]
            return {module}.union(*(self.defined_in(named_path, seen) for named_path in named))
        return {module}


def circles(edges: set[tuple[File, File]]) -> list[set[File]]:
    """The sets of files that reach one another, the largest first."""
    reached = {own: {used for who, used in edges if who == own} for own, _ in edges}
    grew = True
    while grew:
        grew = False
        for own, all_used in reached.items():
            more = set().union(*(reached.get(used, set()) for used in all_used)) - all_used
            if more:
                reached[own] = all_used | more
                grew = True
    found: list[set[File]] = []
    for own in sorted(reached):
        circle = {other for other in reached[own] if own in reached.get(other, set())}
        if circle and circle not in found:
            found.append(circle)
    return sorted(found, key=len, reverse=True)
