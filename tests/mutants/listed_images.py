"""Mutants of weights that were packed before, and of what is known of a machine's cores."""

from tests.mutants.mutant import python_mutant, rust_mutant

__all__ = ["IMAGE_MUTANTS", "IMAGE_RUST_MUTANTS"]

IMAGES = "engine/test_weight_images.py"

IMAGE_MUTANTS = (
    python_mutant(
        "runtime/opening.py",
        "available_memory(mapped)",
        "available_memory()",
        (IMAGES,),
    ),
    python_mutant(
        "observability/machine_memory.py",
        "max(0, machine - mapped_bytes)",
        "machine",
        ("python/test_machine_memory.py",),
    ),
    python_mutant(
        "observability/machine_memory.py",
        "max(0, _reclaimable(folder) - mapped_bytes)",
        "_reclaimable(folder)",
        ("python/test_machine_memory.py",),
    ),
    python_mutant(
        "runtime/weight_images.py",
        'setting == "keep" and _has_room(folder, model)',
        'setting == "keep"',
        (IMAGES,),
    ),
    python_mutant("runtime/weight_images.py", 'if setting == "off":', "if False:", (IMAGES,)),
)

IMAGE_RUST_MUTANTS = (
    rust_mutant("core/src/model/image.rs", "image.mark() != mark", "false", ("weight_images",)),
    rust_mutant(
        "core/src/model/image.rs",
        "check_of_checks(&checks) == image.check()",
        "true",
        ("weight_images",),
    ),
    rust_mutant(
        "kernels/src/weights/bytes.rs",
        "let is_usable = all.len() >= length\n",
        "let is_usable = true\n",
        ("packed_layout",),
    ),
    rust_mutant("kernels/src/topology.rs", "own < most / 2", "own > most", ("lib",)),
    rust_mutant("kernels/src/topology.rs", "small.contains(processor)", "false", ("lib",)),
    rust_mutant("kernels/src/cpu.rs", "let threads = most.min(large);", "let threads = most;", ("lib",)),
)
