"""What can be wrong with a take, and from which figure on: one table. Imports nothing of this room."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from workbench.core.errors import NotFoundError


class Flag(StrEnum):
    """Everything a take can be flagged with. Flags inform; none of them discards a take."""

    UNREADABLE = "unreadable"
    EMPTY = "empty"
    SLOW = "slow"
    GAPS = "gaps"
    JITTER = "jitter"
    CLOCK_DRIFT = "clock_drift"
    FROZEN = "frozen"
    OVER_EXPOSED = "over_exposed"
    UNDER_EXPOSED = "under_exposed"
    BLURRED = "blurred"
    DEPTH_EMPTY = "depth_empty"
    NOT_FINITE = "not_finite"
    NO_MOTION = "no_motion"
    IDLE_HEAD = "idle_head"
    IDLE_TAIL = "idle_tail"
    MOSTLY_STILL = "mostly_still"
    JERKY = "jerky"
    LAG = "lag"
    SHORT = "short"
    LENGTH_OUTLIER = "length_outlier"
    UNCOVERED = "uncovered"
    NO_HAND = "no_hand"


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From which figure on a flag is set; the section ``[quality]`` of the settings overrides single ones.

    Attributes:
        slow_ratio: achieved / nominal rate below this: ``slow``.
        gap_share, gap_s: share of items missing, or longest interval (s), above this: ``gaps``.
        jitter_ratio: 99th percentile / median of the intervals above this: ``jitter``.
        drift_ms: what the device's clock gains or loses against the host's in the take, above this: ``clock_drift``.
        frozen_travel_m: the tool moved further than this while the picture stayed the same: ``frozen``.
        frozen_s: bit-identical pictures for longer than this, moving or not: ``frozen``.
        over_share, under_share: share of white / black pixels above this: ``over_exposed`` / ``under_exposed``.
        blur_variance: median variance of the Laplacian (grey levels squared) below this: ``blurred``.
        depth_share: share of depth pixels with a reading below this: ``depth_empty``.
        idle_s: seconds before the first or after the last motion above this: ``idle_head`` / ``idle_tail``.
        still_share: share of the take without motion above this: ``mostly_still``.
        jerk_m_s3, joint_jerk_rad_s3: root mean square while moving, above this: ``jerky``.
        lag_s: measured state behind sent command by more than this: ``lag``.
        shortest_s: shorter takes are ``short``.
        length_z: robust distance from the other takes of the task above this: ``length_outlier``.
        coverage: share of rows with a fresh item of every stream below this: ``uncovered``.
        hand_share: share of a person's pictures in which a hand seems to move, below this: ``no_hand``.
    """

    slow_ratio: float = 0.9
    gap_share: float = 0.01
    gap_s: float = 0.25
    jitter_ratio: float = 1.8
    drift_ms: float = 10.0
    frozen_travel_m: float = 0.05
    frozen_s: float = 5.0
    over_share: float = 0.3
    under_share: float = 0.6
    blur_variance: float = 3.0
    depth_share: float = 0.3
    idle_s: float = 2.0
    still_share: float = 0.7
    jerk_m_s3: float = 40.0
    joint_jerk_rad_s3: float = 200.0
    lag_s: float = 0.25
    shortest_s: float = 1.0
    length_z: float = 5.0
    coverage: float = 0.95
    hand_share: float = 0.3

    @classmethod
    def with_changes(cls, changes: Mapping[str, float]) -> Self:
        """The table with some values replaced. NotFoundError with the nearest name for a wrong one."""
        known = {item.name for item in dataclasses.fields(cls)}
        for name in changes:
            if name not in known:
                raise NotFoundError.of("quality threshold", name, known)
        return cls(**changes)

    def changes(self) -> dict[str, float]:
        """What differs from the defaults."""
        return {
            item.name: getattr(self, item.name)
            for item in dataclasses.fields(self)
            if getattr(self, item.name) != item.default
        }
