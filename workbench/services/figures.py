"""Small pictures for reports: inline SVG charts and base64 film strips. Pure functions, no files."""

from __future__ import annotations

import base64
import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from workbench.core.types import Image

PALETTE = ("#2563eb", "#d97706", "#059669", "#9333ea", "#dc2626", "#0891b2")
SERIES = (*PALETTE, "#475569")
_INK = 'class="axis" stroke-width="4.5" opacity="0.45"'
Series = tuple[Sequence[float], Sequence[float]]  # (x, y)


def film_strip(pictures: Sequence[Image], gap_px: int = 3, quality: int = 85) -> str:
    """Pictures of equal size (H, W, 3) side by side as one ``data:`` JPEG address."""
    height = pictures[0].shape[0]
    gap = np.full((height, gap_px, 3), 255, np.uint8)
    parts: list[Image] = []
    for picture in pictures:
        parts += [np.asarray(picture, np.uint8), gap]
    strip = np.ascontiguousarray(np.concatenate(parts[:-1], axis=1))
    return "data:image/jpeg;base64," + base64.b64encode(imagecodecs.jpeg_encode(strip, level=quality)).decode()


def line_chart(series: Mapping[str, Series], *, width: int = 520, height: int = 180, y_label: str = "") -> str:
    """An SVG chart of named (x, y) lines. The y axis is logarithmic when all values are positive and span > 20x."""
    clean = {name: _finite(points) for name, points in series.items()}
    clean = {name: points for name, points in clean.items() if len(points[0])}
    if not clean:
        return ""
    xs = np.concatenate([points[0] for points in clean.values()])
    ys = np.concatenate([points[1] for points in clean.values()])
    log = bool(ys.min() > 0 and ys.max() / ys.min() > 20)
    box = _Box(width, height, float(xs.min()), float(xs.max()), _scale(ys.min(), log), _scale(ys.max(), log))
    body = [box.frame(log, y_label)]
    for index, (name, points) in enumerate(clean.items()):
        colour = PALETTE[index % len(PALETTE)]
        dots = " ".join(f"{box.x(x):.1f},{box.y(_scale(y, log)):.1f}" for x, y in zip(*_thin(points), strict=True))
        body.append(f'<polyline points="{dots}" fill="none" stroke="{colour}" stroke-width="1.6"/>')
        x = 52 + 120 * index
        body.append(f'<rect x="{x}" y="4" width="10" height="4" fill="{colour}"/>')
        body.append(f'<text x="{x + 14}" y="9" class="small">{html.escape(name)}</text>')
    return _svg(width, height, body)


def bar_chart(values: NDArray[np.float64], *, width: int = 520, height: int = 110, colour: str = PALETTE[0]) -> str:
    """An SVG of many thin bars (token usage): one bar per value, scaled to the largest."""
    top = float(values.max()) if len(values) and values.max() > 0 else 1.0
    step = (width - 10) / max(1, len(values))
    body = []
    for index, value in enumerate(values):
        tall = (height - 16) * float(value) / top
        body.append(
            f'<rect x="{5 + index * step:.2f}" y="{height - 12 - tall:.2f}" width="{max(step - 1, 0.5):.2f}" '
            f'height="{tall:.2f}" fill="{colour}"><title>{index}: {value:.4g}</title></rect>'
        )
    body.append(f'<line x1="5" x2="{width - 5}" y1="{height - 12}" y2="{height - 12}" class="axis"/>')
    return _svg(width, height, body)


def scatter(groups: Mapping[str, NDArray[Any]], *, width: int = 520, height: int = 380) -> str:
    """An SVG of (n, 2) points by name, one colour each, both axes to the same scale; "" without a point."""
    kept = {name: points for name, points in groups.items() if len(points)}
    if not kept:
        return ""
    every = np.concatenate(list(kept.values()))
    low, span = every.min(axis=0), max(float(np.ptp(every, axis=0).max()), 1e-9)
    scale, body = (height - 34) / span, []
    for number, (name, points) in enumerate(kept.items()):
        colour = SERIES[number % len(SERIES)]
        for x, y in (points - low) * scale:
            body.append(f'<circle cx="{8 + x:.1f}" cy="{height - 8 - y:.1f}" r="2.2" fill="{colour}" opacity="0.6"/>')
        body.append(f'<circle cx="{width - 86}" cy="{14 + 16 * number}" r="4" fill="{colour}"/>')
        body.append(_text(width - 76, 18 + 16 * number, name, "start"))
    return _svg(width, height, body)


def heat_map(matrix: NDArray[np.float64], *, size: int = 260) -> str:
    """``heat_pixels`` as a ``data:`` PNG address."""
    return "data:image/png;base64," + base64.b64encode(imagecodecs.png_encode(heat_pixels(matrix, size=size))).decode()


def heat_pixels(matrix: NDArray[np.float64], *, size: int = 260) -> Image:
    """A square matrix as a picture of about ``size`` pixels, dark = high, one cell per entry.

    Only the upper half of the entries gets colour, so that what stands out is seen.
    """
    low, high = float(np.nanmedian(matrix)), float(np.nanmax(matrix))
    unit = np.clip(np.nan_to_num((matrix - low) / (high - low if high > low else 1.0)), 0.0, 1.0)
    ends = np.array([[248, 250, 252], [30, 64, 175]], dtype=np.float64)
    picture = ends[0] + unit[..., None] * (ends[1] - ends[0])
    scale = max(1, size // max(matrix.shape))
    return np.ascontiguousarray(picture.round().astype(np.uint8).repeat(scale, axis=0).repeat(scale, axis=1))


def interval_bar(rate: float, low: float, high: float, *, colour: str = PALETTE[0], width: int = 220) -> str:
    """A 0..100 % track with the measured rate as a dot and its interval as a band."""
    x0, span = 4, width - 8
    wide = max(2.0, span * (high - low))
    body = [
        f'<rect x="{x0}" y="7" width="{span}" height="4" rx="2" class="track"/>',
        f'<rect x="{x0 + span * low:.1f}" y="5" width="{wide:.1f}" height="8" rx="4" fill="{colour}" opacity="0.35"/>',
        f'<circle cx="{x0 + span * rate:.1f}" cy="9" r="5" fill="{colour}"/>',
    ]
    return _svg(width, 18, body)


def path_panels(true: NDArray[np.float64], told: Mapping[str, NDArray[np.float64]], *, panel: int = 165) -> str:
    """Panels, one per path: the true one in grey, others in colour, seen along the axis they vary least on.

    Args:
        true: (P, H, 3) positions relative to the start, m; ``told`` the same shape by name.
    """
    body = []
    for number, path in enumerate(true):
        group = {"": path, **{name: values[number] for name, values in told.items()}}
        points = np.concatenate([np.zeros((1, 3)), *group.values()])
        axes = np.sort(np.argsort(np.ptp(points, axis=0))[1:])
        low, high = points[:, axes].min(axis=0), points[:, axes].max(axis=0)
        scale = (panel - 28) / max(float((high - low).max()), 1e-6)
        left, floor = number * panel + (panel - scale * (high - low)[0]) / 2, panel - 14
        for index, (name, values) in enumerate(group.items()):
            flat = (np.concatenate([np.zeros((1, 3)), values])[:, axes] - low) * scale
            dots = " ".join(f"{left + x:.1f},{floor - y:.1f}" for x, y in flat)
            look = f'stroke="{PALETTE[index - 1]}" stroke-width="1.8"' if name else _INK
            body.append(f'<polyline points="{dots}" fill="none" {look}/>')
        widest = f"{1000 * float((high - low).max()):.0f} mm"
        body.append(_text(number * panel + panel / 2, panel - 2, widest, "middle"))
    for index, name in enumerate(told):
        body.append(f'<rect x="{12 + 120 * index}" y="3" width="10" height="4" fill="{PALETTE[index]}"/>')
        body.append(_text(26 + 120 * index, 9, name, "start"))
    return _svg(panel * len(true), panel + 4, body)


class _Box:
    """Maps data to the pixels of one chart."""

    left, right, top, bottom = 52, 8, 18, 20

    def __init__(self, width: int, height: int, x_min: float, x_max: float, y_min: float, y_max: float) -> None:
        self._width, self._height = width, height
        self._x_min, self._x_span = x_min, (x_max - x_min) or 1.0
        self._y_min, self._y_span = y_min, (y_max - y_min) or 1.0

    def x(self, value: float) -> float:
        return self.left + (value - self._x_min) / self._x_span * (self._width - self.left - self.right)

    def y(self, value: float) -> float:
        inner = self._height - self.top - self.bottom
        return self.top + inner * (1 - (value - self._y_min) / self._y_span)

    def frame(self, log: bool, label: str) -> str:
        parts = []
        for k in range(4):
            scaled = self._y_min + self._y_span * k / 3
            y, value = self.y(scaled), 10**scaled if log else scaled
            parts.append(
                f'<line x1="{self.left}" x2="{self._width - self.right}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>'
            )
            parts.append(_text(self.left - 5, y + 3, f"{value:.3g}", "end"))
        for k in range(5):
            value = self._x_min + self._x_span * k / 4
            anchor = "end" if k == 4 else "middle"
            words = f"{value:.0f}" if self._x_span > 8 else f"{value:.2g}"
            parts.append(_text(self.x(value), self._height - 6, words, anchor))
        if label:
            parts.append(_text(self._width - self.right, 9, label, "end"))
        return "".join(parts)


def _text(x: float, y: float, words: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="small">{html.escape(words)}</text>'


def _finite(points: Series) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    x, y = np.asarray(points[0], np.float64), np.asarray(points[1], np.float64)
    keep = np.isfinite(x) & np.isfinite(y)
    return x[keep], y[keep]


def _thin(points: tuple[NDArray[np.float64], NDArray[np.float64]], most: int = 400) -> tuple[list[float], list[float]]:
    """At most ``most`` points, ends kept."""
    x, y = points
    pick = np.unique(np.linspace(0, len(x) - 1, min(most, len(x))).round().astype(int))
    return [float(v) for v in x[pick]], [float(v) for v in y[pick]]


def _scale(value: float, log: bool) -> float:
    return math.log10(value) if log else float(value)


def _svg(width: int, height: int, body: Sequence[str]) -> str:
    return f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">{"".join(body)}</svg>'
