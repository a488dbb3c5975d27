"""`ruvllm packs` as users call it, upon real packs and a data folder of the test's own."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from ruvllm.cli import terminal
from ruvllm.cli.app import whole_app
from ruvllm.packs import find_pack, reference_pack
from tests.packs.kernel_cases import ENTRIES
from tests.packs.pack_copies import TRUSTED, copy_pack

pytestmark = pytest.mark.usefixtures("home")
COMMANDS = ["verify", "install", "list", "activate", "rollback", "bench", "sign", "keygen"]
Run = Callable[..., Any]


@pytest.fixture
def packs(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `ruvllm packs` with arguments and give its result: exit_code, stdout, stderr."""
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "110")

    def run(*arguments: object) -> Any:
        terminal._console.cache_clear()
        return CliRunner().invoke(whole_app(), ["packs", *map(str, arguments)], prog_name="ruvllm")

    return run


def test_the_group_is_complete() -> None:
    group = typer.main.get_command(whole_app()).commands["packs"]  # type: ignore[attr-defined]
    assert sorted(group.commands) == sorted(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_teaches_and_flags_have_variables(packs: Run, command: str) -> None:
    result = packs(command, "--help")
    assert result.exit_code == 0
    assert "Examples" in result.stdout
    assert result.stdout.count(f"ruvllm packs {command}") >= 2
    parameters = typer.main.get_command(whole_app()).commands["packs"].commands[command].params  # type: ignore[attr-defined]
    flags = [one for one in parameters if one.opts[0].startswith("--") and one.name != "help"]
    variables = [flag.envvar for flag in flags]
    assert all(isinstance(variable, str) and variable.startswith("RUVLLM_") for variable in variables)
    assert len(set(variables)) == len(variables)


def test_verify(packs: Run) -> None:
    result = packs("verify", "reference")
    assert result.exit_code == 0
    assert "ruvllm-reference 1.0.0" in result.stdout
    values = json.loads(packs("verify", reference_pack(), "--json").stdout)
    assert values["verified"]
    assert sorted(values["kernels"]) == sorted(ENTRIES)


def test_verify_refuses_with_the_reason(packs: Run, my_pack: Path) -> None:
    result = packs("verify", my_pack)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "refused: NoTrustedKey:" in result.stderr
    assert packs("verify", my_pack, "--trusted-keys", TRUSTED).exit_code == 0

    (my_pack / ENTRIES["rope_f32"]["path"]).write_bytes(b"\0asm\1\0\0\0")
    result = packs("verify", my_pack, "--trusted-keys", TRUSTED, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["reason"] == "HashMismatch"


def test_wrong_keys_are_wrong_usage(packs: Run, my_pack: Path) -> None:
    assert packs("verify", my_pack, "--trusted-keys", "hello").exit_code == 2


def test_what_is_not_there(packs: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = packs("verify", "no-such-pack")
    assert result.exit_code == 1
    assert "not installed" in result.stderr


def test_the_way_of_a_pack(packs: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Made, signed, installed, upgraded, gone back from."""
    public = packs("keygen", tmp_path / "my.key").stdout.strip()
    assert re.fullmatch(r"ed25519:[A-Za-z0-9+/]{43}=", public)
    monkeypatch.setenv("RUVLLM_TRUSTED_KEYS", public)
    for version in ("1.0.0", "1.1.0"):
        pack = tmp_path / f"pack-{version}"
        copy_pack(
            pack, version=version, change=lambda manifest: manifest["author"].update(signing_key=public)
        )
        # Still signed by the test's own key.
        assert packs("install", pack).exit_code == 1
        assert packs("sign", pack, "--key", tmp_path / "my.key").stdout.strip() == public
        result = packs("install", pack)
        assert (result.exit_code, result.stdout) == (0, f"my-pack@{version}\n")
    assert find_pack("my-pack").name == "1.0.0"
    assert packs("activate", "my-pack@1.1.0").stdout == "my-pack@1.1.0\n"
    assert find_pack("my-pack").name == "1.1.0"

    refused = packs("activate", "my-pack@1.0.0")
    assert refused.exit_code == 1
    assert "older than 1.1.0" in refused.stderr
    assert find_pack("my-pack").name == "1.1.0"

    assert packs("rollback", "my-pack").stdout == "my-pack@1.0.0\n"
    rows = json.loads(packs("list", "--json").stdout)["packs"]
    assert [(row["version"], row["chosen"]) for row in rows] == [("1.1.0", False), ("1.0.0", True)]
    assert packs("activate", "my-pack@1.1.0").exit_code == 0
    assert packs("activate", "my-pack@1.0.0", "--allow-downgrade").exit_code == 0


def test_nothing_to_go_back_to(packs: Run, my_pack: Path) -> None:
    assert packs("install", my_pack, "--trusted-keys", TRUSTED).exit_code == 0
    result = packs("rollback", "my-pack", "--trusted-keys", TRUSTED)
    assert result.exit_code == 1
    assert "no version of my-pack to go back to" in result.stderr


def test_list_names_the_reference(packs: Run, my_pack: Path) -> None:
    packs("install", my_pack, "--trusted-keys", TRUSTED)
    lines = packs("list").stdout.splitlines()
    assert lines[1].split()[0] == "reference"
    assert lines[2].split()[:3] == ["my-pack", "1.0.0", "*"]


def test_bench_measures_every_operation(packs: Run) -> None:
    result = packs("bench", "--repeat", "2", "--json")
    assert result.exit_code == 0, result.stderr
    rows = {row["operation"]: row for row in json.loads(result.stdout)["microseconds"]}
    assert {"rmsnorm_f32", "rope_f32", "swiglu_f32", "kv_pack_q4", "lora_apply_f32"} <= set(rows)
    assert all(row["pack"] > 0 for row in rows.values())
    assert rows["rmsnorm_f32"]["ratio"] == rows["rmsnorm_f32"]["pack"] / rows["rmsnorm_f32"]["native"]
    assert rows["lora_apply_f32"]["native"] is None
    assert "rmsnorm_f32" in packs("bench", "--repeat", "1").stdout
