"""Mutants of what is recommended for a model before it is loaded."""

from tests.mutants.mutant import python_mutant

__all__ = ["AUTODETECT_MUTANTS"]

NUMBERS = ("autodetect/test_recommendation.py",)
BESIDE = ("autodetect/test_inference_config.py",)
RECOMMENDATION = "autodetect/recommendation.py"

AUTODETECT_MUTANTS = (
    python_mutant(
        RECOMMENDATION,
        "left = None if free_bytes is None else free_bytes - model.weight_bytes",
        "left = free_bytes",
        NUMBERS,
    ),
    python_mutant(RECOMMENDATION, "_context(plan) > _context(best[1])", "True", NUMBERS),
    python_mutant(RECOMMENDATION, '("int16", "int8")', '("int16", "int8", "k8v4")', NUMBERS),
    python_mutant(RECOMMENDATION, "size <= free_bytes * ROOMY_SHARE and ", "", NUMBERS),
    python_mutant(RECOMMENDATION, "> model.weight_bytes * WORTH", "> model.weight_bytes", NUMBERS),
    python_mutant(
        RECOMMENDATION, "left is not None and plan.kv_cache_bytes > left", "plan.kv_cache_bytes < 0", NUMBERS
    ),
    python_mutant(RECOMMENDATION, "min(wanted, LEAST_TOKENS)", "1", NUMBERS),
    # Loading would choose the format by what is free, or would be said to.
    python_mutant(
        "runtime/opening.py",
        "memory = EngineMemory.of(plan, settings)",
        'memory = EngineMemory.of(plan, ConfiguredSettings(**{**settings.keywords(), "kv_format": "int8"}))',
        BESIDE,
    ),
    python_mutant(
        "autodetect/inference_config.py",
        "unasked=None\n        if unasked is None",
        "unasked=None\n        if True",
        BESIDE,
    ),
    python_mutant(
        "autodetect/weight_sizes.py",
        '_Mixture("Q4_K", "Q6_K", "Q6_K", _VALUES_AND_DOWNS, 0.5)',
        '_Mixture("Q4_K", "Q6_K", "Q6_K")',
        ("autodetect/test_weight_sizes.py",),
    ),
    python_mutant("cli/doctor_model.py", "hub.find(", "hub.resolve(", ("cli/test_doctor_model.py",)),
    python_mutant(
        "cli/doctor_model.py", "return config.fits is not False", "return True", ("cli/test_doctor_model.py",)
    ),
)
