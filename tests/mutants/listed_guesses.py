"""Mutants of guesses: what is kept of them, how many there are, and what is learned."""

from tests.mutants.mutant import rust_mutant

__all__ = ["GUESS_MUTANTS"]

ANSWERS = ("speculation",)
PARTS = ("speculation_parts",)
HISTORY = ("speculation_history",)
ENDS = ("engine_ends",)
DRAFT = ("draft_model",)

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
    # A state that was taken apart would be gone on from as if it were whole.
    rust_mutant(
        "core/src/speculation/automaton.rs",
        "walk.length <= self.states",
        "false && 0 <= self.states",
        HISTORY,
    ),
    rust_mutant(
        "core/src/speculation/history.rs",
        "1 => self.older = std::mem::take(&mut self.recent),",
        "1 => (self.recent, self.older) = Default::default(),",
        HISTORY,
    ),
    rust_mutant(
        "core/src/speculation/history.rs", "if history.generation != self.generation {", "if false {", HISTORY
    ),
    rust_mutant("core/src/speculation/history.rs", "if token == BORDER {", "if false {", HISTORY),
    rust_mutant("core/src/engine/drafts.rs", "prompt_tokens >= least", "least > 0", HISTORY),
    rust_mutant("core/src/sequence/bans.rs", "if is_early || self.bans", "if false || self.bans", ENDS),
    rust_mutant("core/src/sequence/bans.rs", "bans.take_out(&mut self.mask);", "let _ = bans;", ENDS),
    rust_mutant(
        "core/src/sampling/pipeline.rs",
        "for _ in 0..ahead {\n            self.random.unit();\n        }",
        "",
        DRAFT,
    ),
    rust_mutant(
        "core/src/sampling/pipeline.rs", "(self.random, self.surprise) = kept;", "let _ = kept;", ANSWERS
    ),
    rust_mutant("core/src/engine/draft_model.rs", "|(owner, _)| owner == tenant", "|(_, _)| true", DRAFT),
    rust_mutant(
        "core/src/engine/draft_model.rs",
        "let common = agreed + common_length(",
        "let common = text.len().max(",
        DRAFT,
    ),
    rust_mutant(
        "core/src/engine/model_guesses.rs",
        "self.model.has_room(*id,",
        "true || self.model.has_room(*id,",
        DRAFT,
    ),
)
