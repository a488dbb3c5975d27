"""Mutants of layers with a window: what they keep, what goes first, and what comes back."""

from tests.mutants.mutant import rust_mutant

__all__ = ["WINDOW_MUTANTS"]

ENGINE = ("engine_windows",)
CACHE = ("prefix_model",)
BOTH = ("engine_windows", "prefix_model")

WINDOW_MUTANTS = (
    rust_mutant("core/src/kv/groups.rs", "(length, group) = (row * BLOCK_TOKENS, 0);", "let _ = row;", BOTH),
    rust_mutant("core/src/kv/table.rs", "row < self.groups.first_row(group, position)", "false", ENGINE),
    rust_mutant(
        "core/src/engine/memory/prefixes.rs",
        "self.keep_first(sequence, whole, false);",
        "let _ = whole;",
        ENGINE,
    ),
    rust_mutant(
        "core/src/engine/memory/prefixes.rs",
        "        sequence.blocks.let_passed_go(sequence.computed);\n    }\n\n    /// Makes the first",
        "    }\n\n    /// Makes the first",
        ENGINE,
    ),
    rust_mutant(
        "core/src/engine/memory/mod.rs",
        "let left = tokens.saturating_sub(sequence.computed);",
        "let left = tokens & 0;",
        ENGINE,
    ),
    rust_mutant("core/src/prefix/windows.rs", "room -= edge.mend(known.blocks, &above, room)", "()", ENGINE),
    rust_mutant(
        "core/src/prefix/cache.rs",
        "self.shed_one(held) || victim",
        "victim",
        ENGINE,
    ),
    rust_mutant("core/src/prefix/windows.rs", "*weight >= at_least", "true", CACHE),
    rust_mutant(
        "core/src/prefix/windows.rs",
        "(id, end), nearest.saturating_sub(NEAR_THE_END)",
        "(id, end), usize::MAX / 2",
        ENGINE,
    ),
    rust_mutant("core/src/prefix/edge.rs", "self.shared += usize::from(is_above);", "", CACHE),
    rust_mutant(
        "core/src/prefix/file/snapshot.rs", "self.groups.may_lack(place).then_some(NO_BLOCK)", "None", ENGINE
    ),
)
