"""Which states of a tenant led to which, where several processes may teach it, each in a folder of its own.

A lineage names, for each folder that had a part in a state, the newest generation from there that is in it.
A higher number alone says nothing: two folders may both count on from one state.
"""

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["NOBODYS", "Lineage", "led_to"]

Lineage = Mapping[str, int]
NOBODYS: Lineage = MappingProxyType({})


def led_to(before: Lineage, after: Lineage) -> bool:
    """Whether all that is in the one is in the other."""
    return all(after.get(folder, 0) >= number for folder, number in before.items())
