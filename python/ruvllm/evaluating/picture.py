"""The picture of an evaluation: how the figure settles along the text, with what chance may do to it."""

import math
from collections.abc import Mapping
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray

from ruvllm.errors import ConfigError
from ruvllm.evaluating.evaluation import Evaluation

__all__ = ["picture"]

WIDTH, HEIGHT = 560, 280
LEFT, TOP, RIGHT, BELOW = 74, 40, 20, 70
MOST_POINTS = 240
# Of a name, beside its colour.
LONGEST_NAME = 36
# The beginning, where a few tokens decide, is left out.
FIRST_SHARE = 0.02
# Both schemes in one file: whoever shows it says which is wanted.
STYLE = """
  .paper { fill: #ffffff } .ink { fill: #333333 } .grid { stroke: #dddddd }
  .first { stroke: #1b6ca8; fill: #1b6ca8 } .second { stroke: #c2571a; fill: #c2571a }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #15181c } .ink { fill: #d5d9de } .grid { stroke: #3a4048 }
    .first { stroke: #6cb6ee; fill: #6cb6ee } .second { stroke: #f0995f; fill: #f0995f }
  }
"""
Floats = NDArray[np.float64]


def picture(found: Mapping[str, Evaluation]) -> str:
    """An SVG of one or two evaluations by name: how the figure runs along the text.

    That is the divergence where there is a reference, else perplexity. The band is one standard
    error to each side.
    """
    if not 1 <= len(found) <= 2:
        raise ConfigError(f"there are {len(found)} evaluations; a picture has one or two")
    if any(one.text is None for one in found.values()):
        raise ConfigError("a picture needs a text that was scored")
    is_divergence = all(one.divergence is not None for one in found.values())
    title = "Mean divergence from the reference (nats)" if is_divergence else "Perplexity"
    curves = {name: _running(one, is_divergence=is_divergence) for name, one in found.items()}
    ticks = _ticks(
        min(float((value - spread).min()) for _, value, spread in curves.values()),
        max(float((value + spread).max()) for _, value, spread in curves.values()),
    )
    longest = max(int(places[-1]) for places, _, _ in curves.values())
    width, height = LEFT + WIDTH + RIGHT, TOP + HEIGHT + BELOW
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" font-family="sans-serif" font-size="12">',
        f"<title>{title} along the text</title>",
        f"<style>{STYLE}</style>",
        '<rect class="paper" width="100%" height="100%"/>',
        f'<text class="ink" x="{LEFT}" y="22" font-size="14">{title}, over all tokens so far</text>',
        *_axes(ticks, longest),
    ]
    for index, (name, (places, value, spread)) in enumerate(curves.items()):
        style = ("first", "second")[index]
        parts.append(f'<g class="{style}">')
        edges = np.concatenate([value + spread, (value - spread)[::-1]])
        both = _points(np.concatenate([places, places[::-1]]), edges, longest, ticks)
        parts.append(f'<polygon points="{both}" stroke="none" fill-opacity="0.18"/>')
        line = _points(places, value, longest, ticks)
        parts.append(f'<polyline points="{line}" fill="none" stroke-width="2"/>')
        x, y = LEFT + 280 * index, height - 14
        parts.append(f'<path d="M{x} {y - 4}h24" stroke-width="3"/></g>')
        parts.append(f'<text class="ink" x="{x + 30}" y="{y}">{escape(_printable(name))}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _running(found: Evaluation, *, is_divergence: bool) -> tuple[Floats, Floats, Floats]:
    """After how many tokens, the figure over them, and its standard error."""
    assert found.text is not None  # noqa: S101 - `picture` has looked
    values = found.divergence.divergences if is_divergence and found.divergence else found.text.losses
    values = values.ravel()
    counts = np.arange(1, values.size + 1, dtype=np.float64)
    means = np.cumsum(values) / counts
    variances = np.maximum(np.cumsum(values**2) / counts - means**2, 0.0)
    spreads = np.sqrt(variances / np.maximum(counts - 1, 1))
    first = min(values.size - 1, max(1, int(values.size * FIRST_SHARE)))
    shown = np.unique(np.linspace(first, values.size - 1, MOST_POINTS).astype(np.int64))
    if is_divergence:
        return counts[shown], means[shown], spreads[shown]
    return counts[shown], np.exp(means[shown]), np.exp(means[shown]) * spreads[shown]


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers from below the lowest to above the highest, four to nine of them."""
    room = (high - low) or abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(room / 4))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor * 8 >= room)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [index * step for index in range(first, max(last, first + 1) + 1)]


def _axes(ticks: list[float], longest: int) -> list[str]:
    parts = []
    for tick in ticks:
        y = _height(tick, ticks)
        parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}h{WIDTH}"/>')
        label = f'x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end"'
        parts.append(f'<text class="ink" {label}>{tick:.6g}</text>')
    for share in (0.25, 0.5, 0.75, 1.0):
        label = f'x="{LEFT + WIDTH * share:.1f}" y="{TOP + HEIGHT + 18}" text-anchor="middle"'
        parts.append(f'<text class="ink" {label}>{round(longest * share)}</text>')
    label = f'x="{LEFT + WIDTH // 2}" y="{TOP + HEIGHT + 36}" text-anchor="middle"'
    parts.append(f'<text class="ink" {label}>scored tokens</text>')
    return parts


def _height(value: float, ticks: list[float]) -> float:
    return TOP + HEIGHT * (ticks[-1] - value) / (ticks[-1] - ticks[0])


def _points(places: Floats, values: Floats, longest: int, ticks: list[float]) -> str:
    pairs = zip(places.tolist(), values.tolist(), strict=True)
    return " ".join(
        f"{LEFT + WIDTH * place / longest:.1f},{_height(value, ticks):.1f}" for place, value in pairs
    )


def _printable(name: str) -> str:
    """The end of a long name, for which there is room. XML has no place for control characters."""
    shown = name if len(name) <= LONGEST_NAME else f"\u2026{name[1 - LONGEST_NAME :]}"
    return "".join(character if character.isprintable() else "?" for character in shown)
