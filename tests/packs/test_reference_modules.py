"""What each module of the reference pack is: its exports, limits and needs, in manifest and binary."""

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import wasmtime

from tests.packs.kernel_cases import CASES, ENTRIES, MANIFEST, kernel, place
from tests.packs.kernel_host import INVALID_OUTPUT, INVALID_PARAMS, NOT_IMPLEMENTED, OK, PACK, PAGE

NAMES = sorted(ENTRIES)
# Sections of a core module by their numbers in the binary format.
TABLE, START, CUSTOM = 4, 8, 0


def read_number(data: bytes, position: int) -> tuple[int, int]:
    """An unsigned LEB128 and where it ends."""
    value = shift = 0
    while True:
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return value, position


def sections(data: bytes) -> Iterator[tuple[int, bytes]]:
    assert data[:8] == b"\0asm\1\0\0\0"
    position = 8
    while position < len(data):
        number = data[position]
        size, position = read_number(data, position + 1)
        yield number, data[position : position + size]
        position += size


def test_the_pack_holds_the_thirteen() -> None:
    expected = [
        *("kv/kv_pack_q4", "kv/kv_pack_q8", "kv/kv_unpack_q4", "kv/kv_unpack_q8"),
        *("lora/lora_apply_f16", "lora/lora_apply_f32", "rmsnorm/rmsnorm_f16", "rmsnorm/rmsnorm_f32"),
        *("rope/rope_f16", "rope/rope_f32", "rope/rope_q8", "swiglu/swiglu_f16", "swiglu/swiglu_f32"),
    ]
    assert sorted(path.relative_to(PACK).as_posix() for path in PACK.rglob("*.wasm")) == [
        f"{path}.wasm" for path in expected
    ]
    assert sorted(entry["path"] for entry in ENTRIES.values()) == [f"{path}.wasm" for path in expected]
    assert set(MANIFEST["fallbacks"]) == set(ENTRIES) == set(CASES)


@pytest.mark.parametrize("name", NAMES)
def test_exports_and_limits(name: str) -> None:
    entry = ENTRIES[name]
    data = (PACK / entry["path"]).read_bytes()
    found = dict(sections(data))
    assert not {START, CUSTOM} & set(found)
    # One table of function references, of one element at least and at most, which the linker always makes.
    assert found[TABLE] == b"\x01\x70\x01\x01\x01"
    assert entry["resource_limits"]["max_table_elements"] == 1
    assert len(data) < 10_000
    module = wasmtime.Module(wasmtime.Engine(), data)
    assert not module.imports
    exports = {export.name: export.type for export in module.exports}
    functions = {"kernel_init", "kernel_info", "kernel_cleanup", entry["entry_point"]}
    assert set(exports) == functions | {"memory", "__heap_base"}
    limits = exports["memory"].limits
    assert (limits.min, limits.max) == (1, entry["resource_limits"]["max_memory_pages"])
    assert limits.max <= 256
    arity = {export: len(exports[export].params) for export in functions}
    assert arity == {"kernel_init": 2, "kernel_info": 1, "kernel_cleanup": 0, entry["entry_point"]: 1}
    assert all([str(each) for each in exports[export].results] == ["i32"] for export in functions)


@pytest.mark.parametrize("name", NAMES)
def test_the_features_listed_are_those_needed(name: str) -> None:
    switches = {"relaxed-simd": "wasm_relaxed_simd", "simd": "wasm_simd", "bulk-memory": "wasm_bulk_memory"}
    listed = ENTRIES[name]["platforms"]["wasmtime"]["features"]

    def compiles(features: set[str]) -> bool:
        config = wasmtime.Config()
        # The relaxed instructions cannot stay on without the others.
        for feature, switch in switches.items():
            setattr(config, switch, feature in features)
        # These would keep bulk memory on.
        config.wasm_reference_types = False
        try:
            wasmtime.Module.from_file(wasmtime.Engine(config), str(PACK / ENTRIES[name]["path"]))
        except wasmtime.WasmtimeError:
            return False
        return True

    assert compiles(set(listed))
    for feature in listed:
        assert not compiles(set(listed) - {feature} - ({"relaxed-simd"} if feature == "simd" else set()))


@pytest.mark.parametrize("name", NAMES)
def test_info_and_init(name: str) -> None:
    target, case = kernel(name), CASES[name]
    info = target.info()
    assert (info.abi_version, info.info_size, info.alignment) == (1, 32, 16)
    assert info.params_size == len(case.packed_params) == 4 * len(ENTRIES[name]["params"])
    assert info.heap_base == target.heap_base == 4096
    in_place, reads_output = bool(info.flags & 1), bool(info.flags & 2)
    assert in_place == name.startswith(("rope", "rmsnorm", "swiglu"))
    assert reads_output == name.startswith("lora")
    assert info.flags < 4
    for address in (target.heap_base + 8, target.heap_base - 16, target.memory_bytes - 16, 0xFFFFFFF0):
        assert target.call("kernel_info", address) == INVALID_OUTPUT

    assert target.call("kernel_init", 0, 0) == OK
    target.write(target.heap_base, case.packed_params)
    assert target.call("kernel_init", target.heap_base, info.params_size) == OK
    assert target.call("kernel_init", target.heap_base, info.params_size - 4) == INVALID_PARAMS
    assert target.call("kernel_init", target.heap_base + 4, info.params_size) == INVALID_PARAMS
    assert target.call("kernel_init", 0xFFFFFFF0, info.params_size) == INVALID_PARAMS
    if name.startswith("swiglu"):
        target.write(target.heap_base, struct.pack("<II", 75, 2))
        assert target.call("kernel_init", target.heap_base, 8) == INVALID_PARAMS
    if name.startswith("kv"):
        target.write(target.heap_base, struct.pack("<4I", 3, 40, 0, 64))
        assert target.call("kernel_init", target.heap_base, 16) == NOT_IMPLEMENTED
    assert target.call("kernel_cleanup") == OK


@pytest.mark.parametrize("name", NAMES)
def test_memory_grows_to_the_limit_and_no_further(name: str) -> None:
    target = kernel(name)
    limit = ENTRIES[name]["resource_limits"]["max_memory_pages"]
    target.ensure(limit * PAGE)
    assert target.memory_bytes == limit * PAGE
    with pytest.raises(wasmtime.WasmtimeError):
        target.memory.grow(target.store, 1)


@pytest.mark.parametrize("name", NAMES)
def test_a_call_uses_half_of_its_stack_at_most(name: str) -> None:
    """The stack ends at the heap base and grows down; there is nothing else below."""
    target, case = kernel(name), CASES[name]
    place(target, case)
    mark = bytes([0x5A]) * target.heap_base
    target.write(0, mark)
    assert target.forward(target.heap_base) == OK
    below = target.read(0, target.heap_base)
    deepest = next((index for index in range(len(below)) if below[index] != mark[index]), len(below))
    assert len(below) - deepest <= 2048


@pytest.fixture(scope="module")
def pulley() -> wasmtime.Engine:
    """Wasmtime's interpreter, which the embedded class uses."""
    config = wasmtime.Config()
    config.target = "pulley64"
    return wasmtime.Engine(config)


@pytest.mark.parametrize("name", NAMES)
def test_interpreted_and_compiled_the_bits_are_the_same(name: str, pulley: wasmtime.Engine) -> None:
    results = []
    for target in (kernel(name), kernel(name, pulley)):
        layout = place(target, CASES[name])
        rng = np.random.default_rng(3)
        for plane in (layout.input_a, layout.input_b):
            # Bytes that are no special numbers, whatever is read from them.
            target.write(plane[0], rng.integers(40, 60, plane[1], dtype=np.uint8).tobytes())
        target.write(layout.output[0], bytes(layout.output[1]))
        assert target.forward(target.heap_base) == OK
        results.append(target.read(*layout.output))
    assert results[0] == results[1]
    assert any(results[0])


def test_the_sources_are_short() -> None:
    folder = Path(__file__).resolve().parents[2] / "rust" / "packs" / "kernels"
    for path in [*folder.glob("*.[ch]"), *folder.glob("*.py")]:
        lines = path.read_text(encoding="utf-8").splitlines()
        assert len(lines) < 250, path.name
        assert max(map(len, lines)) <= 110, path.name
