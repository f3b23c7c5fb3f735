"""The settings of a RealSense camera: what they mean and which do not go together."""

from __future__ import annotations

from dataclasses import dataclass

from hardware.realsense_filters import FilterSpec
from hardware.realsense_options import SYNC_ROLES
from hardware.realsense_source import Picture
from workbench.core.errors import WorkbenchError

_AUTOMATIC = ("exposure_us", "white_balance_k", "depth_exposure_us")


@dataclass(frozen=True, slots=True)
class Config:
    """One RealSense camera.

    Attributes:
        serial: chooses the camera; may be left out while only one is attached.
        depth: deliver depth too. ``depth_width``, ``depth_height``, ``depth_rate_hz`` 0: as colour.
        align_depth: depth as the colour sensor would see it, in the colour picture's size.
        exposure_us, white_balance_k, depth_exposure_us: 0 or "auto" is automatic. gain, depth_gain, laser_power_mw: -1
            leaves the camera's own value.
        emitter: the infrared projector.
        preset_json: a file with an advanced-mode preset, loaded first.
        filters: depth filters in order, each ``name`` or ``name:key=value,key=value``.
        sync_role: ``none``, ``master`` or ``slave`` on the sync cable.
        warm_up_s: pictures thrown away after the start, while automatic exposure settles.
        global_time: let the library carry the device's clock onto the host's wall clock.
        metadata: deliver exposure, gain and the like of every picture as ``camera.<name>.metadata``.
        recording: play this .db3 (or .bag) file instead of a camera; ``loop`` begins again at its end.
        record_to: also write what the sensors deliver to this .db3 file; never overwrites one.
    """

    name: str = "front"
    serial: str = ""
    width: int = 640
    height: int = 480
    rate_hz: float = 30.0
    depth: bool = True
    depth_width: int = 0
    depth_height: int = 0
    depth_rate_hz: float = 0.0
    align_depth: bool = True
    exposure_us: float = 0
    gain: float = -1
    white_balance_k: float = 0
    depth_exposure_us: float = 0
    depth_gain: float = -1
    emitter: bool = True
    laser_power_mw: float = -1
    preset_json: str = ""
    filters: tuple[str, ...] = ()
    sync_role: str = "none"
    warm_up_s: float = 1.0
    global_time: bool = True
    metadata: bool = True
    recording: str = ""
    loop: bool = True
    record_to: str = ""

    def __post_init__(self) -> None:
        for name in _AUTOMATIC:
            if getattr(self, name) == "auto":
                object.__setattr__(self, name, 0)
        if self.sync_role not in SYNC_ROLES:
            words = ", ".join(SYNC_ROLES)
            raise WorkbenchError(f"'{self.sync_role}' is not a sync role", f"Choose one of: {words}")
        if self.recording and self.record_to:
            raise WorkbenchError("a recording cannot be recorded again", "Leave out 'recording' or 'record_to'")
        specs = self.filter_specs
        if any(spec.name == "decimation" for spec in specs) and not self.align_depth:
            raise WorkbenchError(
                "decimation changes the size of depth pictures", "Set align_depth = true or remove the filter"
            )

    @property
    def filter_specs(self) -> tuple[FilterSpec, ...]:
        """The filters, read; WorkbenchError for a wrong one."""
        return tuple(FilterSpec.parse(text) for text in self.filters)

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """What the sensors are asked for."""
        color = Picture("color", self.width, self.height, self.rate_hz)
        if not self.depth:
            return (color,)
        size = (self.depth_width or self.width, self.depth_height or self.height)
        return color, Picture("depth", *size, self.depth_rate_hz or self.rate_hz)
