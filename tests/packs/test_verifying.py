"""Which packs are believed: the reference pack is; what was changed or comes from a stranger is not."""

import hashlib
from pathlib import Path

import pytest

from ruvllm.errors import ConfigError, PackError
from ruvllm.packs import KernelPack, default_trusted_keys, reference_pack
from tests.packs.kernel_cases import ENTRIES
from tests.packs.pack_copies import OTHER_KEY, TRUSTED, copy_pack, public_text

pytestmark = pytest.mark.usefixtures("home")
RELEASE_KEY = (reference_pack().parent / "trusted_keys" / "ruvllm-release.pub").read_text().strip()


def refused(pack: Path, *keys: str) -> str | None:
    with pytest.raises(PackError) as caught:
        KernelPack.verify(pack, keys or [TRUSTED])
    assert str(caught.value).startswith("Pack error: ")
    return caught.value.reason


def test_the_reference_pack_is_believed() -> None:
    pack = KernelPack.verify(reference_pack())
    assert (pack.name, pack.version, pack.signer) == ("ruvllm-reference", "1.0.0", RELEASE_KEY)
    assert sorted(pack.kernels) == sorted(ENTRIES)
    manifest = (reference_pack() / "kernels.json").read_bytes()
    assert pack.digest == "sha256:" + hashlib.sha256(manifest).hexdigest()
    assert (pack.generation, pack.is_broken, pack.last_fault) == (0, False, None)


def test_another_signer_of_the_same_format(my_pack: Path) -> None:
    assert KernelPack.verify(my_pack, [TRUSTED]).signer == TRUSTED
    assert KernelPack.verify(my_pack, [RELEASE_KEY, TRUSTED]).signer == TRUSTED


def test_a_stranger_is_not_believed(my_pack: Path) -> None:
    assert refused(my_pack, RELEASE_KEY) == "NoTrustedKey"
    with pytest.raises(PackError, match="no trusted key"):
        KernelPack.verify(my_pack)
    with pytest.raises(PackError, match="no trusted key"):
        KernelPack.verify(my_pack, [])


def test_one_changed_byte_of_the_manifest(my_pack: Path) -> None:
    manifest = my_pack / "kernels.json"
    manifest.write_bytes(manifest.read_bytes().replace(b'"my-pack"', b'"my-packs"'))
    assert refused(my_pack) == "NoTrustedKey"


def test_one_changed_bit_of_a_module(my_pack: Path) -> None:
    module = my_pack / ENTRIES["swiglu_f32"]["path"]
    data = bytearray(module.read_bytes())
    data[-1] ^= 1
    module.write_bytes(data)
    assert refused(my_pack) == "HashMismatch"


def test_the_signature_file(my_pack: Path) -> None:
    signature = my_pack / "kernels.json.sig"
    whole = signature.read_bytes()
    signature.write_bytes(whole[:63])
    assert refused(my_pack) == "SignatureLength"
    signature.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
    assert refused(my_pack) == "NoTrustedKey"
    signature.unlink()
    assert refused(my_pack) == "File"


def test_a_manifest_that_names_another_author(tmp_path: Path) -> None:
    def change(manifest: dict) -> None:
        manifest["author"]["signing_key"] = public_text(OTHER_KEY)

    assert refused(copy_pack(tmp_path / "pack", change=change)) == "OtherAuthor"


def test_a_kernel_of_no_known_place(tmp_path: Path) -> None:
    def change(manifest: dict) -> None:
        manifest["kernels"][0]["id"] = "attention_f32"
        del manifest["fallbacks"]["rope_f32"]

    assert refused(copy_pack(tmp_path / "pack", change=change)) == "Manifest"


def test_a_pack_for_other_versions(tmp_path: Path) -> None:
    def change(manifest: dict) -> None:
        manifest.update(min_runtime_version="90.0.0", max_runtime_version="91.0.0")

    assert refused(copy_pack(tmp_path / "pack", change=change)) == "RuntimeTooOld"


def test_no_folder(tmp_path: Path) -> None:
    assert refused(tmp_path / "nothing") == "File"


def test_what_is_no_key_is_said(my_pack: Path) -> None:
    assert refused(my_pack, "ed25519:AAAA") == "Key"


def test_the_default_keys(home: Path, monkeypatch: pytest.MonkeyPatch, my_pack: Path) -> None:
    assert default_trusted_keys() == (RELEASE_KEY,)
    monkeypatch.setenv("RUVLLM_TRUSTED_KEYS", f"{TRUSTED}, {RELEASE_KEY}")
    assert default_trusted_keys() == (RELEASE_KEY, TRUSTED)
    assert KernelPack.verify(my_pack).signer == TRUSTED
    monkeypatch.delenv("RUVLLM_TRUSTED_KEYS")

    keys = home / "packs" / "trusted_keys"
    keys.mkdir(parents=True)
    (keys / "me.pub").write_text(f"# mine\n\n{TRUSTED}  # since today\n")
    (keys / "ignored.txt").write_text(public_text(OTHER_KEY))
    assert default_trusted_keys() == (RELEASE_KEY, TRUSTED)


def test_a_damaged_key_file_is_not_passed_over(home: Path) -> None:
    keys = home / "packs" / "trusted_keys"
    keys.mkdir(parents=True)
    (keys / "broken.pub").write_text("rsa:abc\n")
    with pytest.raises(ConfigError, match="no public key"):
        default_trusted_keys()
