"""How a model is best run in the memory there is: a pure function of numbers.

Contexts and budgets are planned by the planner that loading uses. What fits never hangs on a guess: where the
system does not tell what is free, nothing is recommended.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import cast

from ruvllm.engine_settings import KvFormat, KvFormats
from ruvllm.errors import OutOfMemoryError
from ruvllm.runtime.configuration import ConfiguredSettings
from ruvllm.runtime.memory_budget import KvPlan
from ruvllm.runtime.opening import plan_memory

__all__ = ["ModelNeeds", "Recommendation", "recommend"]

# So many tokens a model should hold beside its weights, or all that it can; fewer are no conversation.
LEAST_TOKENS = 4096
# Weights fit well where they leave the half of the memory to all else ...
ROOMY_SHARE = 0.5
# ... and more bits are worth a new file where they are a tenth more.
WORTH = 1.1
# Formats of the cache that may be recommended, by what they cost; those that cost quality are only spoken of.
OFFERED: tuple[KvFormat, ...] = ("int16", "int8")
ROOMIER: tuple[KvFormat, ...] = ("k8v4", "q4", "q3")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelNeeds:
    """What a model takes, in bytes; what planning asks of it, too.

    Attributes:
        weight_bytes: Its weights as they are.
        mixture_bytes: Its weights in other quantizations, from the best to the worst.
        kv_shapes: How the key-value cache is made in each format, and in the model's own, `auto`.
        max_context: Tokens that it was made for.
    """

    weight_bytes: int
    mixture_bytes: Mapping[str, int]
    kv_shapes: Mapping[str, tuple[str, int, list[int | None]]]
    max_context: int

    @property
    def kv_format(self) -> KvFormat:
        """The format that it has unless another one is asked for."""
        name, _, _ = self.kv_shapes["auto"]
        return cast("KvFormat", name)

    def kv_shape(self, formats: KvFormats) -> tuple[str, int, list[int | None]]:
        """How the cache is made in a format; with the tail that its shapes were asked for."""
        return self.kv_shapes[formats[0]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """What is best done, and what is done unasked.

    Attributes:
        kv_format: The format of the key-value cache.
        plan: Context and budget with it; `None` where the model does not fit.
        unasked: The plan of `LLM` where no format is set; `None` where it would refuse.
        fits: Whether weights and cache fit; `None` where it is not known what is free.
        quantization: Another quantization of the model that would be better here, if any.
        roomier_format: A format that was not recommended and would hold the whole context.
        problem: Why there is no plan.
    """

    kv_format: KvFormat
    plan: KvPlan | None
    unasked: KvPlan | None
    fits: bool | None
    quantization: str | None
    roomier_format: KvFormat | None
    problem: str | None


def recommend(model: ModelNeeds, settings: ConfiguredSettings, free_bytes: int | None) -> Recommendation:
    """Choose for a machine with so many bytes free, before the model is loaded; settings stand.

    More memory never gives a shorter context, nor another quantization of fewer bits than less memory gave.
    """
    left = None if free_bytes is None else free_bytes - model.weight_bytes
    asked = model.kv_format if settings.kv_format == "auto" else settings.kv_format
    unasked, problem = _planned(model, settings, asked, left)
    kv_format, plan = _best(model, settings, left)
    return Recommendation(
        kv_format=kv_format,
        plan=plan,
        unasked=unasked,
        fits=None if left is None else plan is not None,
        quantization=None if free_bytes is None else _other_quantization(model, settings, free_bytes),
        roomier_format=_roomier(model, settings, plan, left),
        problem=problem if plan is None else None,
    )


def _planned(
    model: ModelNeeds, settings: ConfiguredSettings, kv_format: KvFormat, left: int | None
) -> tuple[KvPlan | None, str | None]:
    """The plan of loading in a format, or why there is none."""
    if left is not None and left <= 0:
        return None, f"its weights take {model.weight_bytes} bytes, and {left + model.weight_bytes} are free"
    try:
        plan = plan_memory(model, replace(settings, kv_format=kv_format), left)
    except OutOfMemoryError as error:
        return None, error.message.removeprefix(f"{error.prefix}: ")
    if left is not None and plan.kv_cache_bytes > left:
        return None, f"kv_cache_bytes is {plan.kv_cache_bytes}, and {left} are free beside its weights"
    return plan, None


def _best(
    model: ModelNeeds, settings: ConfiguredSettings, left: int | None
) -> tuple[KvFormat, KvPlan | None]:
    """The first format in which the wanted context fits, else the one that holds the most."""
    best: tuple[KvFormat, KvPlan | None] | None = None
    for kv_format in _allowed(model, settings):
        plan, _ = _planned(model, settings, kv_format, left)
        if best is None or _context(plan) > _context(best[1]):
            best = (kv_format, plan)
        if _context(plan) >= _wanted(model, settings):
            break
    return best or (model.kv_format, None)


def _allowed(model: ModelNeeds, settings: ConfiguredSettings) -> tuple[KvFormat, ...]:
    if settings.kv_format != "auto":
        return (settings.kv_format,)
    others = (one for one in OFFERED if one != model.kv_format and one in model.kv_shapes)
    return (model.kv_format, *others)


def _wanted(model: ModelNeeds, settings: ConfiguredSettings) -> int:
    return min(settings.max_context or model.max_context, model.max_context)


def _context(plan: KvPlan | None) -> int:
    return 0 if plan is None else plan.max_context


def _other_quantization(model: ModelNeeds, settings: ConfiguredSettings, free_bytes: int) -> str | None:
    """One that fits, where the file does not; one of more bits, where there is plenty of room."""
    wanted = _wanted(model, settings)

    def holds(weight_bytes: int, num_tokens: int, formats: tuple[KvFormat, ...]) -> bool:
        left = free_bytes - weight_bytes
        plans = (_planned(model, settings, each, left)[0] for each in formats)
        return any(_context(plan) >= num_tokens for plan in plans)

    allowed, least = _allowed(model, settings), min(wanted, LEAST_TOKENS)
    if not holds(model.weight_bytes, least, allowed):
        fitting = (name for name, size in model.mixture_bytes.items() if holds(size, least, allowed))
        return next(fitting, None)
    for name, size in model.mixture_bytes.items():
        is_roomy = size <= free_bytes * ROOMY_SHARE and holds(size, wanted, allowed[:1])
        if size > model.weight_bytes * WORTH and is_roomy:
            return name
    return None


def _roomier(
    model: ModelNeeds, settings: ConfiguredSettings, plan: KvPlan | None, left: int | None
) -> KvFormat | None:
    wanted = _wanted(model, settings)
    if settings.kv_format != "auto" or _context(plan) >= wanted:
        return None
    known = (each for each in ROOMIER if each in model.kv_shapes)
    return next(
        (each for each in known if _context(_planned(model, settings, each, left)[0]) >= wanted), None
    )
