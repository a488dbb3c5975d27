"""How many blocks a request needs, beside one that takes and gives them back block by block."""

from hypothesis import given
from hypothesis import strategies as st

from ruvllm.runtime.kv_shape import KvShape

SHAPES = st.builds(
    KvShape,
    st.integers(1, 20),
    st.lists(st.none() | st.integers(1, 70), min_size=1, max_size=4).map(tuple),
)


def blocks_of(shape: KvShape, positions: range, end: int) -> int:
    """Blocks with a token that someone at one of these positions sees, or that is written before `end`."""
    held = set()
    for group, window in enumerate(shape.windows):
        for position in positions:
            first = 0 if window is None else max(0, position - window + 1)
            held |= {(group, seen // shape.block_tokens) for seen in range(first, position + 1)}
        held |= {(group, written // shape.block_tokens) for written in range(positions.start, end)}
    return len(held)


@given(SHAPES, st.integers(0, 150), st.integers(1, 40))
def test_a_step_needs_what_its_tokens_see_and_write(shape: KvShape, computed: int, count: int) -> None:
    assert shape.blocks_at(computed, computed + count) == blocks_of(
        shape, range(computed, computed + count), computed + count
    )


@given(SHAPES, st.integers(1, 40), st.lists(st.integers(1, 40), min_size=1, max_size=12))
def test_no_way_to_a_length_needs_more(shape: KvShape, step: int, parts: list[int]) -> None:
    computed, most = 0, 0
    for part in parts:
        end = computed + min(part, step)
        most = max(most, shape.blocks_at(computed, end))
        computed = end
    bound = shape.most_blocks(computed, step)
    assert most <= bound
    # As close as can be said without knowing where in a block a step begins.
    assert bound <= most + len(shape.windows) * (shape.rows(step) + 1)


@given(SHAPES, st.integers(1, 40), st.integers(0, 80), st.integers(1, 400))
def test_what_fits_is_the_most_that_fits(shape: KvShape, step: int, blocks: int, limit: int) -> None:
    tokens = shape.tokens_in(blocks, step, limit)
    assert tokens <= limit
    assert tokens == 0 or shape.most_blocks(tokens, step) <= blocks
    if tokens < limit:
        assert shape.most_blocks(tokens + 1, step) > blocks


def test_a_window_bounds_what_a_long_text_holds() -> None:
    gemma = KvShape(16, (None, *[512] * 5))
    assert gemma.blocks_at(32_768, 32_769) == 2049 + 5 * 33
    assert gemma.most_blocks(32_768, 512) == 2048 + 5 * 65
