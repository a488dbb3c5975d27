"""What names may stand for in tests that change it: contents that differ in all, in some maps, in scales."""

from dataclasses import replace

from ruvllm.adapters import AdapterWeights, Part, read_peft
from tests.conftest import FIXTURES

__all__ = ["CONTENTS"]


def _all() -> tuple[AdapterWeights, ...]:
    """Made in memory: where they were read is no part of what they are."""
    first, second = (
        read_peft(FIXTURES / "adapters" / name / "adapter") for name in ("lora-all-r4", "lora-rs-r8")
    )
    louder = tuple(replace(part, scale=1.5 * part.scale) for part in first.parts)
    values = tuple(part for part in first.parts if part.module == "v_proj")
    return tuple(map(_of, (first.parts, second.parts, louder, values)))


def _of(parts: tuple[Part, ...]) -> AdapterWeights:
    return AdapterWeights(parts=parts)


CONTENTS = _all()
