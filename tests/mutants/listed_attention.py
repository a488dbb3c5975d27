"""Mutants of the key-value cache's formats: how heads are turned, and how halves stand in bytes."""

from tests.mutants.mutant import python_mutant, rust_mutant

__all__ = ["ATTENTION_MUTANTS"]

FORMATS = ("attention", "attention_integers", "attention_turned")
TWO_TIERS, TWO_TIER_TESTS = "kernels/two_tier_cache.py", ("kernels/test_two_tier_cache.py",)

ATTENTION_MUTANTS = (
    rust_mutant(
        "kernels/src/attention/layout.rs",
        "matches!(self, Self::I8 | Self::K8V4 | Self::Q4 | Self::Q3)",
        "false",
        FORMATS,
    ),
    # The third bits of odd rows would stand over those of even ones.
    rust_mutant("kernels/src/attention/eighths.rs", "change(third + row % 2,", "change(third,", ("lib",)),
    rust_mutant(
        "kernels/src/attention/eighths.rs", "around(nearest, 3, 1)", "around(nearest, 0, 0)", ("lib",)
    ),
    # Every block would have the scales of the first of its segment.
    rust_mutant(
        "kernels/src/attention/segment.rs",
        "self.scales[2 * BLOCK_TOKENS * block..]",
        "self.scales[..]",
        FORMATS,
    ),
    rust_mutant(
        "core/src/kv/groups.rs",
        ".map_or(USUAL_TOKENS, held)",
        ".map_or(USUAL_TOKENS, |_| USUAL_TOKENS)",
        ("lib",),
    ),
    rust_mutant(
        "kernels/src/attention/join.rs",
        "rotation::turn(gathered.row(row), layout.turned_together());",
        "",
        FORMATS,
    ),
    # What a tier has would be joined as if it were turned as the next one is.
    rust_mutant("kernels/src/attention/join.rs", "if before == after {", "if true {", FORMATS),
    # Every query would see all of the store besides its tail.
    rust_mutant(
        "kernels/src/attention/task.rs",
        "(position + 1).saturating_sub(self.behind)",
        "position + 1",
        FORMATS,
    ),
    # Segments of the tail would be taken for those of the store.
    rust_mutant(
        "kernels/src/attention/batch.rs", "self.segments[..tier].iter().map(Range::len).sum()", "0", FORMATS
    ),
    rust_mutant("kernels/src/attention/packing.rs", "(*byte & 0xF) | (half << 4)", "half << 4", FORMATS),
    rust_mutant(
        "kernels/src/attention/scale.rs",
        "unit: product / square * largest,",
        "unit: largest * cut / 16.0,",
        ("lib",),
    ),
    rust_mutant("kernels/src/attention/scale.rs", "[1.0, 0.92, 0.84, 0.76, 0.68]", "[1.0; 5]", ("lib",)),
    rust_mutant(
        "kernels/src/attention/tile.rs",
        "block_scores::add::<A, ROWS>(walk, first_row, seen.blocks(), scratch);",
        "",
        FORMATS,
    ),
    # A block would have the key of the first of its segment.
    rust_mutant("kernels/src/attention/block_scores.rs", "of_blocks[block]", "of_blocks[0]", FORMATS),
    # What is turned by the block would be turned by nothing.
    rust_mutant(
        "core/src/model/common_key.rs",
        "frequencies.fill(block * BLOCK_TOKENS,",
        "frequencies.fill(0,",
        ("lib",),
    ),
    rust_mutant("core/src/model/common_key.rs", "*number -= common;", "let _ = (number, common);", ("lib",)),
    # The store would be read up to the end.
    python_mutant(TWO_TIERS, "if near else None", "if False else None", TWO_TIER_TESTS),
    # The tail would be read where its blocks went.
    python_mutant(
        TWO_TIERS,
        "max(min(self._border, first), self._border - BLOCK_TOKENS)",
        "self._border - BLOCK_TOKENS",
        TWO_TIER_TESTS,
    ),
    python_mutant(TWO_TIERS, "over - over % self.config.migration_batch", "over", TWO_TIER_TESTS),
    # Blocks that the tail has passed would never be free.
    python_mutant(TWO_TIERS, "self._tail.let_go(self._border // BLOCK_TOKENS)", "pass", TWO_TIER_TESTS),
)
