"""What is recommended, by numbers alone: it fits, and more memory never makes it worse."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ruvllm.autodetect.recommendation import LEAST_TOKENS, ModelNeeds, Recommendation, recommend
from ruvllm.engine_settings import EngineSettings
from ruvllm.errors import ConfigError
from ruvllm.runtime.configuration import ConfiguredSettings, settings_from

GB = 10**9
# Bytes of a value in a key-value block: those of an 8B, 16 tokens of 2 * 8 heads of 128 in 32 layers.
BLOCK = {
    "f32": 4 * 1_064_960,
    "int16": 2 * 1_064_960,
    "int8": 1_081_344,
    "k8v4": 819_200,
    "q4": 557_056,
    "q3": 401_408,
}
MIXTURES = {"Q8_0": 8.6, "Q6_K": 6.6, "Q5_K_M": 5.8, "Q4_K_M": 5.0, "Q4_0": 4.6, "Q3_K_M": 4.8}
FREE = settings_from(None, EngineSettings())


def shapes(block_bytes: dict[str, int], auto: str) -> dict[str, tuple[str, int, list[int | None]]]:
    """How the cache of a model without windows is made in each format, and in its own."""
    of_all: dict[str, tuple[str, int, list[int | None]]]
    of_all = {name: (name, size, [None]) for name, size in block_bytes.items()}
    return of_all | {"auto": of_all[auto]}


def model_of(weights: float, *, max_context: int = 131_072, kv_format: str = "int16") -> ModelNeeds:
    """An 8B whose file has weights of so many GB."""
    return ModelNeeds(
        weight_bytes=int(weights * GB),
        mixture_bytes={name: int(size * GB) for name, size in MIXTURES.items()},
        kv_shapes=shapes(BLOCK, kv_format),
        max_context=max_context,
    )


def chosen(model: ModelNeeds, free: float, **settings: object) -> Recommendation:
    return recommend(model, settings_from(None, EngineSettings.given(settings)), int(free * GB))


def test_where_there_is_plenty_the_defaults_stand() -> None:
    best = chosen(model_of(16.2), 200)
    assert best.plan is not None
    assert (best.kv_format, best.plan.max_context, best.fits) == ("int16", 131_072, True)
    assert best.plan == best.unasked
    assert (best.quantization, best.roomier_format, best.problem) == (None, None, None)


def test_more_bits_where_they_fit_well() -> None:
    assert chosen(model_of(4.9), 100).quantization == "Q8_0"
    # Weights must leave the half, and room for the whole context as it is.
    assert chosen(model_of(4.9), 16, max_context=4096).quantization == "Q6_K"
    assert chosen(model_of(4.9), 16).quantization is None
    # A tenth more is worth nothing.
    assert chosen(model_of(8.0), 100).quantization is None


@pytest.mark.parametrize(
    ("free", "name"),
    [(16, "Q8_0"), (9, "Q6_K"), (6.9, "Q5_K_M"), (6.3, "Q4_K_M"), (5.2, "Q4_0"), (4, None)],
)
def test_fewer_bits_where_the_file_does_not_fit(free: float, name: str | None) -> None:
    best = chosen(model_of(16.2), free)
    assert best.quantization == name
    assert best.fits is False
    assert best.plan is None is best.unasked
    assert best.problem == f"its weights take 16200000000 bytes, and {int(free * GB)} are free"


def test_fewer_bits_where_the_file_leaves_no_room_for_a_conversation() -> None:
    best = chosen(model_of(16.2), 16.5)
    assert best.plan is not None
    assert 0 < best.plan.max_context < LEAST_TOKENS
    assert (best.fits, best.quantization) == (True, "Q8_0")


def test_int8_only_where_it_holds_more() -> None:
    """A context of 131072 tokens takes 17.4 GB in int16, and 8.9 in int8."""
    assert chosen(model_of(5), 41).kv_format == "int16"
    best = chosen(model_of(5), 30)
    assert best.plan is not None
    assert best.unasked is not None
    assert (best.kv_format, best.plan.max_context) == ("int8", 131_072)
    assert best.unasked.max_context == 93_888
    # What was asked for in short fits as it is, and what was asked for as a format stands.
    assert chosen(model_of(5), 30, max_context=8192).kv_format == "int16"
    assert chosen(model_of(5), 30, kv_format="int16").kv_format == "int16"


def test_what_costs_quality_is_spoken_of_and_never_chosen() -> None:
    best = chosen(model_of(5), 20)
    assert (best.kv_format, best.roomier_format) == ("int8", "k8v4")
    assert chosen(model_of(5), 30).roomier_format is None
    assert chosen(model_of(5), 16).roomier_format == "q4"
    assert chosen(model_of(5), 12).roomier_format == "q3"
    assert chosen(model_of(5), 11).roomier_format is None
    # Where a model cannot have it, nobody speaks of it.
    model = model_of(5)
    few_bits = ("q4", "q3")
    kept = {name: one for name, one in model.kv_shapes.items() if name not in few_bits}
    assert chosen(replace(model, kv_shapes=kept), 16).roomier_format is None
    assert chosen(model_of(5), 20, kv_format="k8v4").kv_format == "k8v4"


def test_f32_gives_way_to_what_is_as_exact_as_f16_first() -> None:
    model = model_of(5, max_context=65_536, kv_format="f32")
    assert chosen(model, 50).kv_format == "f32"
    assert chosen(model, 25).kv_format == "int16"
    assert chosen(model, 15).kv_format == "int8"


def test_a_budget_that_is_not_there_does_not_fit() -> None:
    best = chosen(model_of(5), 10, kv_cache_bytes=6 * GB)
    assert (best.fits, best.problem) == (
        False,
        "kv_cache_bytes is 6000000000, and 5000000000 are free beside its weights",
    )
    assert chosen(model_of(5), 10, kv_cache_bytes=1000).problem is not None


def test_what_nobody_knows_is_not_said() -> None:
    best = recommend(model_of(5), FREE, None)
    assert (best.fits, best.quantization) == (None, None)
    assert best.plan is not None


def test_more_than_the_model_was_made_for_is_refused_as_by_loading() -> None:
    with pytest.raises(ConfigError, match="made for 131072 tokens at most"):
        chosen(model_of(5), 100, max_context=200_000)


BYTES = st.integers(0, 400 * GB)
MODELS = st.builds(
    lambda weights, others, token, context, kv_format: ModelNeeds(
        weight_bytes=weights,
        mixture_bytes=dict(zip(MIXTURES, sorted(others, reverse=True), strict=True)),
        kv_shapes=shapes(
            {
                "f32": 64 * token,
                "int16": 32 * token + 64,
                "int8": 16 * token + 64,
                "k8v4": 12 * token + 64,
                "q4": 8 * token + 64,
                "q3": 6 * token + 64,
            },
            kv_format,
        ),
        max_context=context,
    ),
    st.integers(1, 200 * GB),
    st.lists(st.integers(1, 200 * GB), min_size=len(MIXTURES), max_size=len(MIXTURES)),
    st.integers(64, 10**6),
    st.integers(1, 1 << 20),
    st.sampled_from(["int16", "f32"]),
)
SETTINGS = st.builds(
    lambda context, budget, kv_format: settings_from(
        None, EngineSettings(max_context=context, kv_cache_bytes=budget, kv_format=kv_format)
    ),
    st.none() | st.integers(1, 1 << 20),
    st.none() | st.integers(1, 50 * GB),
    st.sampled_from(["auto", "int16", "int8", "k8v4", "q4", "q3"]),
)


def within(model: ModelNeeds, settings: ConfiguredSettings) -> ConfiguredSettings:
    """No more context than the model has, which is refused."""
    wanted = settings.max_context
    return settings if wanted is None else replace(settings, max_context=min(wanted, model.max_context))


@given(MODELS, SETTINGS, BYTES)
def test_what_is_recommended_fits(model: ModelNeeds, settings: ConfiguredSettings, free: int) -> None:
    settings = within(model, settings)
    best = recommend(model, settings, free)
    assert best.fits is (best.plan is not None)
    assert (best.problem is None) is (best.plan is not None)
    if best.plan is not None:
        assert model.weight_bytes + best.plan.kv_cache_bytes <= free
        blocks = -(-best.plan.max_context // 16)
        _, block_bytes, _ = model.kv_shape((best.kv_format, None, None))
        assert blocks * block_bytes <= best.plan.kv_cache_bytes
    if best.quantization is not None:
        made = replace(model, weight_bytes=model.mixture_bytes[best.quantization])
        plan = recommend(made, settings, free).plan
        assert plan is not None
        wanted = settings.max_context or model.max_context
        assert plan.max_context >= min(wanted, LEAST_TOKENS)


@given(MODELS, SETTINGS, BYTES)
def test_the_format_is_another_one_only_where_it_holds_more(
    model: ModelNeeds, settings: ConfiguredSettings, free: int
) -> None:
    best = recommend(model, within(model, settings), free)
    if settings.kv_format != "auto":
        assert best.kv_format == settings.kv_format
        assert best.plan == best.unasked
    elif best.kv_format != model.kv_format:
        assert best.kv_format in ("int16", "int8")
        assert best.plan is not None
        assert best.plan.max_context > (best.unasked.max_context if best.unasked else 0)
    else:
        assert best.plan == best.unasked


def is_larger(model: ModelNeeds, name: str) -> bool:
    """Whether a quantization has more bits than the file."""
    return model.mixture_bytes[name] > model.weight_bytes


@given(MODELS, SETTINGS, BYTES, BYTES)
def test_more_memory_never_gives_less(
    model: ModelNeeds, settings: ConfiguredSettings, one: int, other: int
) -> None:
    settings = within(model, settings)
    less, more = (recommend(model, settings, free) for free in sorted((one, other)))
    for before, after in ((less.plan, more.plan), (less.unasked, more.unasked)):
        if before is not None:
            assert after is not None
            assert after.max_context >= before.max_context
            assert after.kv_cache_bytes >= before.kv_cache_bytes
    if less.quantization is not None and is_larger(model, less.quantization):
        assert more.quantization is not None
        assert is_larger(model, more.quantization)
    if less.quantization is not None and more.quantization is not None:
        by_bits = list(MIXTURES)
        is_raised = is_larger(model, more.quantization) and not is_larger(model, less.quantization)
        assert is_raised or by_bits.index(more.quantization) <= by_bits.index(less.quantization)
