"""Mutants of what says how good a model is, and of the quantizer that listens to what matters."""

from tests.mutants.mutant import python_mutant, rust_mutant

__all__ = ["EVALUATING_MUTANTS", "EVALUATING_RUST_MUTANTS"]

TEXT = ("evaluating/test_text_scores.py",)
DIVERGENCE = ("evaluating/test_divergence.py",)
CHOICES = ("evaluating/test_choices.py",)
COMPARISON = ("evaluating/test_comparison.py",)
IMPORTANCE = ("python/test_importance.py",)
FOLDERS = ("python/test_quantizing_folders.py",)

EVALUATING_MUTANTS = (
    python_mutant(
        "evaluating/text_scores.py", "return cls(chunks, context // 2)", "return cls(chunks, 0)", TEXT
    ),
    python_mutant("evaluating/text_scores.py", "chunks[:, 0] = tokenizer.bos_token", "pass", TEXT),
    python_mutant("evaluating/estimate.py", "np.std(values, ddof=1)", "np.std(values, ddof=0)", CHOICES),
    python_mutant(
        "evaluating/divergence.py",
        "probabilities > 0, theirs - ours",
        "probabilities > 0, ours - theirs",
        DIVERGENCE,
    ),
    python_mutant(
        "evaluating/divergence.py", "[chunks.first : -1].copy()", "[chunks.first + 1 :].copy()", DIVERGENCE
    ),
    python_mutant(
        "evaluating/choices.py", "(likelihoods / lengths).argmax()", "likelihoods.argmax()", CHOICES
    ),
    python_mutant("evaluating/choices.py", "if answer in choices:", "if False:", CHOICES),
    python_mutant(
        "evaluating/comparison.py",
        "if not np.array_equal(first.text.token_ids, second.text.token_ids):",
        "if False:",
        COMPARISON,
    ),
    python_mutant(
        "importance.py", "np.maximum(sums / mean, LEAST_WEIGHT)", "np.maximum(sums, LEAST_WEIGHT)", IMPORTANCE
    ),
    python_mutant(
        "quantizing.py",
        "*entries, *read.entries(name)], weights",
        "*entries, *read.entries(name)], {}",
        IMPORTANCE,
    ),
    python_mutant("text/gguf_tokenizer.py", "            adds = True\n", "            pass\n", FOLDERS),
    python_mutant("text/gguf_tokenizer.py", "[-float(ranks[text]) if", "[float(ranks[text]) if", FOLDERS),
)

EVALUATING_RUST_MUTANTS = (
    rust_mutant(
        "core/src/quantize/rows.rs",
        "encode_weighted(into, &values, weights.as_deref(), target)",
        "encode_weighted(into, &values, None, target)",
        ("quantize",),
    ),
    rust_mutant("core/src/quantize/mod.rs", "weights.len() != *columns || ", "", ("quantize",)),
    rust_mutant(
        "kernels/src/quant/encode.rs",
        "BlockType::Q5_0 if input.importance.is_some()",
        "BlockType::Q5_0 if false",
        ("lib",),
    ),
)
