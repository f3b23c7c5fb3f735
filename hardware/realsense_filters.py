"""From a camera's raw depth to what a take holds: librealsense's filters, alignment to colour, whole millimetres."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardware.realsense_library import library
from workbench.core.errors import DeviceError, WorkbenchError

# Our word, librealsense's class, and its parameters: our word to librealsense's option.
_FILTERS: dict[str, tuple[str, dict[str, str]]] = {
    "decimation": ("decimation_filter", {"magnitude": "filter_magnitude"}),
    "threshold": ("threshold_filter", {"min_m": "min_distance", "max_m": "max_distance"}),
    "to_disparity": ("disparity_transform", {}),
    "spatial": (
        "spatial_filter",
        {
            "magnitude": "filter_magnitude",
            "alpha": "filter_smooth_alpha",
            "delta": "filter_smooth_delta",
            "holes": "holes_fill",
        },
    ),
    "temporal": (
        "temporal_filter",
        {"alpha": "filter_smooth_alpha", "delta": "filter_smooth_delta", "persistence": "holes_fill"},
    ),
    "to_depth": ("disparity_transform", {}),
    "hole_filling": ("hole_filling_filter", {"mode": "holes_fill"}),
}


@dataclass(frozen=True, slots=True)
class FilterSpec:
    """One filter as settings name it: ``spatial:alpha=0.5,delta=20``."""

    name: str
    values: tuple[tuple[str, float], ...] = ()

    @classmethod
    def parse(cls, text: str) -> FilterSpec:
        """Read one entry; WorkbenchError with the nearest right word."""
        name, _, rest = text.partition(":")
        name = name.strip()
        if name not in _FILTERS:
            raise WorkbenchError(f"there is no depth filter '{name}'", _nearest(name, _FILTERS))
        known = _FILTERS[name][1]
        values = []
        for part in filter(None, (piece.strip() for piece in rest.split(","))):
            key, _, number = part.partition("=")
            if key.strip() not in known:
                raise WorkbenchError(f"the depth filter '{name}' has no '{key.strip()}'", _nearest(key, known))
            try:
                values.append((key.strip(), float(number)))
            except ValueError:
                raise WorkbenchError(f"'{part}' of the depth filter '{name}' is not a number") from None
        return cls(name, tuple(values))


def _nearest(word: str, known: dict[str, Any]) -> str:
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"Did you mean '{near[0]}'" if near else f"Choose one of: {', '.join(known) or 'none'}"


class DepthChain:
    """Filters in the given order, then alignment to colour. Built once per opening; one thread.

    Args:
        specs: what the settings ask for.
        align: deliver depth as the colour sensor would see it (size of the colour picture).
    """

    def __init__(self, specs: Sequence[FilterSpec], align: bool) -> None:
        rs = library()
        self._filters = [_build(rs, spec) for spec in specs]
        self._align = rs.align(rs.stream.color) if align else None
        self._halves: list[Any] = []
        self._joined = rs.frame_queue(1)
        self._joiner = rs.processing_block(self._join)
        self._joiner.start(self._joined)

    def apply(self, color: Any, depth: Any) -> Any:
        """The depth frame to keep. RuntimeError of the library passes through."""
        for one in self._filters:
            depth = one.process(depth)
        if self._align is None:
            return depth
        self._halves = [depth, color]
        self._joiner.invoke(depth)  # calls _join at once, in this thread
        pair = self._joined.wait_for_frame(1000)
        self._halves = []
        return self._align.process(pair.as_frameset()).get_depth_frame()

    def _join(self, _: Any, source: Any) -> None:
        """librealsense aligns only what travels in one set."""
        source.frame_ready(source.allocate_composite_frame(self._halves))


def _build(rs: Any, spec: FilterSpec) -> Any:
    kind, options = _FILTERS[spec.name]
    block = getattr(rs, kind)(spec.name != "to_depth") if kind == "disparity_transform" else getattr(rs, kind)()
    for key, value in spec.values:
        try:
            block.set_option(getattr(rs.option, options[key]), value)
        except RuntimeError as error:
            limits = block.get_option_range(getattr(rs.option, options[key]))
            raise DeviceError(
                f"the depth filter '{spec.name}' refuses {key} = {value:g} ({error})",
                f"Choose between {limits.min:g} and {limits.max:g}",
            ) from error
    return block


class Millimetres:
    """Raw depth to whole millimetres for any depth unit. 0 stays 0 (no reading), and nothing else becomes 0."""

    def __init__(self) -> None:
        self._unit_m = 0.0
        self._table: NDArray[np.uint16] | None = None
        self._farthest = 65535

    def convert(self, raw: NDArray[np.uint16], unit_m: float) -> tuple[NDArray[np.uint16], int]:
        """Depth in mm, a new array, and how many pixels lie beyond 65.535 m and were held there.

        Args:
            raw: (H, W) as the camera counts.
            unit_m: metres per count: 0.001, 0.0001, 0.00025 ...
        """
        if unit_m != self._unit_m:
            self._learn(unit_m)
        if self._table is None:
            return raw.copy(), 0
        saturated = int(np.count_nonzero(raw > self._farthest)) if self._farthest < 65535 else 0
        return np.take(self._table, raw), saturated

    def _learn(self, unit_m: float) -> None:
        per_count = round(unit_m * 1000, 7)  # the library keeps units as 32-bit floats: 0.001 comes as 0.00100000005
        self._unit_m = unit_m
        if per_count == 1.0:
            self._table, self._farthest = None, 65535
            return
        exact = np.arange(65536) * per_count
        table = np.clip(np.rint(exact), 1, 65535).astype(np.uint16)
        table[0] = 0
        self._table = table
        self._farthest = int(np.count_nonzero(np.rint(exact) <= 65535)) - 1
