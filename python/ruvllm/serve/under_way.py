"""How many requests of each tenant are answered now."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["UnderWay"]


class UnderWay(Counter[str]):
    """Counts by tenant; who has none is not in it."""

    @contextmanager
    def request(self, tenant: str) -> Iterator[None]:
        """Count a request of this tenant while the block runs."""
        self[tenant] += 1
        try:
            yield
        finally:
            self[tenant] -= 1
            if not self[tenant]:
                del self[tenant]
