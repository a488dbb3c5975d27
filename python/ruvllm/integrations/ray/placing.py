"""Which worker a request goes to: where the beginning of its prompt was last, unless that one is too busy.

Knows nothing of Ray: workers are names with a number of requests. Nothing here waits.
"""

from collections import OrderedDict
from collections.abc import Mapping
from hashlib import blake2b

from ruvllm.integrations.ray.call import Keys

__all__ = ["Placing"]

MAX_KNOWN = 200_000


class Placing:
    """Remembers by whom prompts were answered, the newest of them."""

    def __init__(self, *, balance: int, max_known: int = MAX_KNOWN) -> None:
        self._balance = balance
        self._max_known = max_known
        self._known: OrderedDict[bytes, str] = OrderedDict()

    def order(self, keys: Keys, loads: Mapping[str, int]) -> list[str]:
        """The workers that may be asked, the best first; one alone for what is bound to it.

        Of a pin all who decide think alike, without asking each other: the worker whose name and the pin
        make the highest number. One worker that comes or goes changes the place of its own share only.
        """
        if keys.pin:
            pin = keys.pin.encode()
            homes = sorted(loads, key=lambda worker: _weight(pin, worker), reverse=True)
            return homes[:1] if keys.is_bound else homes
        beginning = keys.blocks[0] if keys.blocks else b""
        idlest = sorted(loads, key=lambda worker: (loads[worker], -_weight(beginning, worker)))
        known = next(
            (one for block in reversed(keys.blocks) if (one := self._known.get(block)) in loads), None
        )
        if known is None or loads[known] - loads[idlest[0]] > self._balance:
            return idlest
        return [known, *(worker for worker in idlest if worker != known)]

    def took(self, keys: Keys, worker: str) -> None:
        """Remember who has this prompt now."""
        for block in keys.blocks:
            self._known[block] = worker
            self._known.move_to_end(block)
        while len(self._known) > self._max_known:
            self._known.popitem(last=False)


def _weight(key: bytes, worker: str) -> int:
    return int.from_bytes(blake2b(key + b"\0" + worker.encode(), digest_size=8).digest(), "big")
