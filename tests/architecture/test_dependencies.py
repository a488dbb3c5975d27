"""What is installed with the package: bounds for users, one constraints file for what our own CI runs."""

import re
import shutil
import subprocess
from typing import Any

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.architecture import sources

try:
    import tomllib
except ModuleNotFoundError:  # before Python 3.11; pytest brings it there
    import tomli as tomllib

PROJECT: dict[str, Any] = tomllib.loads((sources.ROOT / "pyproject.toml").read_text(encoding="utf-8"))[
    "project"
]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
# What users install, and what is installed to develop.
FOR_USERS = [
    *PROJECT["dependencies"],
    *EXTRAS["serve"],
    *EXTRAS["kernels"],
    *EXTRAS["bank"],
    *EXTRAS["mistralrs"],
    *EXTRAS["ray"],
]
# Made here, so that no constraints file can name it.
OF_OURS = EXTRAS["candle"]
TO_DEVELOP = [*FOR_USERS, *EXTRAS["test"], *EXTRAS["dev"]]
# Calls every larger release a major one; see pyproject.toml.
UNBOUNDED = {"cryptography"}
PYTHONS = [one.rpartition(" ")[2] for one in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", one)]
SYSTEMS = [("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64"), ("win32", "AMD64")]


def parsed(texts: list[str]) -> list[Requirement]:
    """Requirements, without the package's own extras."""
    return [one for one in map(Requirement, texts) if one.name != PROJECT["name"]]


def pins() -> list[Requirement]:
    lines = (sources.ROOT / "tests" / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if not line.startswith("#")]


def environment(python: str, system: str, machine: str) -> dict[str, str]:
    known = {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "sys_platform": system,
        "platform_machine": machine,
        "os_name": "nt" if system == "win32" else "posix",
    }
    return {**default_environment(), **known}  # type: ignore[dict-item]


@pytest.mark.parametrize("wanted", parsed([*FOR_USERS, *OF_OURS]), ids=lambda wanted: wanted.name)
def test_what_users_install_is_bounded(wanted: Requirement) -> None:
    operators = {one.operator for one in wanted.specifier}
    if wanted.name in UNBOUNDED:
        assert operators == {">="}
    else:
        assert operators & {"<", "=="}, f"{wanted} takes any major version that may come"


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize(("system", "machine"), SYSTEMS)
def test_everything_has_one_version_in_the_constraints(python: str, system: str, machine: str) -> None:
    """On every Python and system of the classifiers, and one that pyproject.toml allows."""
    where = environment(python, system, machine)
    versions: dict[str, list[str]] = {}
    for pin in pins():
        if pin.marker is None or pin.marker.evaluate(where):
            versions.setdefault(canonicalize_name(pin.name), []).append(str(pin.specifier))
    assert {name: found for name, found in versions.items() if len(found) != 1} == {}
    for wanted in parsed(TO_DEVELOP):
        if wanted.marker is None or wanted.marker.evaluate(where):
            (pin,) = versions.get(canonicalize_name(wanted.name), ["missing"])
            assert pin.startswith("=="), f"{wanted}: {pin} in tests/constraints.txt; run make constraints"
            assert wanted.specifier.contains(pin[2:]), f"{wanted} is {pin} there; run make constraints"


@pytest.mark.parametrize(
    ("setting", "variable"),
    [([], "PIP_CONSTRAINT='tests/constraints.txt'"), (["CONSTRAINTS="], "PIP_CONSTRAINT=''")],
)
def test_make_sets_up_within_the_constraints(setting: list[str], variable: str) -> None:
    """All that pip is asked, by make or by maturin, but what writes the constraints themselves."""
    if shutil.which("make") is None:
        pytest.skip("no make")
    command = ["make", "--dry-run", "--always-make", "setup", *setting]
    done = subprocess.run(command, cwd=sources.ROOT, capture_output=True, text=True, check=True)
    # Some of them twice where nothing is set up yet: make asks itself for what it needs first.
    asking = {
        line for line in done.stdout.splitlines() if re.search(r"-m pip install|\bmaturin develop", line)
    }
    assert len(asking) == 3, done.stdout
    assert {line for line in asking if variable not in line} == set()


def test_something_tries_the_newest_of_everything() -> None:
    """On the lowest and the newest Python, by a clock."""
    workflow = (sources.ROOT / ".github" / "workflows" / "newest.yml").read_text(encoding="utf-8")
    assert re.search(r"^  schedule:\n    - cron: ", workflow, re.M)
    assert re.search(r"^      - run: make test CONSTRAINTS=$", workflow, re.M)
    assert re.findall(r'"(3\.\d+)"', workflow) == [PYTHONS[0], PYTHONS[-1]]
