"""Mutants of the key-value cache's formats: how heads are turned, and how halves stand in bytes."""

from tests.mutants.mutant import rust_mutant

__all__ = ["ATTENTION_MUTANTS"]

FORMATS = ("attention", "attention_integers", "attention_turned")

ATTENTION_MUTANTS = (
    rust_mutant("kernels/src/attention/layout.rs", "matches!(self, Self::I8 | Self::K8V4)", "false", FORMATS),
    rust_mutant(
        "kernels/src/attention/join.rs",
        "rotation::turn(gathered.row(row), layout.turned_together());",
        "",
        FORMATS,
    ),
    rust_mutant("kernels/src/attention/values.rs", "(*byte & 0xF) | (half << 4)", "half << 4", FORMATS),
    rust_mutant(
        "kernels/src/attention/scale.rs",
        "unit: product / square * largest,",
        "unit: largest * cut / 16.0,",
        ("lib",),
    ),
    rust_mutant("kernels/src/attention/scale.rs", "[1.0, 0.92, 0.84, 0.76, 0.68]", "[1.0; 5]", ("lib",)),
)
