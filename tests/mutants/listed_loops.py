"""Mutants of learning's loops and of the adapter that is trained: promises taken out one by one."""

from tests.mutants.mutant import python_mutant

__all__ = ["LOOP_MUTANTS"]

DEEP, BACKGROUND, FEEDBACK = (f"learning/test_{name}.py" for name in ("deep", "background", "feedback"))
SERVED, TRAINED = "serve/test_learning_loops.py", "training/test_train.py"

LOOP_MUTANTS = (
    # The deep loop: for whom, where it helps, until undone.
    python_mutant("learning/deep.py", "adopted = max(both, alone) > before", "adopted = True", (DEEP,)),
    python_mutant("learning/deep.py", "if one.quality >= threshold", "", (DEEP,)),
    python_mutant("learning/deep.py", "if not self._turn.acquire(blocking=False):", "if False:", (DEEP,)),
    python_mutant(
        "learning/deep.py",
        "if self._ends.is_set():\n                raise",
        "if False:\n                raise",
        (DEEP,),
    ),
    python_mutant("learning/deep_adapters.py", "source, tenant=tenant)", "source)", (DEEP, SERVED)),
    python_mutant(
        "adapters/registry.py", "if found.info.tenant not in (None, tenant):", "if False:", (DEEP, SERVED)
    ),
    python_mutant("serve/models.py", "if one.tenant is None", "", (SERVED,)),
    python_mutant(
        "runtime/learned.py",
        "named or learned.adapters, learned.head, capture",
        "named, learned.head, capture",
        (DEEP,),
    ),
    python_mutant(
        "runtime/learned.py",
        "Taken(named or learned.adapters, learned.head)",
        "Taken(named, learned.head)",
        (DEEP,),
    ),
    python_mutant("runtime/evaluations.py", 'if kind != "embed":', "if True:", (DEEP,)),
    python_mutant("learning/history.py", "self._adapters.forget(self.now.tenant, number)", "pass", (DEEP,)),
    python_mutant("learning/keeping.py", "self._learning.adapters.clean(tenant, needed)", "pass", (DEEP,)),
    python_mutant("learning/state_file.py", 'metadata["deep"] = str(int(state.deep))', "pass", (DEEP,)),
    python_mutant("serve/routes/feedback.py", "    admin(request)\n", "", (SERVED,)),
    # Corrections.
    python_mutant(
        "learning/tenant_learner.py",
        "down = self._updates.update(before, bad, 0.0, share=0.5)",
        "down = self._updates.update(before, bad, before.baseline, share=0.5)",
        (FEEDBACK,),
    ),
    python_mutant(
        "learning/head_updates.py",
        "share * self._max_divergence",
        "self._max_divergence",
        (FEEDBACK,),
    ),
    # The background loop, and how many learn.
    python_mutant(
        "learning/background_thread.py", "(not self._is_busy() or now", "(True or now", (BACKGROUND,)
    ),
    python_mutant(
        "learning/tenants.py", "if num_tenants >= self.max_tenants:", "if False:", (FEEDBACK, SERVED)
    ),
    python_mutant("serve/model_learning.py", "if self._teaching.in_background:", "if False:", (SERVED,)),
    # Training.
    python_mutant("training/trainer.py", "self.best = values_of(self.training)", "pass", (TRAINED,)),
    python_mutant("training/trainer.py", "scale=1 / self.objective.weight(items),", "scale=1.0,", (TRAINED,)),
    python_mutant("training/run.py", 'training.write(name, "value", best)', "pass", (TRAINED,)),
    python_mutant("training/checkpoint.py", "training.set_steps(state.step)", "pass", (TRAINED,)),
)
