"""Mutants that a replay finds: blocks of another text, and what the replay itself sees of them."""

from tests.mutants.mutant import rust_mutant

__all__ = ["REPLAY_MUTANTS"]

ENGINE = ("replay",)
OWN = ("lib",)

REPLAY_MUTANTS = (
    rust_mutant(
        "core/src/engine/memory/prefixes.rs",
        "blocks.copy(shared.id(), own.id());",
        "let _ = own.id();",
        ENGINE,
    ),
    rust_mutant(
        "core/src/engine/memory/swap.rs", "blocks.write(block.id(), bytes);", "let _ = bytes;", ENGINE
    ),
    rust_mutant(
        "core/src/prefix/file.rs", "self.store.write(block.id(), &self.bytes);", "let _ = block.id();", ENGINE
    ),
    rust_mutant(
        "core/src/replay/blocks.rs",
        "if *text.get_or_insert(of_group) != of_group {",
        "if *text.get_or_insert(of_group) != of_group && false {",
        OWN,
    ),
    rust_mutant("core/src/replay/blocks.rs", "if before != known {", "if before != known && false {", OWN),
    rust_mutant(
        "core/src/replay/recorder.rs",
        "before.filter(|_| rows.head.is_none())?;",
        "before.or(Some(begin))?;",
        ENGINE,
    ),
)
