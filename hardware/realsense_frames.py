"""What one librealsense picture says about itself: number, times, exposure and the like."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardware.realsense_library import library
from hardware.realsense_pairing import Half, Pair

_WRAP_MS = 2**32 / 1000  # the cameras count microseconds in 32 bits: about 71.6 minutes
_BELIEVED_AGE_NS = 1_000_000_000
_DOMAINS = ("hardware", "global", "system")
_DOMAIN_NAMES = {"hardware_clock": "hardware", "global_time": "global", "system_time": "system"}

AXES = (
    "color.exposure_us",
    "color.gain",
    "color.white_balance_k",
    "depth.exposure_us",
    "depth.gain",
    "depth.laser_mw",
    "depth.temperature_c",
    "depth.later_ms",
    "depth.saturated_px",
    "clock_domain",
)
# Axis -> librealsense's word. What a camera or its kernel driver does not say is NaN.
_SAID = {
    "color": {"exposure_us": "actual_exposure", "gain": "gain_level", "white_balance_k": "white_balance"},
    "depth": {
        "exposure_us": "actual_exposure",
        "gain": "gain_level",
        "laser_mw": "frame_laser_power",
        "temperature_c": "temperature",
    },
}


class Stamper:
    """Reads the stamps of one sensor's pictures; keeps a 32-bit device clock from falling when it wraps."""

    def __init__(self) -> None:
        self._last_ms = 0.0
        self._wrapped_ms = 0.0

    def half(self, frame: Any) -> Half:
        """The picture with its number, device time and arrival."""
        domain = _DOMAIN_NAMES[frame.get_frame_timestamp_domain().name]
        t_ms = float(frame.get_timestamp())
        if domain == "hardware":
            if self._last_ms - t_ms > _WRAP_MS / 2:
                self._wrapped_ms += _WRAP_MS
            self._last_ms = t_ms
            t_ms += self._wrapped_ms
        return Half(int(frame.get_frame_number()), t_ms, domain, arrival_ns(frame), frame)


def arrival_ns(frame: Any) -> int:
    """When the picture reached this machine, CLOCK_MONOTONIC.

    The library notes the arrival on the wall clock, before the picture waits in any queue; it is carried over by the
    present distance of the two clocks. A note that is missing or not from the last second (a recording) gives way to
    the time of asking.
    """
    now_ns = time.monotonic_ns()
    noted_ms = said(frame, "time_of_arrival")
    if np.isnan(noted_ms):
        return now_ns
    age_ns = time.time_ns() - round(noted_ms * 1e6)
    return now_ns - age_ns if 0 <= age_ns < _BELIEVED_AGE_NS else now_ns


def said(frame: Any, word: str) -> float:
    """One of the picture's metadata, NaN where it has none."""
    key = getattr(library().frame_metadata_value, word, None)
    if key is None or not frame.supports_frame_metadata(key):
        return float("nan")
    return float(frame.get_frame_metadata(key))


def metadata(pair: Pair, color_exposure_unit_us: float, saturated_px: int) -> NDArray[np.float32]:
    """The ``camera.<name>.metadata`` item, shape (10,), in the order of ``AXES``.

    ``clock_domain``: 0 hardware, 1 global, 2 system. ``depth.later_ms``: how much later depth was taken than colour, by
    the device's own times. NaN where the camera says nothing.
    """
    values = dict.fromkeys(AXES, float("nan"))
    for kind, half in (("color", pair.color), ("depth", pair.depth)):
        if half is not None:
            values |= {f"{kind}.{axis}": said(half.frame, word) for axis, word in _SAID[kind].items()}
    values["color.exposure_us"] *= color_exposure_unit_us
    values["clock_domain"] = _DOMAINS.index(pair.color.domain)
    if pair.depth is not None:
        values["depth.saturated_px"] = saturated_px
        if pair.depth.domain == pair.color.domain:
            values["depth.later_ms"] = pair.depth.t_ms - pair.color.t_ms
    return np.array([values[axis] for axis in AXES], np.float32)


def optics(profile: Any) -> dict[str, Any]:
    """Intrinsics of a video profile as ``CameraInfo.intrinsics`` wants them (pixels)."""
    eye = profile.get_intrinsics()
    return {
        "width": eye.width,
        "height": eye.height,
        "fx": eye.fx,
        "fy": eye.fy,
        "cx": eye.ppx,
        "cy": eye.ppy,
        "model": eye.model.name,
        "coeffs": list(eye.coeffs),
    }


def extrinsics(origin: Any, target: Any) -> dict[str, Any]:
    """How points seen by ``origin`` move into ``target``: x' = rotation x + translation. The library counts columns."""
    found = origin.get_extrinsics_to(target)
    columns = np.array(found.rotation, float).reshape(3, 3)
    return {"rotation": columns.T.tolist(), "translation_m": [float(value) for value in found.translation]}


class Round:
    """One playing of a recording: later rounds go on counting numbers and device time where the earlier one ended."""

    def __init__(self, number: dict[str, int] | None = None, t_ms: float = 0.0) -> None:
        self._number = number or {"color": 0, "depth": 0}
        self._t_ms = t_ms
        self._first: dict[str, int] = {}
        self._first_ms: float | None = None
        self._last = dict(self._number)
        self._last_ms = t_ms

    def stamp(self, number: int, t_ms: float, kind: str) -> tuple[int, int]:
        """Sequence and device time (ns) of a picture; untouched in the first round."""
        number += self._number[kind]
        t_ms += self._t_ms
        self._first.setdefault(kind, number)
        self._first_ms = t_ms if self._first_ms is None else min(self._first_ms, t_ms)
        self._last[kind], self._last_ms = number, max(self._last_ms, t_ms)
        return number, round(t_ms * 1e6)

    def following(self, rate_hz: float) -> Round:
        """The next round, one period later."""
        span_ms = self._last_ms - (self._first_ms or 0.0) + 1000.0 / rate_hz
        numbers = {
            kind: self._number[kind] + self._last[kind] - self._first.get(kind, self._last[kind]) + 1
            for kind in self._number
        }
        return Round(numbers, self._t_ms + span_ms)
