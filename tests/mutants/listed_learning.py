"""Mutants of what is kept of learning, and of feedback over HTTP: promises taken out one by one."""

from tests.mutants.mutant import python_mutant

__all__ = ["LEARNING_MUTANTS"]

JOURNAL, STATE, KEEPING = (f"learning/test_{name}.py" for name in ("journal", "state", "keeping"))
FEEDBACK, COMMAND = "serve/test_feedback.py", "cli/test_learn.py"

LEARNING_MUTANTS = (
    # The chain of the journal.
    python_mutant(
        "learning/journal_entry.py", 'blake2b(check_before.encode("ascii") + body', "blake2b(body", (JOURNAL,)
    ),
    python_mutant("learning/journal_files.py", "self._file.truncate(chain.sound_bytes)", "pass", (JOURNAL,)),
    python_mutant("learning/journal_files.py", "file.truncate(self._num_bytes)", "pass", (JOURNAL,)),
    python_mutant("learning/journal_files.py", "if self._syncs:", "if False:", (JOURNAL,)),
    python_mutant("learning/journal_files.py", "[: -self._max_files]", "[:0]", (JOURNAL,)),
    python_mutant("learning/journal.py", "or not self._has_room()", "", (JOURNAL,)),
    python_mutant(
        "learning/journal.py",
        "len(self._waiting) + self._num_reserved < self.settings.max_waiting",
        "True",
        (JOURNAL, KEEPING),
    ),
    python_mutant("learning/journal.py", "atexit.register(self.close)", "pass", (JOURNAL,)),
    python_mutant("learning/journal_entry.py", "text[:MAX_CHARACTERS] if keep else None", "text", (JOURNAL,)),
    python_mutant(
        "whole_file.py",
        "fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)\n            except BlockingIOError as error",
        "pass\n            except BlockingIOError as error",
        (JOURNAL,),
    ),
    # What is read of a state.
    python_mutant(
        "learning/state_file.py",
        'if metadata.pop("digest", None) != _digest(metadata, matrices):',
        'if not metadata.pop("digest", None):',
        (STATE,),
    ),
    python_mutant("learning/state_file.py", "if not np.isfinite(matrix).all():", "if False:", (STATE,)),
    python_mutant("learning/state.py", "if saved.model != self._model:", "if False:", (STATE, KEEPING)),
    python_mutant(
        "learning/state.py", "if tenant is not None and saved.state.tenant != tenant:", "if False:", (STATE,)
    ),
    python_mutant(
        "learning/state.py", "used = max([number, *_generations(folder, _ASIDE)])", "used = number", (STATE,)
    ),
    python_mutant(
        "learning/state.py",
        "if number not in numbers and number != state.generation:",
        "if False:",
        (STATE,),
    ),
    python_mutant(
        "learning/keeping.py", "learner.restore(state, self._states.earlier(tenant))", "pass", (KEEPING,)
    ),
    # Feedback.
    python_mutant(
        "serve/routes/feedback.py", "((body.feedback or 0.0) + 1) / 2", "body.feedback or 0.0", (FEEDBACK,)
    ),
    python_mutant("serve/routes/feedback.py", "    body.check()\n", "", (FEEDBACK,)),
    python_mutant(
        "serve/routes/feedback.py",
        "await errand_of(request).do(UPDATE_SIZE, update)",
        "update()",
        (FEEDBACK,),
    ),
    python_mutant(
        "serve/routes/feedback.py", "body.steps or 1, body.generation", "body.steps or 1, None", (FEEDBACK,)
    ),
    python_mutant("serve/model_learning.py", "with self._keeper.telling(answer):", "if True:", (FEEDBACK,)),
    python_mutant(
        "serve/routes/completions.py", 'answer_id = "" if', 'answer_id = head["id"] if', (FEEDBACK,)
    ),
    python_mutant("cli/learn/stored.py", "if reading.faults:", "if False:", (COMMAND,)),
    python_mutant(
        "cli/learn/stored.py", "states.save(undone, earlier[:-steps])", "states.save(undone)", (COMMAND,)
    ),
)
