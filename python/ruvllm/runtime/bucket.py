"""How often something may be done: so many times a minute, at once or spread."""

__all__ = ["Bucket"]


class Bucket:
    """Turns that may still be taken: so many at once, refilled over a minute; its owner keeps others out."""

    def __init__(self, per_minute: int, now: float) -> None:
        self._per_minute = per_minute
        self._left = float(per_minute)
        self._at = now

    def take(self, count: int, now: float) -> bool:
        """Take so many, or none; whether there were so many."""
        refilled = self._left + (now - self._at) * self._per_minute / 60
        self._left, self._at = min(self._per_minute, refilled), now
        if self._left < count:
            return False
        self._left -= count
        return True

    def seconds_until(self, count: int) -> float:
        """In how many seconds there are so many, where nothing else takes any."""
        return (count - self._left) * 60 / self._per_minute
