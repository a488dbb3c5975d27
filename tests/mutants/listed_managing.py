"""Mutants of models that come and go while a server runs: what no request may pay for, taken out."""

from tests.mutants.mutant import python_mutant

__all__ = ["MANAGING_MUTANTS"]

MANAGED, PULLED = "serve/test_managing.py", "serve/test_pulling.py"
FILE = "cli/test_config_file.py"

MANAGING_MUTANTS = (
    # A request holds its model; who asks for one that goes waits for it to be gone.
    python_mutant("serve/asked_model.py", "    ends.enter_context(served.uses.one())\n", "", (MANAGED,)),
    python_mutant("serve/model_uses.py", "            self.count -= 1\n", "", (MANAGED,)),
    python_mutant("serve/model_uses.py", "        while self.count:\n", "        while False:\n", (MANAGED,)),
    python_mutant(
        "serve/models.py",
        "        while self._giving_up is not None:\n            await asyncio.shield(self._giving_up)\n"
        "        if self._engine is not None:",
        "        if self._engine is not None:",
        (MANAGED,),
    ),
    # What it had comes back, and what would be lost stays.
    python_mutant("serve/models.py", "if (learning := self.learning) is not None:", "if False:", (MANAGED,)),
    python_mutant("serve/models.py", "if not self._is_owner:", "if False:", (MANAGED,)),
    python_mutant(
        "serve/models.py",
        "{one.name: one.source for one in self.adapters() if one.source is not None}",
        "{}",
        (MANAGED,),
    ),
    # Who may.
    python_mutant("serve/server.py", "return key is not None and key.is_admin", "return True", (MANAGED,)),
    python_mutant(
        "serve/routes/ollama.py", "        if is_manager(request):\n", "        if True:\n", (MANAGED,)
    ),
    python_mutant("serve/routes/health.py", "model.was_loaded or ", "", (MANAGED,)),
    python_mutant("serve/model_management.py", "if not model.was_fetched:", "if False:", (PULLED,)),
    python_mutant("serve/model_management.py", "        server.models.add(model)\n", "", (PULLED,)),
    # Settings from a file.
    python_mutant("cli/config_file.py", "if key in _ONLY_NAMED and not self.is_named:", "if False:", (FILE,)),
    python_mutant(
        "cli/settings_in_force.py", "        wrong += file.wrong_keys(words, parameters)\n", "", (FILE,)
    ),
)
