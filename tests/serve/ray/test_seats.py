"""What a tenant taught one worker, on another one of the same disk; without Ray."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from ruvllm import LLM
from ruvllm.errors import StorageError
from ruvllm.integrations.ray.seats import Seat
from ruvllm.serve.model_learning import ModelLearning, Teaching

PROMPT = [70, 71, 72, 73]


class Taught:
    """A worker, as far as it learns."""

    def __init__(self, model: Path, shared: Path, ends: ExitStack) -> None:
        self.llm = ends.enter_context(LLM(model, max_context=256))
        self.seat = ends.enter_context(Seat.taken(shared))
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


def test_a_seat_is_taken_by_one_and_free_after_it(tmp_path: Path) -> None:
    with Seat.taken(tmp_path) as first, Seat.taken(tmp_path) as second:
        assert [first.folder.name, second.folder.name] == ["seat-0", "seat-1"]
    with Seat.taken(tmp_path) as again:
        assert again.folder.name == "seat-0"


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


def test_what_another_model_learned_is_refused(
    tiny_chat_path: Path, smollm2_path: Path, tmp_path: Path, ends: ExitStack
) -> None:
    one, other = Taught(tiny_chat_path, tmp_path, ends), Taught(smollm2_path, tmp_path, ends)
    one.teach("ada", "the dog")
    with pytest.raises(StorageError, match="another model"):
        other.says("ada")
