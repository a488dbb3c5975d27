"""Mutants of layers with a window: what they keep, what goes first, and what comes back."""

from tests.mutants.mutant import rust_mutant

__all__ = ["WINDOW_MUTANTS"]

ENGINE = ("engine_windows",)
CACHE = ("prefix_model",)
BOTH = ("engine_windows", "prefix_model")

WINDOW_MUTANTS = (
    rust_mutant("core/src/kv/groups.rs", "length = row * BLOCK_TOKENS;", "break;", BOTH),
    rust_mutant(
        "core/src/engine/memory/prefixes.rs",
        "self.keep_first(sequence, whole, false);",
        "let _ = whole;",
        ENGINE,
    ),
    rust_mutant(
        "core/src/engine/memory/prefixes.rs",
        "        sequence.blocks.let_passed_go(sequence.computed);\n    }\n\n    /// Makes known what",
        "    }\n\n    /// Makes known what",
        ENGINE,
    ),
    rust_mutant(
        "core/src/engine/memory/mod.rs",
        "        tokens.saturating_sub(sequence.computed)\n    }",
        "        tokens & 0\n    }",
        ENGINE,
    ),
    rust_mutant("core/src/prefix/windows.rs", "room -= edge.mend(table, &above, room)", "()", ENGINE),
    rust_mutant(
        "core/src/prefix/cache.rs",
        "self.shed_one(held) || victim",
        "victim",
        ENGINE,
    ),
    rust_mutant(
        "core/src/prefix/windows.rs", "let rows = if goes_on {", "let rows = if false && goes_on {", CACHE
    ),
    rust_mutant(
        "core/src/engine/sequences.rs",
        "is_planned(leader.id) && leader.computed < common\n        });",
        "leader.computed < common\n        });",
        ("engine_memory",),
    ),
    rust_mutant("core/src/prefix/windows.rs", "*weight >= at_least", "true", CACHE),
    rust_mutant(
        "core/src/prefix/windows.rs",
        "let needed = nearest.saturating_sub(NEAR_THE_END);",
        "let needed = usize::MAX / 2;",
        ENGINE,
    ),
    rust_mutant("core/src/prefix/edge.rs", "self.shared += usize::from(is_above);", "", CACHE),
    rust_mutant(
        "core/src/prefix/file/snapshot.rs", "self.groups.may_lack(place).then_some(NO_BLOCK)", "None", ENGINE
    ),
)
