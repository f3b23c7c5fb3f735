"""What a phone or headset says about its hand: one small JSON object per moment. Pure; trusts nothing that comes."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
MOST_BYTES = 1024
STALE_S = 0.15
_MOST_METRES = 100.0
_DRIFT = 1e-3  # how much faster one clock may run than the other
_MARKS = ("", "success", "failure")
_KEYS = {"t", "held", "pose", "twist", "lever", "mark"}


@dataclass(frozen=True, slots=True)
class HandMessage:
    """One moment of a hand.

    Attributes:
        t_ms: the sender's own clock.
        held: the clutch is held.
        position_m, quaternion: (3,) and (4,) w x y z in the room's frame (x right, y up, z to the viewer), or None.
        twist: (6,) deflections -1 to 1 of touch pads: ahead, left, up and turning about these; or None.
        lever: the gripper's lever, 0 closed .. 1 open, or None.
        mark: the operator's judgement of the take, "" for none.
    """

    t_ms: float
    held: bool
    position_m: Vector | None = None
    quaternion: Vector | None = None
    twist: Vector | None = None
    lever: float | None = None
    mark: str = ""


def parse(text: str) -> HandMessage:
    """Read one message; ValueError says what is wrong with it."""
    try:
        value = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError("not JSON") from error
    if not isinstance(value, dict) or not value.keys() <= _KEYS or not isinstance(value.get("held"), bool):
        raise ValueError("not a hand's message")
    mark = value.get("mark", "")
    if mark not in _MARKS:
        raise ValueError("mark is not one of " + ", ".join(_MARKS[1:]))
    pose = _numbers(value, "pose", 7, _MOST_METRES)
    if pose is not None and not 0.5 < float(np.linalg.norm(pose[3:])) < 2.0:
        raise ValueError("pose has no direction")
    lever = value.get("lever")
    return HandMessage(
        _number(value.get("t"), "t", 1e15),
        value["held"],
        pose[:3] if pose is not None else None,
        pose[3:] if pose is not None else None,
        _numbers(value, "twist", 6, 1.0),
        None if lever is None else _number(lever, "lever", 1.0),
        mark,
    )


def _numbers(value: dict[str, Any], name: str, count: int, most: float) -> Vector | None:
    listed = value.get(name)
    if listed is None:
        return None
    if not isinstance(listed, list) or len(listed) != count:
        raise ValueError(f"{name} does not have {count} numbers")
    return np.array([_number(one, name, most) for one in listed])


def _number(value: object, name: str, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or abs(value) > most:
        raise ValueError(f"{name} is not a number from {-most:g} to {most:g}")
    return float(value)


class Lateness:
    """How late messages are, although the two clocks have nothing to do with each other.

    The quickest message so far shows the clocks' difference; whatever took longer than that was held up on the way. A
    network that stalls delivers seconds of old motion at once: that must not be played.
    """

    def __init__(self) -> None:
        self._offset_s: float | None = None
        self._last_s = 0.0

    def of(self, sent_ms: float, arrived_s: float) -> float:
        """Seconds by which this message is later than the quickest one."""
        offset = arrived_s - sent_ms / 1e3
        if self._offset_s is not None:
            allowed = self._offset_s + _DRIFT * max(0.0, arrived_s - self._last_s)
            offset, late = min(offset, allowed), max(0.0, offset - allowed)
        else:
            late = 0.0
        self._offset_s, self._last_s = offset, arrived_s
        return late
