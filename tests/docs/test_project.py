"""What stands around the code: actions, licences of crates, the container file, the program, the policies."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

import ruvllm

try:
    import tomllib
except ModuleNotFoundError:  # before Python 3.11; pytest brings it there
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
# By what its publisher moves on, since nothing here knows a commit of it for sure.
BY_TAG = {"pypa/gh-action-pypi-publish@release/v1"}


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_named_by_their_commit(path: Path) -> None:
    used = re.findall(r"uses: (\S+)(.*)", path.read_text(encoding="utf-8"))
    assert used
    for action, behind in used:
        if action not in BY_TAG:
            assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action), action
            assert re.fullmatch(r" # v?\d+(\.\d+)+", behind), f"{action}: say which version that is"


def test_one_action_is_one_commit_everywhere() -> None:
    used = {one for path in WORKFLOWS for one in re.findall(r"uses: (\S+)", path.read_text(encoding="utf-8"))}
    assert len({one.partition("@")[0] for one in used}) == len(used)


def test_the_workflows_and_forms_are_yaml() -> None:
    for path in (ROOT / ".github").rglob("*.yml"):
        assert yaml.safe_load(path.read_text(encoding="utf-8")), path


def test_the_cache_of_models_is_of_the_file_that_names_them() -> None:
    """Its key is a hash of it: a model that changed is fetched anew."""
    hashed = [
        one
        for path in WORKFLOWS
        for one in re.findall(r"key: models-\$\{\{ hashFiles\('(\S+)'\)", path.read_text(encoding="utf-8"))
    ]
    assert hashed
    for name in [
        *hashed,
        *re.findall(r"on the package index\*\*: an entry in `(\S+)`", read("CONTRIBUTING.md")),
    ]:
        assert re.search(r"^DEFAULT_REGISTRY\b.*= ", read(name), re.M), name


def test_a_wheel_is_tried_on_the_oldest_python_and_the_newest() -> None:
    project = tomllib.loads(read("pyproject.toml"))["project"]
    versions = [one.rpartition(" ")[2] for one in project["classifiers"] if " :: 3." in one]
    steps = yaml.safe_load(read(".github/workflows/wheels.yml"))["jobs"]["wheel"]["steps"]
    [tried] = [step["run"] for step in steps if "installed_wheel" in step.get("run", "")]
    assert re.findall(r"python(3\.\d+)", tried) == [versions[0], versions[-1]]


def test_ci_builds_the_site_and_looks_for_holes() -> None:
    steps = [
        step
        for job in yaml.safe_load(read(".github/workflows/ci.yml"))["jobs"].values()
        for step in job["steps"]
    ]
    run = [step["run"] for step in steps if "run" in step]
    assert "make docs" in run
    assert any(one.startswith("pip-audit ") and "tests/constraints.txt" in one for one in run)
    assert any("cargo-deny-action" in step.get("uses", "") for step in steps)


# -- licences of crates


def satisfied(expression: str, allowed: set[str]) -> bool:
    """Whether an SPDX expression can be met by what is allowed; a slash is the old way to write "or"."""
    tokens = re.findall(r"\(|\)|[\w.+-]+", expression.replace("/", " OR "))

    def either() -> bool:
        met = both()
        while tokens and tokens[0] == "OR":
            tokens.pop(0)
            met = both() or met
        return met

    def both() -> bool:
        met = one()
        while tokens and tokens[0] == "AND":
            tokens.pop(0)
            met = one() and met
        return met

    def one() -> bool:
        name = tokens.pop(0)
        if name == "(":
            met = either()
            assert tokens.pop(0) == ")"
            return met
        if tokens and tokens[0] == "WITH":
            name = f"{name} WITH {tokens[1]}"
            del tokens[:2]
        return name in allowed

    met = either()
    assert not tokens, expression
    return met


@pytest.mark.parametrize(
    ("expression", "met"),
    [
        ("MIT", True),
        ("GPL-3.0", False),
        ("GPL-3.0 OR MIT", True),
        ("GPL-3.0/MIT", True),
        ("GPL-3.0 AND MIT", False),
        ("(GPL-3.0 OR MIT) AND Zlib", True),
        ("Apache-2.0 WITH LLVM-exception", False),
        ("MIT AND (GPL-3.0 OR Zlib)", True),
    ],
)
def test_expressions_are_read_right(expression: str, met: bool) -> None:
    assert satisfied(expression, {"MIT", "Zlib", "Apache-2.0"}) is met


@pytest.mark.parametrize("workspace", [".", "candle"])
def test_the_licences_of_crates_are_those_that_are_allowed(workspace: str) -> None:
    """As the crates say themselves; each that is allowed is needed."""
    if shutil.which("cargo") is None:
        pytest.skip("no cargo")
    command = ["cargo", "metadata", "--offline", "--locked", "--all-features", "--format-version", "1"]
    done = subprocess.run(command, cwd=ROOT / workspace, capture_output=True, encoding="utf-8", check=False)
    if done.returncode:
        pytest.skip(f"the crates are not here: {done.stderr[-200:]}")
    crates = {
        f"{one['name']} {one['version']}": one["license"] for one in json.loads(done.stdout)["packages"]
    }
    assert len(crates) > 100
    allowed = set(tomllib.loads(read(f"{workspace}/deny.toml"))["licenses"]["allow"])
    assert {name: said for name, said in crates.items() if not satisfied(said, allowed)} == {}
    for one in allowed:
        less = allowed - {one}
        assert not all(satisfied(said, less) for said in crates.values()), f"nothing needs {one}"


def test_both_licences_are_here() -> None:
    project = tomllib.loads(read("pyproject.toml"))["project"]
    assert project["license"] == "MIT OR Apache-2.0"
    assert "Permission is hereby granted, free of charge" in read(project["license-files"][0])
    assert "Apache License" in read(project["license-files"][1])


# -- the container


def test_the_container_runs_as_nobody_and_says_how_it_is() -> None:
    lines = read("Containerfile").splitlines()
    second = lines[[number for number, line in enumerate(lines) if line.startswith("FROM ")][1] :]
    assert [line for line in second if line.startswith("USER ")] == ["USER 10001"]
    assert any(line.startswith("HEALTHCHECK ") for line in second)
    assert any("/health" in line for line in second)
    command = json.loads(next(line for line in second if line.startswith("CMD [")).removeprefix("CMD "))
    assert command[0] == "serve"
    rust = re.search(r'^rust-version = "([\d.]+)"', read("Cargo.toml"), re.M)
    assert rust is not None
    assert f"rust:{rust[1]}-" in read("Containerfile")


# -- the entry point, and what is said of versions


def test_the_program_of_the_package_is_one_that_is_there() -> None:
    """By which `uvx ruvllm chat` finds it: a program of the package's own name."""
    module, _, name = tomllib.loads(read("pyproject.toml"))["project"]["scripts"]["ruvllm"].partition(":")
    assert callable(getattr(__import__(module, fromlist=[name]), name))


def test_what_uvx_is_told_is_a_program_and_an_extra_of_the_package() -> None:
    project = tomllib.loads(read("pyproject.toml"))["project"]
    told = re.findall(r"`uvx ([^`]+)`", read("README.md"))
    assert len(told) == 3
    for line in told:
        *source, program, command = line.split()
        assert (program in project["scripts"], command in ("chat", "serve")) == (True, True), line
        for extra in re.findall(r"\[(\w+)\]", "".join(source)):
            assert extra in project["optional-dependencies"]


def test_the_changelog_knows_the_version() -> None:
    text = read("CHANGELOG.md")
    released = re.findall(r"^## \[?(\d+\.\d+\.\d+)", text, re.M)
    assert "## Unreleased" in text
    if not released:
        assert "Nothing has been released yet" in text
        assert ruvllm.__version__ in text
    else:
        assert ruvllm.__version__ == released[0]


def test_the_page_of_exactness_names_tests_that_are_there() -> None:
    named = re.findall(r"`((?:tests|rust)/[\w/]+\.(?:py|rs))`", read("docs/exactness.md"))
    assert len(named) > 12
    assert [name for name in named if not (ROOT / name).is_file()] == []


def test_policies_say_where_to_turn() -> None:
    assert "docs/security.md" in read("SECURITY.md")
    for name in ("SECURITY.md", "CODE_OF_CONDUCT.md"):
        assert "Report a vulnerability" in read(name)
