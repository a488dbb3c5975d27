"""What is in a build and what is not: features take whole parts out, and those must be gone."""

import shutil
import subprocess

import pytest

from tests.architecture import sources

# Containers that Wasmtime's runtime uses; they compile nothing.
CONTAINERS = {"cranelift-bforest", "cranelift-bitset", "cranelift-entity"}


def crates_of(package: str, *features: str) -> set[str]:
    """The crates that a build of a package links, by Cargo's own account."""
    if shutil.which("cargo") is None:
        pytest.skip("no cargo")
    command = ["cargo", "tree", "--offline", "--package", package, *features]
    done = subprocess.run(
        [*command, "--edges", "normal", "--prefix", "none"],
        cwd=sources.ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        # Where nothing was ever built there are no crates to look at.
        pytest.skip(f"cargo tree: {done.stderr[-200:]}")
    return {line.split()[0] for line in done.stdout.splitlines()}


def test_a_small_device_has_no_compiler() -> None:
    crates = crates_of("ruvllm-packs", "--no-default-features", "--features", "precompiled")
    assert {"wasmtime", "pulley-interpreter", "ed25519-dalek"} <= crates
    assert not {name for name in crates if "cranelift" in name} - CONTAINERS
    assert "regalloc2" not in crates


def test_a_server_has_one() -> None:
    assert {"wasmtime-internal-cranelift", "cranelift-codegen", "regalloc2"} <= crates_of("ruvllm-packs")


def test_an_extension_without_packs_has_no_webassembly() -> None:
    crates = crates_of("ruvllm-py", "--no-default-features")
    assert "ruvllm-core" in crates
    assert not {name for name in crates if name.startswith(("wasm", "cranelift", "ruvllm-packs"))}
