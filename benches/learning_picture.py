"""The picture of `learning_curve`: for each model a panel, in it each stream and, thicker, their mean."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from xml.sax.saxutils import escape

from benches.learning_stream import EVERY, Curve, Pair

__all__ = ["picture"]

PANEL_WIDTH, PANEL_HEIGHT = 320, 200
LEFT, TOP, GAP, BELOW = 60, 34, 56, 68
INK, FAINT = "#444444", "#dddddd"
COLOURS = {"feedback from the rule": "#1b6ca8", "the same feedback, shuffled": "#c2571a"}


def picture(found: Mapping[str, Sequence[Pair]]) -> str:
    """An SVG of all models' streams."""
    width = LEFT + len(found) * (PANEL_WIDTH + GAP)
    height = TOP + PANEL_HEIGHT + BELOW
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" font-family="sans-serif" font-size="12" fill="{INK}">',
        "<title>Right answers on held-out requests, along a stream of requests with feedback</title>",
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text transform="translate(14 {TOP + PANEL_HEIGHT // 2}) rotate(-90)" text-anchor="middle">'
        "right answers, held-out</text>",
    ]
    for index, (model, pairs) in enumerate(found.items()):
        parts.append(f'<g transform="translate({LEFT + index * (PANEL_WIDTH + GAP)} {TOP})">')
        parts.extend(_panel(model, pairs))
        parts.append("</g>")
    for index, (name, colour) in enumerate(COLOURS.items()):
        x, y = LEFT + 230 * index, height - 14
        parts.append(f'<path d="M{x} {y - 4}h24" stroke="{colour}" stroke-width="3"/>')
        parts.append(f'<text x="{x + 30}" y="{y}">{name}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _panel(model: str, pairs: Sequence[Pair]) -> list[str]:
    num_points = len(pairs[0].real.held_out)
    parts = [f'<text x="{PANEL_WIDTH // 2}" y="-12" text-anchor="middle">{escape(model)}</text>']
    for percent in range(0, 101, 25):
        y = PANEL_HEIGHT * (100 - percent) / 100
        parts.append(f'<path d="M0 {y:g}H{PANEL_WIDTH}" stroke="{FAINT}"/>')
        parts.append(f'<text x="-6" y="{y + 4:g}" text-anchor="end">{percent} %</text>')
    for index in range(0, num_points, 2):
        x = PANEL_WIDTH * index / (num_points - 1)
        parts.append(f'<text x="{x:g}" y="{PANEL_HEIGHT + 18}" text-anchor="middle">{index * EVERY}</text>')
    parts.append(f'<text x="{PANEL_WIDTH // 2}" y="{PANEL_HEIGHT + 36}" text-anchor="middle">requests</text>')
    for curves, colour in zip(
        ([pair.shuffled for pair in pairs], [pair.real for pair in pairs])[::-1],
        COLOURS.values(),
        strict=True,
    ):
        parts.extend(_lines(curves, colour))
    return parts


def _lines(curves: Sequence[Curve], colour: str) -> list[str]:
    shares = [curve.held_out for curve in curves]
    mean = [fmean(column) for column in zip(*shares, strict=True)]
    faint = [_line(one, f'stroke="{colour}" stroke-width="1" stroke-opacity="0.3"') for one in shares]
    return [*faint, _line(mean, f'stroke="{colour}" stroke-width="3"')]


def _line(shares: Sequence[float], stroke: str) -> str:
    step = PANEL_WIDTH / (len(shares) - 1)
    points = " ".join(
        f"{index * step:.1f},{PANEL_HEIGHT * (1 - share):.1f}" for index, share in enumerate(shares)
    )
    return f'<polyline points="{points}" fill="none" {stroke}/>'
