"""Keys and signatures that the package makes, against `cryptography`."""

import base64
import stat
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ruvllm.errors import ConfigError, IoError, PackError
from ruvllm.packs import KernelPack, make_key, sign_pack
from tests.packs.kernel_cases import ENTRIES
from tests.packs.pack_copies import KEY, TRUSTED, copy_pack, public_text


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "my.key"
    path.write_bytes(base64.b64encode(KEY.private_bytes_raw()) + b"\n")
    return path


def test_a_new_key_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "new.key"
    public = make_key(path)
    seed = base64.b64decode(path.read_bytes())
    assert public == public_text(Ed25519PrivateKey.from_private_bytes(seed))
    if sys.platform != "win32":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(ConfigError, match="never written over"):
        make_key(path)
    assert base64.b64decode(path.read_bytes()) == seed
    assert make_key(tmp_path / "next.key") != public
    with pytest.raises(IoError):
        make_key(tmp_path / "no" / "folder.key")


def test_the_signature_is_cryptographys(my_pack: Path, key_file: Path) -> None:
    """Ed25519 has one signature for a key and a text."""
    expected = (my_pack / "kernels.json.sig").read_bytes()
    (my_pack / "kernels.json.sig").unlink()
    assert sign_pack(my_pack, key_file) == TRUSTED
    assert (my_pack / "kernels.json.sig").read_bytes() == expected
    assert KernelPack.verify(my_pack, [TRUSTED]).name == "my-pack"


def test_hashes_are_checked_first(my_pack: Path, key_file: Path) -> None:
    (my_pack / ENTRIES["rope_q8"]["path"]).write_bytes(b"\0asm")
    before = (my_pack / "kernels.json.sig").read_bytes()
    with pytest.raises(PackError, match="kernel rope_q8") as caught:
        sign_pack(my_pack, key_file)
    assert caught.value.reason == "HashMismatch"
    assert (my_pack / "kernels.json.sig").read_bytes() == before


def test_a_manifest_of_another_author(tmp_path: Path, my_pack: Path) -> None:
    make_key(tmp_path / "other.key")
    with pytest.raises(PackError) as caught:
        sign_pack(my_pack, tmp_path / "other.key")
    assert caught.value.reason == "OtherAuthor"


@pytest.mark.parametrize("manifest", ["", "[]", "{}", '{"kernels": [{}]}', '{"author": 1, "kernels": []}'])
def test_what_is_no_manifest(my_pack: Path, key_file: Path, manifest: str) -> None:
    (my_pack / "kernels.json").write_text(manifest)
    with pytest.raises(PackError) as caught:
        sign_pack(my_pack, key_file)
    assert caught.value.reason in ("Manifest", "OtherAuthor")


@pytest.mark.parametrize("content", [b"", b"AAAA", b"not base64!", base64.b64encode(bytes(33))])
def test_what_is_no_key(tmp_path: Path, my_pack: Path, content: bytes) -> None:
    (tmp_path / "bad.key").write_bytes(content)
    with pytest.raises(ConfigError, match="no private key"):
        sign_pack(my_pack, tmp_path / "bad.key")


def test_a_missing_module(tmp_path: Path, key_file: Path) -> None:
    pack = copy_pack(tmp_path / "pack")
    (pack / ENTRIES["rope_q8"]["path"]).unlink()
    with pytest.raises(IoError, match="cannot be signed"):
        sign_pack(pack, key_file)
