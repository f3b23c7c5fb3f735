"""Exposure, gain, emitter and the like: set once at opening and read back, so that a take knows what was in force."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from hardware.realsense_library import about, library
from workbench.core.errors import DeviceError

# What is read back into the manifest where a sensor has it.
_TOLD = (
    *("exposure", "gain", "white_balance", "enable_auto_exposure", "enable_auto_white_balance", "emitter_enabled"),
    *(
        "auto_exposure_priority",
        "laser_power",
        "visual_preset",
        "depth_units",
        "inter_cam_sync_mode",
        "global_time_enabled",
    ),
)
_SYNC_MODES = {"none": 0.0, "master": 1.0, "slave": 2.0}
SYNC_ROLES = tuple(_SYNC_MODES)


@dataclass(frozen=True, slots=True)
class Wish:
    """One option to set.

    Attributes:
        setting: our own word for it, for messages.
        option: librealsense's word.
        required: False: leave it alone where the sensor does not have it.
    """

    setting: str
    option: str
    value: float
    required: bool = True


@dataclass(frozen=True, slots=True)
class Look:
    """How one sensor is to see. 0 means automatic for ``exposure_us`` and ``white_balance_k``; -1 means as it is."""

    exposure_us: float = 0
    gain: float = -1
    white_balance_k: float = -1


def look_wishes(prefix: str, look: Look, exposure_unit_us: float) -> list[Wish]:
    """Options for a look; automatics are switched before the value that they would overwrite."""
    wishes = [Wish(f"{prefix}exposure_us", "auto_exposure_priority", 0, required=False)]  # keep the rate in the dark
    if look.exposure_us > 0:
        wishes += [
            Wish(f"{prefix}exposure_us", "enable_auto_exposure", 0, required=False),
            Wish(f"{prefix}exposure_us", "exposure", look.exposure_us / exposure_unit_us),
        ]
    else:
        wishes.append(Wish(f"{prefix}exposure_us", "enable_auto_exposure", 1, required=False))
    if look.gain >= 0:
        wishes.append(Wish(f"{prefix}gain", "gain", look.gain))
    if look.white_balance_k > 0:
        wishes += [
            Wish("white_balance_k", "enable_auto_white_balance", 0, required=False),
            Wish("white_balance_k", "white_balance", look.white_balance_k),
        ]
    elif look.white_balance_k == 0:
        wishes.append(Wish("white_balance_k", "enable_auto_white_balance", 1, required=False))
    return wishes


def emitter_wishes(emitter: bool, laser_power_mw: float) -> list[Wish]:
    """The infrared projector; a power needs a projector that is on."""
    wishes = [Wish("emitter", "emitter_enabled", float(emitter), required=not emitter)]
    if emitter and laser_power_mw >= 0:
        wishes.append(Wish("laser_power_mw", "laser_power", laser_power_mw))
    return wishes


def sync_wishes(role: str) -> list[Wish]:
    """Exposing together with other cameras over the sync cable."""
    return [Wish("sync_role", "inter_cam_sync_mode", _SYNC_MODES[role])] if role != "none" else []


def exposure_unit_us(sensor: Any) -> float:
    """What one count of the exposure option is: separate RGB sensors count 100 us, stereo modules 1 us."""
    return 100.0 if "rgb" in about(sensor, "name").lower() else 1.0


def apply(sensor: Any, wishes: Iterable[Wish]) -> tuple[str, ...]:
    """Set every wish; the warnings name values that the device changed. DeviceError when it has or takes it not."""
    rs, warnings = library(), []
    for wish in wishes:
        option = getattr(rs.option, wish.option)
        if not sensor.supports(option) or sensor.is_option_read_only(option):
            if wish.required:
                raise DeviceError(
                    f"the camera's {about(sensor, 'name')} has no setting '{wish.setting}'",
                    "Leave it out for this camera",
                )
            continue
        warnings += _set(sensor, option, wish)
    return tuple(warnings)


def _set(sensor: Any, option: Any, wish: Wish) -> list[str]:
    limits = sensor.get_option_range(option)
    name = about(sensor, "name")
    if not limits.min <= wish.value <= limits.max:
        scale = exposure_unit_us(sensor) if wish.option == "exposure" else 1.0
        raise DeviceError(
            f"the camera's {name} refuses {wish.setting} = {wish.value * scale:g}",
            f"Choose between {limits.min * scale:g} and {limits.max * scale:g}",
        )
    try:
        sensor.set_option(option, wish.value)
    except RuntimeError as error:
        raise DeviceError(
            f"the camera's {name} refuses {wish.setting} ({error})", "Leave it out or choose another value"
        ) from error
    told = sensor.get_option(option)
    if abs(told - wish.value) > max(limits.step, 1e-6):
        return [f"{name}: asked for {wish.option} {wish.value:g}, the camera uses {told:g}"]
    return []


def load_preset(device: Any, text: str) -> None:
    """Load an advanced-mode JSON preset. DeviceError when the device cannot or will not."""
    rs = library()
    name = about(device, "name")
    if not device.supports(rs.camera_info.advanced_mode):
        raise DeviceError(f"{name} has no advanced mode", "Remove preset_json from this camera's settings")
    try:
        advanced = rs.rs400_advanced_mode(device)
        if not advanced.is_enabled():
            raise DeviceError(
                f"the advanced mode of {name} is switched off", "Switch it on once in the RealSense Viewer"
            )
        advanced.load_json(text)
    except RuntimeError as error:
        raise DeviceError(f"{name} refuses the preset ({error})", "Export it anew from the RealSense Viewer") from error


def read_back(sensor: Any) -> dict[str, float]:
    """The settings in force, under librealsense's names; exposure counts as in ``exposure_unit_us``."""
    rs, told = library(), {}
    for word in _TOLD:
        option = getattr(rs.option, word)
        if sensor.supports(option):
            told[word] = round(float(sensor.get_option(option)), 7)
    if "exposure" in told:
        told["exposure_us"] = told["exposure"] * exposure_unit_us(sensor)
    return told
