"""Sizes as people read them."""

__all__ = ["size"]


def size(num_bytes: int) -> str:
    """Write bytes for people: 98.4 MB."""
    value = float(num_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"
