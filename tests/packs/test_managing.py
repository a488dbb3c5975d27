"""Activating, going back, remembering versions; installed packs and what their names mean."""

import json
from pathlib import Path

import pytest

from ruvllm.errors import IoError, NotFoundError, PackError, StorageError
from ruvllm.packs import KernelManager, PackStore, find_pack, reference_pack
from tests.packs.pack_copies import OTHER_KEY, TRUSTED, copy_pack, public_text

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def newer(tmp_path: Path) -> Path:
    return copy_pack(tmp_path / "newer", version="1.10.0")


def reason(caught: "pytest.ExceptionInfo[PackError]") -> str | None:
    return caught.value.reason


class TestManager:
    def test_upgrade_and_back(self, my_pack: Path, newer: Path) -> None:
        manager = KernelManager([TRUSTED])
        assert manager.current() is None
        first = manager.activate(my_pack)
        second = manager.activate(newer)
        assert (first.generation, second.generation) == (1, 2)
        current, previous = manager.current(), manager.previous()
        assert current is not None
        assert previous is not None
        assert (current.version, current.path) == ("1.10.0", newer)
        assert (previous.version, previous.path) == ("1.0.0", my_pack)
        assert manager.rollback().version == "1.0.0"
        with pytest.raises(PackError) as caught:
            manager.rollback()
        assert reason(caught) == "NoPreviousPack"

    def test_off_and_on(self, my_pack: Path) -> None:
        manager = KernelManager([TRUSTED])
        manager.activate(my_pack)
        assert manager.stats().pack == "my-pack 1.0.0"
        manager.deactivate()
        assert manager.current() is None
        assert manager.stats().pack is None
        assert manager.rollback().name == "my-pack"

    def test_nothing_was_called(self) -> None:
        stats = KernelManager([TRUSTED]).stats()
        operations = ("rmsnorm", "rope", "swiglu", "lora_apply", "kv_pack", "kv_unpack")
        assert stats.calls == dict.fromkeys(operations, 0)
        assert stats.native_calls == stats.calls
        assert (stats.fallbacks, stats.automatic_rollbacks) == ({}, 0)

    def test_what_is_refused_changes_nothing(self, my_pack: Path, newer: Path) -> None:
        manager = KernelManager([TRUSTED])
        manager.activate(my_pack)
        (newer / "kernels.json.sig").write_bytes(bytes(64))
        with pytest.raises(PackError):
            manager.activate(newer)
        current = manager.current()
        assert current is not None
        assert current.version == "1.0.0"

    def test_an_older_version_is_an_operators_choice(
        self, tmp_path: Path, my_pack: Path, newer: Path
    ) -> None:
        floors = tmp_path / "state" / "floors.json"
        KernelManager([TRUSTED], floors=floors).activate(newer)
        later = KernelManager([TRUSTED], floors=floors)
        with pytest.raises(PackError, match=r"older than 1\.10\.0") as caught:
            later.activate(my_pack)
        assert reason(caught) == "Downgrade"
        assert later.activate(my_pack, allow_downgrade=True).version == "1.0.0"

    def test_a_folder_that_cannot_be_written(self, tmp_path: Path, my_pack: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(IoError, match="RUVLLM_HOME"):
            KernelManager([TRUSTED], floors=tmp_path / "file" / "floors.json")

    def test_damaged_floors_are_not_passed_over(self, tmp_path: Path) -> None:
        (tmp_path / "floors.json").write_text("{")
        with pytest.raises(PackError) as caught:
            KernelManager([TRUSTED], floors=tmp_path / "floors.json")
        assert reason(caught) == "Floors"

    def test_a_name_stays_its_authors(self, tmp_path: Path, my_pack: Path) -> None:
        manager = KernelManager([TRUSTED, public_text(OTHER_KEY)])
        manager.activate(my_pack)
        with pytest.raises(PackError) as caught:
            manager.activate(copy_pack(tmp_path / "theirs", version="2.0.0", key=OTHER_KEY))
        assert reason(caught) == "OtherOwner"

    def test_a_new_key_of_its_author_is_let_in_by_hand(self, tmp_path: Path, my_pack: Path) -> None:
        """What docs/kernel-packs-security.md says an operator does when a release key was replaced."""
        floors = tmp_path / "floors.json"
        KernelManager([TRUSTED], floors=floors).activate(my_pack)
        new_key = public_text(OTHER_KEY)
        resigned = copy_pack(tmp_path / "resigned", version="1.0.1", key=OTHER_KEY)
        with pytest.raises(PackError) as caught:
            KernelManager([new_key], floors=floors).activate(resigned, allow_downgrade=True)
        assert reason(caught) == "OtherOwner"
        remembered = json.loads(floors.read_text(encoding="utf-8"))
        del remembered["my-pack"]
        floors.write_text(json.dumps(remembered), encoding="utf-8")
        assert KernelManager([new_key], floors=floors).activate(resigned).version == "1.0.1"
        with pytest.raises(PackError) as caught:
            KernelManager([new_key, TRUSTED], floors=floors).activate(my_pack, allow_downgrade=True)
        assert reason(caught) == "OtherOwner"


class TestStore:
    def test_a_name_means_its_first_version_until_another_is_chosen(
        self, home: Path, my_pack: Path, newer: Path
    ) -> None:
        store = PackStore()
        assert store.install(my_pack, [TRUSTED]).is_chosen
        installed = store.install(newer, [TRUSTED])
        assert not installed.is_chosen
        assert installed.path == home / "packs" / "installed" / "my-pack" / "1.10.0"
        assert [one.version for one in store.list()] == ["1.10.0", "1.0.0"]
        assert find_pack("my-pack").name == "1.0.0"
        assert find_pack("my-pack@1.10.0") == installed.path
        store.choose("my-pack", "1.10.0")
        assert find_pack("my-pack") == installed.path
        assert store.previous("my-pack").version == "1.0.0"

    def test_a_copy_has_what_the_manifest_names_and_no_more(self, my_pack: Path) -> None:
        (my_pack / "more.txt").write_text("not signed")
        copy = PackStore().install(my_pack, [TRUSTED]).path
        names = {path.relative_to(copy).as_posix() for path in copy.rglob("*") if path.is_file()}
        manifest = json.loads((my_pack / "kernels.json").read_bytes())
        assert names == {"kernels.json", "kernels.json.sig", *(one["path"] for one in manifest["kernels"])}
        assert KernelManager([TRUSTED]).activate("my-pack").path == copy

    def test_a_version_is_one_thing_for_ever(self, tmp_path: Path, my_pack: Path) -> None:
        store = PackStore()
        store.install(my_pack, [TRUSTED])
        assert store.install(my_pack, [TRUSTED]).version == "1.0.0"
        other = copy_pack(tmp_path / "other", change=lambda manifest: manifest.update(description="another"))
        with pytest.raises(PackError) as caught:
            store.install(other, [TRUSTED])
        assert reason(caught) == "OtherContents"

    def test_what_is_refused_leaves_nothing(self, home: Path, my_pack: Path) -> None:
        with pytest.raises(PackError):
            PackStore().install(my_pack)
        assert PackStore().list() == ()
        assert not (home / "packs" / "installed").exists()

    def test_nothing_to_go_back_to(self, my_pack: Path) -> None:
        PackStore().install(my_pack, [TRUSTED])
        with pytest.raises(PackError) as caught:
            PackStore().previous("my-pack")
        assert reason(caught) == "NoPreviousPack"

    @pytest.mark.parametrize("name", ["nothing", "nothing@1.0.0", "No Name", "..", "a@../../b", ""])
    def test_what_is_not_installed(self, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        with pytest.raises(NotFoundError, match="no kernel pack"):
            PackStore().find(name)

    def test_a_version_that_is_not_installed(self, my_pack: Path) -> None:
        PackStore().install(my_pack, [TRUSTED])
        with pytest.raises(NotFoundError, match=r"no version 3\.0\.0; installed: 1\.0\.0"):
            find_pack("my-pack@3.0.0")

    def test_damaged_choices_are_said(self, home: Path) -> None:
        (home / "packs").mkdir(parents=True)
        (home / "packs" / "choices.json").write_text("[]")
        with pytest.raises(StorageError, match="damaged"):
            PackStore().list()

    def test_where_packs_are_looked_for(self, my_pack: Path) -> None:
        assert find_pack("reference") == reference_pack()
        assert find_pack(str(my_pack)) == my_pack
        assert find_pack(my_pack) == my_pack
