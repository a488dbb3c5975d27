"""The committed pack is what its sources give, byte for byte, and is signed with the trusted key."""

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ruvllm.errors import PackError
from ruvllm.packs import KernelPack
from tests.packs.pack_copies import KEY, TRUSTED

ROOT = Path(__file__).resolve().parents[2]
KERNELS = Path("rust/packs/kernels")
PACKS = Path("python/ruvllm/packs")
PACK = PACKS / "kernel-pack-v1.0.0"


RELEASE_KEY = ROOT / PACKS / "trusted_keys" / "ruvllm-release.pub"


def make_pack(root: Path, key: Path) -> subprocess.CompletedProcess[str]:
    """What `make pack KEY=...` runs, in a tree that has no virtual environment of its own."""
    recipe = re.search(
        r"^pack: .*\n\t\$\(BIN\)/python (\S+) (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M
    )
    assert recipe, "the recipe of make pack is another one"
    assert recipe[1] == (KERNELS / "build.py").as_posix()
    arguments = recipe[2].replace("$(if $(KEY),--key '$(KEY)')", f"--key {key}")
    assert "$" not in arguments, arguments
    return build(root, *arguments.split())


def signing_step(root: Path, temporary: Path, secret: str) -> subprocess.CompletedProcess[str]:
    """The release workflow's own script, as its runner calls it."""
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "wheels.yml").read_text(encoding="utf-8"))
    (step,) = [one for one in workflow["jobs"]["pack"]["steps"] if "RUVLLM_PACK_KEY" in one.get("env", {})]
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    own = {"PYTHONDONTWRITEBYTECODE": "1", "RUNNER_TEMP": str(temporary), "RUVLLM_PACK_KEY": secret}
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", step["run"]],
        cwd=root, capture_output=True, text=True, check=False, timeout=55,
        env={**os.environ, "PATH": programs, **own},
    )  # fmt: skip


def build(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The build script of a tree, with its sources as they are there."""
    command = [sys.executable, "-B", str(root / KERNELS / "build.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=55)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of all that the build reads and writes."""
    for folder in (KERNELS, PACKS):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_a_rebuild_gives_the_committed_bytes() -> None:
    done = build(ROOT, "--check")
    assert done.returncode == 0, done.stderr
    assert "13 modules" in done.stdout


def test_a_rebuild_in_another_place_changes_nothing(tree: Path) -> None:
    before = {path: path.read_bytes() for path in tree.rglob("*") if path.is_file()}
    done = build(tree, "--write")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert {path: path.read_bytes() for path in tree.rglob("*") if path.is_file()} == before


def test_a_changed_source_is_noticed(tree: Path) -> None:
    source = tree / KERNELS / "swiglu.c"
    source.write_text(source.read_text(encoding="utf-8").replace("0.044715f", "0.044714f"), encoding="utf-8")
    done = build(tree, "--check")
    assert done.returncode == 1
    assert "swiglu_f32.wasm" in done.stderr
    assert "rope_f32.wasm" not in done.stderr


@pytest.mark.parametrize("name", ["rope/rope_f32.wasm", "kernels.json", "kernels.json.sig"])
def test_a_changed_file_of_the_pack_is_noticed(tree: Path, name: str) -> None:
    path = tree / PACK / name
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    done = build(tree, "--check")
    assert done.returncode == 1
    assert name in done.stderr


def test_a_file_too_many_is_noticed(tree: Path) -> None:
    (tree / PACK / "extra.wasm").touch()
    assert "extra.wasm" in build(tree, "--check").stderr


def test_the_signature_is_the_trusted_keys() -> None:
    """Without the build's own code: 64 raw bytes over the manifest as it is."""
    manifest, signature = (
        (ROOT / PACK / "kernels.json").read_bytes(),
        (ROOT / PACK / "kernels.json.sig").read_bytes(),
    )
    text = (ROOT / PACKS / "trusted_keys" / "ruvllm-release.pub").read_text(encoding="ascii").strip()
    assert json.loads(manifest)["author"]["signing_key"] == text
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(text.removeprefix("ed25519:"), validate=True))
    assert len(signature) == 64
    key.verify(signature, manifest)
    with pytest.raises(InvalidSignature):
        key.verify(signature, manifest + b"\n")


def test_the_lock_and_the_manifest_name_the_same_hashes() -> None:
    manifest = json.loads((ROOT / PACK / "kernels.json").read_text(encoding="utf-8"))
    lines = (ROOT / KERNELS / "hashes.lock").read_text(encoding="utf-8").splitlines()
    locked = {path: f"sha256:{digest}" for digest, path in (line.split() for line in lines[2:])}
    assert {entry["path"]: entry["hash"] for entry in manifest["kernels"]} == locked
    for path, expected in locked.items():
        assert f"sha256:{hashlib.sha256((ROOT / PACK / path).read_bytes()).hexdigest()}" == expected
    assert lines[:2] == ["ziglang 0.17.0", f"created_at {manifest['created_at']}"]


class TestKeys:
    """A private key stays outside the tree, is its owner's alone, and is never written over."""

    def test_a_new_key_is_one_command(self, tree: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
        """From no key to a pack that whoever trusts the new key runs, and nobody else."""
        key = tmp_path_factory.mktemp("keys") / "release.key"
        done = make_pack(tree, key)
        assert done.returncode == 0, done.stderr
        if os.name != "nt":
            assert key.stat().st_mode & 0o077 == 0
        assert key.read_text().strip() not in done.stdout + done.stderr
        public = (tree / PACKS / "trusted_keys" / "ruvllm-release.pub").read_text(encoding="ascii").strip()
        pack = KernelPack.verify(tree / PACK, [public])
        assert (pack.name, pack.version, len(pack.kernels)) == ("ruvllm-reference", "1.0.0", 13)
        for keys in ([TRUSTED], [RELEASE_KEY.read_text(encoding="ascii").strip()]):
            with pytest.raises(PackError) as caught:
                KernelPack.verify(tree / PACK, keys)
            assert caught.value.reason == "NoTrustedKey"

    @pytest.mark.skipif(shutil.which("bash") is None or os.name == "nt", reason="the step is Linux's")
    def test_a_release_signs(self, tree: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
        """The step of the workflow as it stands, in a checkout whose manifest waits for its signature."""
        trusted = tree / PACKS / "trusted_keys" / "ruvllm-release.pub"
        trusted.write_text(TRUSTED + "\n", encoding="ascii")
        assert "--key FILE" in build(tree, "--write").stdout
        assert "kernels.json.sig" in build(tree, "--check").stderr
        for command in (["init", "--quiet"], ["add", "--all"]):
            subprocess.run(["git", *command], cwd=tree, check=True)
        temporary = tmp_path_factory.mktemp("runner")
        secret = base64.b64encode(KEY.private_bytes_raw()).decode()

        done = signing_step(tree, temporary, secret)
        assert done.returncode == 0, done.stdout + done.stderr
        assert secret not in done.stdout + done.stderr
        assert list(temporary.iterdir()) == []
        assert KernelPack.verify(tree / PACK, [TRUSTED]).name == "ruvllm-reference"

        signed = (tree / PACK / "kernels.json.sig").read_bytes()
        assert "as it is committed" in signing_step(tree, temporary, "").stdout
        assert signing_step(tree, temporary, base64.b64encode(bytes(32)).decode()).returncode == 1
        assert (tree / PACK / "kernels.json.sig").read_bytes() == signed
        assert list(temporary.iterdir()) == []

    def test_a_key_in_the_tree_is_refused(self, tree: Path) -> None:
        key = tree / "release.key"
        for exists in (False, True):
            if exists:
                key.write_bytes(base64.b64encode(bytes(32)))
            done = build(tree, "--write", "--key", str(key))
            assert done.returncode == 1
            assert "is in the repository" in done.stderr
            assert key.exists() == exists

    @pytest.mark.parametrize("content", [b"", b"\n", b"secret, not base64", base64.b64encode(b"secret" * 6)])
    def test_what_is_no_key_is_refused_and_not_shown(
        self, tree: Path, tmp_path_factory, content: bytes
    ) -> None:
        key = tmp_path_factory.mktemp("keys") / "no.key"
        key.write_bytes(content)
        done = build(tree, "--write", "--key", str(key))
        assert done.returncode == 1
        assert done.stderr == f"{key} is no private key: it must hold 32 bytes in base64\n"

    def test_another_key_is_refused(self, tree: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
        key = tmp_path_factory.mktemp("keys") / "other.key"
        key.write_bytes(base64.b64encode(Ed25519PrivateKey.generate().private_bytes_raw()))
        before = (tree / PACK / "kernels.json.sig").read_bytes()
        done = build(tree, "--write", "--key", str(key))
        assert done.returncode == 1
        assert "is not the private half" in done.stderr
        assert (tree / PACK / "kernels.json.sig").read_bytes() == before
        assert (tree / PACKS / "trusted_keys" / "ruvllm-release.pub").read_bytes() == RELEASE_KEY.read_bytes()
