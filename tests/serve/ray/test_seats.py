"""What a tenant taught one worker, on another one of the same disk; without Ray."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from ruvllm import LLM
from ruvllm.errors import StorageError
from ruvllm.integrations.ray.seats import Seat
from ruvllm.learning.state import TenantStates
from ruvllm.runtime.model_digest import model_digest
from ruvllm.serve.model_learning import ModelLearning, Teaching

PROMPT = [70, 71, 72, 73]


class Taught:
    """A worker, as far as it learns."""

    def __init__(self, model: Path, shared: Path, ends: ExitStack) -> None:
        self.llm = ends.enter_context(LLM(model, max_context=256))
        self.seat = ends.enter_context(Seat.taken(shared, model))
        self.learning = ModelLearning(self.llm, self.seat.folder, Teaching(in_background=False))
        ends.callback(self.learning.close)

    def teach(self, tenant: str, text: str) -> int:
        learner = self.learning.begin(tenant)
        captured = self.llm.learning.captured(tenant, PROMPT, self.llm.tokenize(text, add_bos=False))
        result = learner.correct(captured, f"corrected {text}", prompt=PROMPT, given=None)
        assert result.applied, result
        return result.generation

    def says(self, tenant: str) -> tuple[int, ...]:
        self.seat.catch_up(self.learning, tenant)
        return tuple(self.llm.generate(PROMPT, max_tokens=8, temperature=0, tenant=tenant).token_ids)


@pytest.fixture
def ends() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def test_a_seat_is_taken_by_one_and_free_after_it(tiny_chat_path: Path, tmp_path: Path) -> None:
    with Seat.taken(tmp_path, tiny_chat_path) as first, Seat.taken(tmp_path, tiny_chat_path) as second:
        assert [first.folder.name, second.folder.name] == ["seat-0", "seat-1"]
    with Seat.taken(tmp_path, tiny_chat_path) as again:
        assert again.folder.name == "seat-0"


def test_no_seat_is_taken_where_there_are_no_locks(
    tiny_chat_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(pytest.importorskip("fcntl"), "flock", without)
    with pytest.raises(StorageError, match="whose locks"), Seat.taken(tmp_path, tiny_chat_path):
        pass


def test_a_generation_is_known_to_the_others_and_they_go_on_from_it(
    tiny_chat_path: Path, tmp_path: Path, ends: ExitStack
) -> None:
    one, two = (Taught(tiny_chat_path, tmp_path, ends) for _ in range(2))
    plain = two.says("ada")
    assert one.teach("ada", "the dog") == 1
    taught = one.says("ada")
    assert two.says("ada") == taught != plain
    assert two.says("bob") == plain
    assert two.learning.status("ada")["generation"] == 1
    assert two.teach("ada", "on the mat") == 2
    assert one.says("ada") == two.says("ada")
    # Undone by the one that did not learn it first, to the bit.
    one.learning.rollback("ada", 2, None)
    assert one.says("ada") == two.says("ada") == plain


def test_what_was_acknowledged_stays_where_two_count_on_from_one(
    tiny_chat_path: Path, tmp_path: Path, ends: ExitStack
) -> None:
    one, two = (Taught(tiny_chat_path, tmp_path, ends) for _ in range(2))
    one.teach("ada", "the dog")
    two.says("ada")
    assert two.teach("ada", "on the mat") == 2
    acknowledged = two.says("ada")
    # What was under way at one while the tenant had left.
    assert [one.teach("ada", "the dog") for _ in range(2)] == [2, 3]
    of_one = one.says("ada")
    assert two.says("ada") == acknowledged != of_one
    assert one.says("ada") == of_one
    # Who knows nothing takes the newest, and what comes of it is known to the one of whom it is.
    three = Taught(tiny_chat_path, tmp_path, ends)
    assert three.says("ada") == of_one
    assert three.teach("ada", "a cat") == 4
    assert one.says("ada") == three.says("ada")
    assert two.says("ada") == acknowledged


def test_a_lineage_outlives_its_process(tiny_chat_path: Path, tmp_path: Path) -> None:
    with ExitStack() as first:
        one, two = (Taught(tiny_chat_path, tmp_path, first) for _ in range(2))
        one.teach("ada", "the dog")
        two.says("ada")
        two.teach("ada", "on the mat")
        acknowledged = two.says("ada")
        assert [one.teach("ada", "the dog") for _ in range(2)] == [2, 3]
    with ExitStack() as then:
        one, two = (Taught(tiny_chat_path, tmp_path, then) for _ in range(2))
        assert two.says("ada") == acknowledged != one.says("ada")


def test_a_state_that_needs_the_deep_loop_s_adapter_stays_where_that_is(
    tiny_chat_path: Path, tmp_path: Path, ends: ExitStack
) -> None:
    one, two = (Taught(tiny_chat_path, tmp_path, ends) for _ in range(2))
    one.teach("ada", "the dog")
    plain = two.says("bob")
    learner = one.learning.begin("ada")
    deep = replace(learner.state, generation=5, deep=5)
    with TenantStates(tmp_path / "elsewhere", model=model_digest(tiny_chat_path)) as states:
        states.save(deep, [])
        folder = states._folder_of("ada")
    shutil.copytree(folder, one.seat.folder / "tenants" / folder.name, dirs_exist_ok=True)
    assert two.says("ada") == plain


def test_a_folder_in_which_the_deep_loop_is_at_work_is_left_alone(
    tiny_chat_path: Path, tmp_path: Path, ends: ExitStack
) -> None:
    one, two = (Taught(tiny_chat_path, tmp_path, ends) for _ in range(2))
    one.teach("ada", "the dog")
    two.says("ada")
    with two.llm.learning.adapters.place("ada", 3) as place:
        place.mkdir()
        one.teach("ada", "on the mat")
        assert two.says("ada") == one.says("ada")
        assert place.is_dir()


def test_another_model_has_seats_of_its_own(
    tiny_chat_path: Path, smollm2_path: Path, tmp_path: Path, ends: ExitStack
) -> None:
    one, other = Taught(tiny_chat_path, tmp_path, ends), Taught(smollm2_path, tmp_path, ends)
    plain = other.says("ada")
    one.teach("ada", "the dog")
    assert other.says("ada") == plain
    assert other.learning.status("ada")["generation"] == 0
