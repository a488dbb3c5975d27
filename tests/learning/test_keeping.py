"""What tenants learn on a real model is on the disk when the call is done, and comes back to the bit."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ruvllm import LLM, GenerateParams
from ruvllm.errors import InvalidOperationError, SonaError, StorageError
from ruvllm.learning import SonaLlm
from ruvllm.learning.folder import LearnedFolder
from ruvllm.learning.journal import JournalSettings
from ruvllm.learning.journal_entry import JournalEntry
from ruvllm.learning.journal_files import read_journal
from ruvllm.learning.keeping import LearningKeeper
from ruvllm.learning.state import stored_tenants
from tests.conftest import FIXTURES

MODEL, OTHER = FIXTURES / "gguf" / "llama-gqa.gguf", FIXTURES / "gguf" / "qwen2-bias-tied.gguf"
PROMPT = [5, 17, 42, 9]
GREEDY = GenerateParams(max_tokens=6, temperature=0.0)


@pytest.fixture
def llm() -> Iterator[LLM]:
    with LLM(MODEL, max_context=256) as llm:
        yield llm


def keeper_of(llm: LLM, folder: Path, **settings: object) -> LearningKeeper:
    journal = JournalSettings(**settings) if settings else None  # type: ignore[arg-type]
    return LearningKeeper(llm.learning, folder, llm.model_info.path, journal=journal)


def entries(folder: Path) -> list[JournalEntry]:
    reading = read_journal(LearnedFolder(folder).journal)
    assert not reading.faults
    return [entry for _, entry in reading.entries]


def taught(llm: LLM, keeper: LearningKeeper, tenant: str, *feedback: float) -> SonaLlm:
    keeper.follow(tenant)
    sona = SonaLlm(llm, tenant=tenant)
    for one in feedback:
        sona.feedback(sona.generate(PROMPT, GREEDY).completion_id, one)
    return sona


def logits(llm: LLM, tenant: str) -> np.ndarray:
    return llm.logits(PROMPT, tenant=tenant)


def test_a_restart_goes_on_to_the_bit_and_can_undo(tmp_path: Path) -> None:
    with LLM(MODEL, max_context=256) as llm, keeper_of(llm, tmp_path) as keeper:
        untaught = logits(llm, "acme")
        sona = taught(llm, keeper, "acme", 1.0)
        once = logits(llm, "acme")
        taught(llm, keeper, "acme", 0.0, 1.0)
        taught(llm, keeper, "other", 0.0)
        before, learned = sona.state, {name: logits(llm, name) for name in ("acme", "other", "")}
        assert not np.array_equal(learned["acme"], untaught)
        assert not np.array_equal(learned["acme"], learned["other"])
        np.testing.assert_array_equal(learned[""], untaught)
    with LLM(MODEL, max_context=256) as llm:
        np.testing.assert_array_equal(logits(llm, "acme"), untaught)
        with keeper_of(llm, tmp_path) as keeper:
            for name, expected in learned.items():
                np.testing.assert_array_equal(logits(llm, name), expected)
            sona = SonaLlm(llm, tenant="acme")
            assert (sona.state.generation, sona.state.baseline) == (before.generation, before.baseline)
            sona.rollback(2)
            np.testing.assert_array_equal(logits(llm, "acme"), once)
    with LLM(MODEL, max_context=256) as llm, keeper_of(llm, tmp_path) as keeper:
        np.testing.assert_array_equal(logits(llm, "acme"), once)
        sona = SonaLlm(llm, tenant="acme")
        sona.rollback()
        # What was undone before does not come back.
        np.testing.assert_array_equal(logits(llm, "acme"), untaught)
        with pytest.raises(InvalidOperationError, match="0 are kept"):
            sona.rollback()


def test_the_journal_tells_what_was_done(llm: LLM, tmp_path: Path) -> None:
    with keeper_of(llm, tmp_path) as keeper:
        sona = taught(llm, keeper, "acme")
        completion = sona.generate(PROMPT, GREEDY)
        with keeper.telling("chatcmpl-7"):
            done = sona.feedback(completion.completion_id, 1.0)
        sona.feedback(sona.generate(PROMPT, GREEDY).completion_id, sona.state.baseline)
        sona.rollback()
        sona.reset()
    first, second, third, fourth = entries(tmp_path)
    assert (first.loop, first.applied, first.tenant, first.completion_id) == (
        "instant",
        True,
        "acme",
        "chatcmpl-7",
    )
    assert (first.feedback, first.advantage) == (1.0, 0.5)
    assert (first.generation_before, first.generation_after) == (0, 1)
    assert (first.kl, first.drift, first.log_prob_change) == (
        done.divergence,
        done.drift,
        done.logprob_change,
    )
    assert (second.applied, second.generation_before, second.generation_after) == (False, 1, 1)
    assert second.reason is not None
    assert "expected" in second.reason
    assert (third.loop, third.generation_before, third.generation_after) == ("rollback", 1, 2)
    assert (fourth.loop, fourth.generation_after) == ("reset", 3)
    text = b"".join(path.read_bytes() for path in LearnedFolder(tmp_path).journal.glob("*.jsonl"))
    assert completion.text.encode() not in text or not completion.text.strip()


def test_nothing_is_learned_that_cannot_be_told_of(llm: LLM, tmp_path: Path) -> None:
    with keeper_of(llm, tmp_path, max_waiting=1, batch_entries=5, wait_seconds=0.05) as keeper:
        sona = taught(llm, keeper, "acme")
        completion = sona.generate(PROMPT, GREEDY)
        with keeper.telling("one"):
            other = []

            def learn() -> None:
                try:
                    with keeper.telling("two"):
                        sona.feedback(completion.completion_id, 1.0)
                except StorageError as error:
                    other.append(error)

            thread = threading.Thread(target=learn)
            thread.start()
            thread.join()
            assert "wait to be written" in str(other[0])
            assert sona.state.generation == 0
            sona.feedback(completion.completion_id, 1.0)
        assert sona.state.generation == 1
    assert [one.completion_id for one in entries(tmp_path)] == ["one"]


@pytest.mark.skipif(os.name == "nt", reason="limits of Unix")
def test_what_cannot_be_kept_is_said_and_told(llm: LLM, tmp_path: Path) -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with keeper_of(llm, tmp_path) as keeper:
        sona = taught(llm, keeper, "acme", 1.0)
        completion = sona.generate(PROMPT, GREEDY)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1500, hard))
        try:
            with pytest.raises(StorageError, match=r"cannot be kept.*File too large"):
                sona.feedback(completion.completion_id, 0.0)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            signal.signal(signal.SIGXFSZ, before)
        # The next one is kept with all that led to it.
        sona.feedback(completion.completion_id, 0.0)
        state = sona.state
    told = [one.reason for one in entries(tmp_path)]
    assert told[1] is not None
    assert told[1].startswith("not kept: ")
    (saved,) = stored_tenants(LearnedFolder(tmp_path).tenants)
    assert saved.state.generation == state.generation == 3
    assert saved.earlier == (0, 1, 2)


def test_another_models_folder_is_refused(tmp_path: Path) -> None:
    with LLM(MODEL, max_context=256) as llm, keeper_of(llm, tmp_path) as keeper:
        taught(llm, keeper, "acme", 1.0)
    with LLM(OTHER, max_context=256) as llm:
        untaught = logits(llm, "acme")
        for _ in range(2):  # what was opened before the refusal is closed again
            with pytest.raises(StorageError, match="was learned on another model"):
                keeper_of(llm, tmp_path)
        np.testing.assert_array_equal(logits(llm, "acme"), untaught)


def test_another_tenants_state_is_not_taken(llm: LLM, tmp_path: Path) -> None:
    with keeper_of(llm, tmp_path) as keeper:
        state = taught(llm, keeper, "acme", 1.0).state
        other = SonaLlm(llm, tenant="other").learner
        with pytest.raises(SonaError, match="tenant 'acme'"):
            other.restore(state)
        with pytest.raises(SonaError, match="tenant 'acme'"):
            other.restore(other.state, [state])


PROGRAM = """
import sys
from ruvllm import LLM, GenerateParams
from ruvllm.learning import SonaLlm
from ruvllm.learning.keeping import LearningKeeper
model, folder = sys.argv[1:]
with LLM(model, max_context=256, threads=1) as llm:
    keeper = LearningKeeper(llm.learning, folder, llm.model_info.path)
    keeper.follow("acme")
    sona = SonaLlm(llm, tenant="acme")
    while True:
        answer = sona.generate([5, 17, 42, 9], GenerateParams(max_tokens=6))
        result = sona.feedback(answer.completion_id, 1.0)
        keeper.flush()
        print(result.generation, sona.state.feedback, flush=True)
"""


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is Unix's")
def test_learning_outlives_kill_9(tmp_path: Path) -> None:
    feedback = 0
    for _ in range(2):
        command = [sys.executable, "-c", PROGRAM, str(MODEL), str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                feedback = int(line.split()[1])
                if feedback % 5 == 0:
                    break
            process.kill()
            for line in process.stdout:
                feedback = int(line.split()[1]) if line.endswith("\n") else feedback
        (saved,) = stored_tenants(LearnedFolder(tmp_path).tenants)
        assert saved.state.feedback in (feedback, feedback + 1)
        reading = read_journal(LearnedFolder(tmp_path).journal)
        assert len(reading.entries) >= feedback
