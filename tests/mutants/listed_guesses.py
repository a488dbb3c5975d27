"""Mutants of guesses: what is kept of them, how many there are, and what is learned."""

from tests.mutants.mutant import rust_mutant

__all__ = ["GUESS_MUTANTS"]

ANSWERS = ("speculation",)
PARTS = ("speculation_parts",)

GUESS_MUTANTS = (
    rust_mutant(
        "core/src/engine/guesses.rs",
        "sequence.computed += draft.agreed().min(drawn.saturating_sub(1));",
        "sequence.computed += draft.tokens().len();",
        ANSWERS,
    ),
    rust_mutant(
        "core/src/engine/guesses.rs",
        "sequence.blocks.truncate(rows_for(sequence.computed));",
        "",
        ANSWERS,
    ),
    rust_mutant(
        "core/src/model/rope.rs",
        "_ => rope.regime(length) == rope.regime(longer),",
        "_ => true,",
        ANSWERS,
    ),
    rust_mutant(
        "core/src/speculation/draft.rs",
        "!self.is_over && row == self.agreed",
        "!self.is_over",
        ANSWERS,
    ),
    rust_mutant("core/src/speculation/policy.rs", "least / slower >= LEAST_PACE", "true", PARTS),
    rust_mutant(
        "core/src/speculation/costs.rs", "size.step? + REMEMBERED_STEPS >= self.steps", "true", PARTS
    ),
    rust_mutant("core/src/speculation/automaton.rs", "self.edges[edge].to = part;", "let _ = part;", PARTS),
)
