"""No word of a descriptor or of the parameters makes a kernel of the pack trap, or touch what it must not."""

import math
import struct
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.packs.kernel_cases import CASES, ENTRIES, Case, kernel, place
from tests.packs.kernel_host import (
    CANARY,
    INVALID_INPUT,
    INVALID_OUTPUT,
    INVALID_PARAMS,
    NOT_IMPLEMENTED,
    OK,
    OUT_OF_MEMORY,
    Kernel,
    Layout,
)

NAMES = sorted(ENTRIES)
HUGE = 0xFFFFFFF0
PLANES = ("input_a", "input_b", "output", "scratch", "params")
CODE_OF = dict(
    zip(PLANES, (INVALID_INPUT, INVALID_INPUT, INVALID_OUTPUT, OUT_OF_MEMORY, INVALID_PARAMS), strict=True)
)


def refusal(target: Kernel, layout: Layout) -> int:
    """The code for this descriptor; a call that is not accepted changes nothing behind the heap base."""
    target.write(target.heap_base, layout.descriptor())
    before = target.read(target.heap_base, target.memory_bytes - target.heap_base)
    code = target.forward(target.heap_base)
    if code != OK:
        assert target.read(target.heap_base, len(before)) == before
    return code


@pytest.mark.parametrize("name", NAMES)
def test_a_plane_of_another_size_or_place(name: str) -> None:
    target, case = kernel(name), CASES[name]
    layout = place(target, case)
    assert refusal(target, layout) == OK
    for plane in PLANES:
        offset, size = getattr(layout, plane)
        expected = CODE_OF[plane]
        places = (offset + 4, target.heap_base - 16, 0, target.memory_bytes - size + 16 & ~15, HUGE)
        wrong = [(each, size) for each in places if size]
        wrong += (
            [(offset, size - 1), (offset, 0)] if size else [(target.heap_base, 4), (target.heap_base, HUGE)]
        )
        if plane != "scratch":  # which may be larger than needed
            wrong += [(offset or target.heap_base, size + 1), (offset, size + 4)]
        if plane == "scratch" and not size:
            wrong = []  # what is not needed is not looked at
        for each in wrong:
            code = refusal(target, replace(layout, **{plane: each}))
            assert code == expected, f"{plane} {each} gave {code}"


@pytest.mark.parametrize("name", NAMES)
def test_the_whole_of_memory_may_be_used_and_no_more(name: str) -> None:
    target, case = kernel(name), CASES[name]
    layout = place(target, case)
    size = case.sizes[0]
    last = target.memory_bytes - size & ~15
    assert last + size <= target.memory_bytes
    assert refusal(target, replace(layout, input_a=(last, size))) == OK
    assert refusal(target, replace(layout, input_a=(last + 16, size))) == INVALID_INPUT


@pytest.mark.parametrize("name", NAMES)
def test_a_descriptor_that_cannot_be_read(name: str) -> None:
    target = kernel(name)
    layout = place(target, CASES[name])
    for address in (
        target.heap_base + 4,
        target.heap_base - 16,
        0,
        target.memory_bytes - 32,
        HUGE,
        0xFFFFFFFF,
    ):
        assert target.forward(address) == INVALID_PARAMS
    last = target.memory_bytes - 48
    target.write(last, layout.descriptor())
    assert target.forward(last) == OK


@pytest.mark.parametrize("name", NAMES)
def test_ranges_that_overlap(name: str) -> None:
    target, case = kernel(name), CASES[name]
    layout = place(target, case)
    in_place = name.startswith(("rope", "rmsnorm", "swiglu"))
    a_offset, a_size = layout.input_a
    same = replace(layout, output=(a_offset, case.sizes[2]))
    assert refusal(target, same) == (OK if in_place else INVALID_OUTPUT)
    shifted = replace(layout, output=(a_offset + 16, case.sizes[2]))
    assert refusal(target, shifted) == INVALID_OUTPUT
    if case.sizes[1]:
        on_b = replace(layout, output=(layout.input_b[0], case.sizes[2]))
        assert refusal(target, on_b) == INVALID_OUTPUT
        if case.sizes[1] == case.sizes[0]:
            assert refusal(target, replace(layout, input_b=(a_offset, a_size))) == OK
    if case.scratch:
        for plane in ("input_a", "input_b", "output"):
            on_plane = replace(layout, scratch=(getattr(layout, plane)[0], case.scratch))
            assert refusal(target, on_plane) == OUT_OF_MEMORY


WRONG = {
    "rope": [(1, 2, 3, *rest) for rest in ((0, 0, 0), (64, 66, 0), (64, 33, 0), (64, HUGE, 0), (64, 32, 2))],
    "rope_q8": [(1, 2, 3, 40, 36, 0)],
    "rmsnorm": [(3, 0, 1e-6, 0.0, 16), (3, 50, 1e-6, 0.0, 0), (3, 50, 1e-6, 0.0, 12)]
    + [(3, 50, value, 0.0, 16) for value in (-1e-6, math.nan, math.inf)]
    + [(3, 50, 1e-6, value, 16) for value in (math.nan, math.inf)],
    "swiglu": [(75, 2)],
    "kv": [(3, 0, 0, 32), (3, 40, 2, 32)],
    "lora": [(2, 0, 5, 7, 0.5), (2, 40, 0, 7, 0.5), (2, 40, 5, 0, 0.5)]
    + [(2, 40, 5, 7, value) for value in (math.nan, -math.inf)],
}
WRONG_PARAMS = [
    (name, params)
    for name in NAMES
    for begin, rows in WRONG.items()
    if name.startswith(begin)
    for params in rows
]


@pytest.mark.parametrize(("name", "params"), WRONG_PARAMS)
def test_parameters_that_mean_nothing(name: str, params: tuple[float, ...]) -> None:
    target = kernel(name)
    layout = place(target, replace(CASES[name], params=params))
    assert refusal(target, layout) == INVALID_PARAMS


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("kv")])
def test_another_group_is_not_implemented(name: str) -> None:
    target, case = kernel(name), CASES[name]
    layout = place(target, replace(case, params=(*case.params[:3], 64)))
    assert refusal(target, layout) == NOT_IMPLEMENTED


# Products that are small or right again modulo 2^32 or 2^64.
WRAPPING = {
    "rope_f32": [
        (1 << 31, 1 << 31, 4, 1 << 30, 0, 0),
        (1 << 16, 1 << 16, 1, 2, 2, 0),
        (1, 1 << 31, 1, 2, 2, 1),
    ],
    "rope_f16": [(1 << 31, 1 << 31, 4, 1 << 31, 0, 0), (1 << 16, 1 << 16, 1, 2, 2, 0)],
    "rope_q8": [(1 << 31, 1 << 31, 4, 1 << 31, 0, 0), (1, 1 << 27, 1, 1 << 5, 0, 0)],
    "rmsnorm_f32": [
        (1 << 30, 1 << 30, 0.0, 0.0, 16),
        (1 << 15, 1 << 15, 0.0, 0.0, 8),
        (1 << 31, 1 << 31, 0.0, 0.0, 4),
    ],
    "swiglu_f32": [(1 << 30, 0), ((1 << 30) + 75, 1)],
    "kv_pack_q4": [(1 << 31, 1 << 31, 0, 32), (1 << 30, 1, 1, 32), (0xFFFFFFFF, 0xFFFFFFFF, 1, 32)],
    "kv_unpack_q8": [(1 << 31, 1 << 31, 0, 32), (1 << 30, 1, 1, 32), (0xFFFFFFFF, 0xFFFFFFFF, 0, 32)],
    "lora_apply_f32": [(1 << 31, 2, 1 << 31, 2, 1.0), (1, 1 << 30, 1 << 2, 1 << 30, 1.0)],
    "lora_apply_f16": [(1 << 31, 2, 1 << 31, 2, 1.0), (1, 1 << 31, 1, 1 << 31, 1.0)],
}


@pytest.mark.parametrize(
    ("name", "params"), [(name, params) for name, all_of in WRAPPING.items() for params in all_of]
)
def test_sizes_do_not_wrap_around(name: str, params: tuple[float, ...]) -> None:
    target, case = kernel(name), replace(CASES[name], params=params)
    for sizes in ((0, 0, 0), CASES[name].sizes):
        layout = place(target, Case(case.params, case.params_format, sizes, case.scratch))
        assert refusal(target, layout) != OK


@pytest.mark.parametrize("name", NAMES)
def test_nothing_to_do_is_done(name: str) -> None:
    """Zero rows: sizes of 0 wherever nothing depends on the rows."""
    case = CASES[name]
    index = 1 if name.startswith("rope") else 0
    params = tuple(0 if each == index else value for each, value in enumerate(case.params))
    b_size = case.sizes[1] if name.startswith(("rmsnorm", "lora")) else 0
    target = kernel(name)
    empty = Case(params, case.params_format, (0, b_size, 0), case.scratch)
    assert refusal(target, place(target, empty)) == OK


words = st.one_of(
    st.integers(0, 0xFFFFFFFF),
    st.integers(0, 80),
    st.sampled_from([4096, 4112, 4096 + 64, 8192, 65520, 65536, HUGE, 0x80000000, 0x7F800000, 0x3F800000]),
)


@pytest.mark.parametrize("name", NAMES)
def test_no_word_makes_it_trap_or_write_elsewhere(name: str) -> None:
    target, case = kernel(name), CASES[name]
    good = place(target, case)

    @settings(deadline=None, max_examples=150, database=None)
    @given(
        st.dictionaries(st.integers(0, 9), words, max_size=4),
        st.dictionaries(st.integers(0, 5), words, max_size=3),
    )
    def call(in_descriptor: dict[int, int], in_params: dict[int, int]) -> None:
        descriptor = list(struct.unpack("<10I", good.descriptor()))
        params = list(struct.unpack(f"<{len(case.packed_params) // 4}I", case.packed_params))
        for values, changes in ((descriptor, in_descriptor), (params, in_params)):
            for index, word in changes.items():
                if index < len(values):
                    values[index] = word
        end = target.memory_bytes - target.heap_base
        target.write(target.heap_base, bytes([CANARY]) * end)
        target.write(target.heap_base, struct.pack("<10I", *descriptor))
        target.write(good.params[0], struct.pack(f"<{len(params)}I", *params))
        before = target.read(target.heap_base, end)
        code = target.forward(target.heap_base)
        assert OK <= code <= NOT_IMPLEMENTED
        expected = bytearray(before)
        after = target.read(target.heap_base, end)
        for offset, size in ((descriptor[4], descriptor[5]), (descriptor[6], descriptor[7])):
            begin = offset - target.heap_base
            if code == OK and size and offset >= target.heap_base:
                expected[begin : begin + size] = after[begin : begin + size]
        assert after == bytes(expected)

    call()
