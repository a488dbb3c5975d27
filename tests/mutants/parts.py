"""The parts of the project that a sample is drawn from: files, tests that stand for them, how many."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.suites import CargoTargets, PytestFiles, Suite

__all__ = ["PARTS", "Part"]


@dataclass(frozen=True, slots=True)
class Part:
    """Some files and what tests them; parts of one name are counted together.

    Attributes:
        name: What the figures are told by.
        sources: Files and folders, seen from the root of the repository.
        suite: The tests of which one must notice a change.
        count: How many changes are drawn.
    """

    name: str
    sources: tuple[str, ...]
    suite: Suite
    count: int

    def files(self, root: Path) -> Iterator[Path]:
        """The part's files, in order; modules that are tests only are none."""
        for source in self.sources:
            path = root / source
            found = [path] if path.is_file() else [*path.rglob("*.py"), *path.rglob("*.rs")]
            if not found:
                raise ValueError(f"{source} of the part {self.name!r} is not there")
            yield from sorted(one for one in found if one.stem != "tests")


def _package(name: str, sources: tuple[str, ...], tests: tuple[str, ...], count: int) -> Part:
    return Part(name, tuple(f"python/ruvllm/{source}" for source in sources), PytestFiles(tests), count)


def _crate(name: str, sources: tuple[str, ...], targets: tuple[str, ...], count: int) -> Part:
    crate = CargoTargets(f"ruvllm-{sources[0].partition('/')[0]}", targets)
    return Part(name, tuple(f"rust/{source}" for source in sources), crate, count)


PARTS = (
    _package(
        "scheduler",
        ("runtime/admission.py", "runtime/step_shares.py", "runtime/plans.py", "runtime/scheduler.py"),
        ("engine/test_scheduler.py", "engine/test_fair_scheduling.py", "engine/test_step_shares.py"),
        10,
    ),
    _package(
        "scheduler",
        ("runtime/waiting.py", "runtime/pace.py", "runtime/step_times.py"),
        ("engine/test_waiting.py", "engine/test_pace.py", "engine/test_step_times.py"),
        5,
    ),
    _package(
        "engine",
        (
            "runtime/loop.py",
            "runtime/streams.py",
            "runtime/mailbox.py",
            "runtime/events.py",
            "runtime/gathering.py",
            "runtime/evaluations.py",
            "runtime/view.py",
            "runtime/request.py",
            "async_engine.py",
        ),
        (
            "engine/test_loop.py",
            "engine/test_async_sinks.py",
            "engine/test_async_engine.py",
            "engine/test_opening.py",
            "engine/test_token_logprobs.py",
            "engine/test_llm.py",
            "memory/test_pressure.py",
        ),
        15,
    ),
    _package(
        "prefix cache",
        ("caching", "runtime/engine_prefix_cache.py"),
        (
            "caching/test_radix_tree.py",
            "caching/test_prefix_cache.py",
            "caching/test_storage.py",
            "caching/test_radix_tree_model.py",
            "caching/test_prefix_cache_model.py",
            "memory/test_prefix_params.py",
            "memory/test_saved_prefixes.py",
        ),
        15,
    ),
    _package(
        "server limits",
        ("serve/limits.py", "serve/keys.py", "serve/settings.py", "serve/boundary.py", "serve/origins.py"),
        ("serve/test_access.py", "serve/test_bounds.py", "serve/test_connection.py", "cli/test_settings.py"),
        8,
    ),
    _package("server limits", ("serve/entrance.py",), ("serve/test_entrance.py",), 4),
    _package(
        "server limits",
        ("serve/shelves.py", "serve/stored_responses.py", "serve/json_body.py", "serve/prompts.py"),
        (
            "serve/test_stored_responses.py",
            "serve/test_bounds.py",
            "serve/test_responses_kept.py",
            "serve/test_fields.py",
            "serve/test_faults.py",
        ),
        7,
    ),
    _package(
        "learning",
        (
            "learning/journal.py",
            "learning/journal_entry.py",
            "learning/journal_files.py",
            "learning/keeping.py",
            "learning/state.py",
            "learning/state_file.py",
        ),
        ("learning/test_journal.py", "learning/test_state.py", "learning/test_keeping.py"),
        8,
    ),
    _crate(
        "sampler",
        ("core/src/sampling",),
        ("lib", "sampling_reference", "sampling_behaviour", "sampling_reshaped"),
        10,
    ),
    _crate("prefix cache", ("core/src/prefix",), ("lib", "prefix_model", "prefix_file", "engine_memory"), 8),
    _crate("pool", ("core/src/kv", "core/src/memory"), ("lib", "memory_pool", "engine_memory"), 8),
    _crate(
        "engine",
        (
            "core/src/engine",
            "core/src/sequence",
            "core/src/batch.rs",
            "core/src/model/model_runner.rs",
            "core/src/model/outputs.rs",
        ),
        ("lib", "engine", "engine_exchange", "engine_leaving", "engine_memory", "engine_together", "profile"),
        8,
    ),
    _crate("replay", ("core/src/replay",), ("lib", "replay"), 6),
    _crate("formats", ("formats/src",), ("hostile", "lib"), 6),
    _crate(
        "kernels",
        ("kernels/src/ops", "kernels/src/quant", "kernels/src/kv_groups.rs", "kernels/src/lora"),
        ("golden_blocks", "textbook", "lora", "lib"),
        6,
    ),
)
