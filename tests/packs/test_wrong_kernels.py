"""The reference pack's own kernels with one small mistake each: the comparison notices every one."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ruvllm.errors import PackError
from ruvllm.packs import KernelPack
from tests.architecture import sources
from tests.packs.pack_copies import TRUSTED, Manifest, copy_pack, replace_module

SOURCES = sources.RUST / "packs" / "kernels"
COMPILE = """
import sys
from pathlib import Path
from build import compile_module
from modules import MODULES

module = next(module for module in MODULES if module.id == sys.argv[1])
compile_module(module, Path(sys.argv[2]), Path(sys.argv[3]))
"""
# A kernel, and the line that goes wrong.
MISTAKES = {
    "rope_f16": ("rope.c", "*sines = sine_table + position * half", "*sines = sine_table"),
    "rope_q8": ("rope_q8.c", "is_finite ? largest / 127.0f", "is_finite ? largest / 126.0f"),
    "rmsnorm_f16": ("rmsnorm.c", "__builtin_sqrtf(mean + params->epsilon)", "__builtin_sqrtf(mean)"),
    "swiglu_f16": ("swiglu.c", "0.044715f", "0.05f"),
    "kv_pack_q4": (
        "kv_pack.c",
        "wasm_v128_or(first, wasm_i8x16_shl(second, 4))",
        "wasm_v128_or(second, wasm_i8x16_shl(first, 4))",
    ),
    # The codes of values that are not there.
    "kv_pack_q8": ("kv_pack.c", "count > 16 ? count - 16 : 0)", "16)"),
    "kv_unpack_q4": (
        "kv_unpack.c",
        "step, minimum, values + 16);\n#else",
        "step, step, values + 16);\n#else",
    ),
    # The channels beside the last four.
    "kv_unpack_q8": ("kv_unpack.c", "+ channel] = column[token]", "+ channel] = column[0]"),
    "lora_apply_f32": ("lora_apply.c", "params->scale * dot(", "dot("),
    "lora_apply_f16": ("lora_apply.c", "y[output] += one_output", "y[output] = one_output"),
}


def compiled(kernel_id: str, folder: Path) -> bytes:
    """The kernel out of the sources with its mistake."""
    name, right, wrong = MISTAKES[kernel_id]
    shutil.copytree(SOURCES, folder / "kernels", ignore=shutil.ignore_patterns("__pycache__"))
    source = folder / "kernels" / name
    text = source.read_text(encoding="utf-8")
    assert text.count(right) == 1
    source.write_text(text.replace(right, wrong), encoding="utf-8")
    output = folder / "wrong.wasm"
    command = [sys.executable, "-B", "-c", COMPILE, kernel_id, str(output), str(folder / "cache")]
    subprocess.run(command, cwd=folder / "kernels", check=True, timeout=50)
    return output.read_bytes()


@pytest.mark.parametrize("kernel_id", MISTAKES)
def test_a_small_mistake_is_noticed(kernel_id: str, tmp_path: Path, home: Path) -> None:
    module = compiled(kernel_id, tmp_path)

    def change(manifest: Manifest) -> None:
        replace_module(tmp_path / "wrong", manifest, kernel_id, module)
        manifest["kernels"] = [one for one in manifest["kernels"] if one["id"] == kernel_id]
        manifest["fallbacks"] = {kernel_id: manifest["fallbacks"][kernel_id]}

    pack = copy_pack(tmp_path / "wrong", change=change)
    with pytest.raises(PackError, match=f"kernel {kernel_id} fails its health check") as caught:
        KernelPack.verify(pack, [TRUSTED])
    assert caught.value.reason == "HealthCheckFailed"
