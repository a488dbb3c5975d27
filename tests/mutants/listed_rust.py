"""Mutants of the crates: features taken out one by one, each beside the test targets that stand for it."""

from tests.mutants.listed_attention import ATTENTION_MUTANTS
from tests.mutants.listed_evaluating import EVALUATING_RUST_MUTANTS
from tests.mutants.listed_guesses import GUESS_MUTANTS
from tests.mutants.listed_images import IMAGE_RUST_MUTANTS
from tests.mutants.listed_replay import REPLAY_MUTANTS
from tests.mutants.listed_windows import WINDOW_MUTANTS
from tests.mutants.mutant import Mutant, rust_mutant

__all__ = ["RUST_MUTANTS"]

SAMPLES = ("lib", "sampling_reference", "sampling_behaviour", "sampling_reshaped")

SAMPLER = (
    rust_mutant(
        "core/src/sampling/penalties.rs",
        "if !(repetition || generated && counted) {",
        "if !(repetition && counted) {",
        SAMPLES,
    ),
    rust_mutant(
        "core/src/sampling/changes.rs",
        "self.0.drain(..).rev()",
        "self.0.drain(..)",
        SAMPLES,
    ),
    rust_mutant(
        "core/src/sampling/penalties.rs",
        "(repeated - counted).clamp(f32::MIN, f32::MAX)",
        "repeated - counted",
        SAMPLES,
    ),
    rust_mutant(
        "core/src/sampling/filters.rs",
        "candidates.retain(|candidate| candidate.rank() <= border);\n    }\n}",
        "candidates.retain(|candidate| candidate.rank() < border);\n    }\n}",
        SAMPLES,
    ),
    rust_mutant(
        "core/src/sampling/kept.rs",
        "if bound <= least || mass(candidates) >= needed {\n                break;",
        "if bound <= least || mass(candidates) >= 0.0 {\n                break;",
        SAMPLES,
    ),
    rust_mutant("core/src/sampling/kept.rs", "params.min_p * heaviest", "params.min_p", SAMPLES),
    rust_mutant("core/src/sampling/repeats.rs", "length.min(place + 1 - start)", "length", SAMPLES),
    rust_mutant("core/src/sampling/dry.rs", "let length = length.min(*unbroken);", "", SAMPLES),
    rust_mutant("core/src/sampling/pipeline.rs", "self.random.beside_next()", "self.random.unit()", SAMPLES),
    rust_mutant(
        "core/src/sampling/pipeline.rs", "surprise.follow(candidates, token);", "let _ = surprise;", SAMPLES
    ),
    rust_mutant("core/src/sampling/settled.rs", "if params.looks_at_all() {", "if false {", SAMPLES),
    rust_mutant(
        "core/src/sampling/pipeline.rs",
        "if !self.is_scanned {",
        "if false {",
        SAMPLES,
    ),
)

TREE = ("lib", "prefix_model", "prefix_file", "engine_memory")

PREFIX_CACHE = (
    rust_mutant(
        "core/src/prefix/radix_tree.rs",
        "self.last_used + HIT_TICKS * self.hits.min(COUNTED_HITS)",
        "self.last_used",
        TREE,
    ),
    rust_mutant(
        "core/src/prefix/radix_tree.rs",
        "self.hits.min(COUNTED_HITS)",
        "self.hits",
        TREE,
    ),
    rust_mutant(
        "core/src/prefix/cache.rs",
        "if measure(&theirs) < measure(&own) || !self.evict(id) {",
        "if !self.evict(id) {",
        TREE,
    ),
    rust_mutant(
        "core/src/prefix/cache.rs",
        "edge.blocks().any(|one| is_theirs(one.block().tenant()))",
        "edge.blocks().next().is_some()",
        TREE,
    ),
    rust_mutant(
        "core/src/prefix/namespace.rs",
        "rest.is_empty() || rest.starts_with('/')",
        "true",
        TREE,
    ),
    rust_mutant(
        "core/src/prefix/cache.rs",
        "        self.stats.evictions = before;\n",
        "",
        TREE,
    ),
    rust_mutant(
        "core/src/prefix/cache.rs",
        "            self.tree.pin(way);\n            self.tree.pin(root);\n",
        "            self.tree.pin(root);\n",
        TREE,
    ),
)

BUDGET = ("lib", "memory_pool", "engine_memory")

POOL = (
    rust_mutant(
        "core/src/memory/pages.rs",
        "        drop(state);\n        self.returned.notify_all();\n        ticket",
        "        ticket",
        BUDGET,
    ),
    rust_mutant(
        "core/src/memory/pages.rs",
        "self.pool.returned.notify_all();",
        "",
        BUDGET,
    ),
    rust_mutant(
        "core/src/memory/tenants.rs",
        "self.take_off(bytes, Some(tenant));",
        "",
        BUDGET,
    ),
    rust_mutant(
        "core/src/memory/tenants.rs",
        "(Some(own), Some(above)) => Some(own.min(above)),",
        "(Some(own), Some(_)) => Some(own),",
        BUDGET,
    ),
    rust_mutant(
        "core/src/kv/block.rs",
        "self.free.first().copied().or(fresh)",
        "fresh.or(self.free.first().copied())",
        BUDGET,
    ),
    rust_mutant(
        "core/src/kv/block.rs",
        ".filter(|page| users[*page] == 0)",
        ".filter(|_| true)",
        BUDGET,
    ),
    rust_mutant(
        "core/src/memory/evict.rs",
        "(pages.max(1) as f64).sqrt()",
        "(pages.max(1) as f64)",
        BUDGET,
    ),
)

STEPS = ("engine", "engine_exchange", "engine_memory", "engine_together")

ENGINE = (
    rust_mutant(
        "core/src/engine/memory/mod.rs",
        "None if sequence.pin.is_some() => self.unpin(sequence),\n",
        "",
        STEPS,
    ),
    rust_mutant(
        "core/src/kv/table.rs",
        ".for_each(|block| block.leave_table());",
        ".for_each(|_| ());",
        STEPS,
    ),
    rust_mutant(
        "core/src/engine/memory/swap.rs",
        "        self.swapped_bytes -= paused.bytes.len();\n        true",
        "        true",
        STEPS,
    ),
    rust_mutant(
        "core/src/engine/sequences.rs",
        "                && leader.namespace == sequence.namespace\n",
        "",
        STEPS,
    ),
    rust_mutant(
        "core/src/sequence/work.rs",
        "Self::Generate(_) => Wanted::Nothing",
        "Self::Generate(_) => Wanted::Last",
        STEPS,
    ),
    rust_mutant(
        "core/src/model/model_runner.rs",
        "for_step.as_deref().unwrap_or(&**kernels)",
        "&**kernels",
        STEPS,
    ),
)

LEARNING = ("micro_lora",)

MICRO_LORA = (
    rust_mutant(
        "core/src/lora/micro.rs",
        "feedback.quality * feedback.reward.unwrap_or(1.0)",
        "feedback.quality",
        LEARNING,
    ),
    rust_mutant(
        "core/src/lora/micro_place.rs",
        "-learning_rate / gathered.count as f32",
        "-learning_rate",
        LEARNING,
    ),
    rust_mutant(
        "core/src/lora/micro_place.rs",
        "gradients.sum.is_finite() && squares.sum.is_finite()",
        "true",
        LEARNING,
    ),
    rust_mutant("core/src/lora/micro_place.rs", "self.squares.take()?", "self.squares.clone()?", LEARNING),
    rust_mutant("core/src/lora/micro_ewc.rs", "pull / (1.0 + pull)", "pull", LEARNING),
)

PRODUCTS = (
    rust_mutant("kernels/src/matmul/multiply.rs", "tiles = tiles.min(fitting.max(PAIR));", "", ("lib",)),
    rust_mutant(
        "kernels/src/matmul/multiply.rs",
        "present.div_ceil(present.div_ceil(most))",
        "most",
        ("lib",),
    ),
)

RUST_MUTANTS: dict[str, tuple[Mutant, ...]] = {
    "sampler": SAMPLER,
    "prefix cache": PREFIX_CACHE,
    "pool": POOL,
    "engine": ENGINE,
    "MicroLoRA": MICRO_LORA,
    "products": PRODUCTS,
    "attention": ATTENTION_MUTANTS,
    "start": IMAGE_RUST_MUTANTS,
    "evaluating": EVALUATING_RUST_MUTANTS,
    "guesses": GUESS_MUTANTS,
    "windows": WINDOW_MUTANTS,
    "replay": REPLAY_MUTANTS,
}
