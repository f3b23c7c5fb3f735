"""Intel RealSense cameras by librealsense, live or from its recordings. Settings and advice: docs/cameras.md.

Exercised here by the real library on software devices and recordings. What needs a camera on USB and was not exercised:
``hardware_reset`` (a software device has none), presets of the advanced mode, real exposures, USB loss.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardware import realsense_library
from hardware import realsense_options as options
from hardware.camera import CAMERAS, CameraInfo, CameraShot, Stamp
from hardware.realsense_config import Config
from hardware.realsense_filters import DepthChain, Millimetres
from hardware.realsense_frames import AXES, Round, Stamper, extrinsics, metadata, optics
from hardware.realsense_library import about, discover, is_attached, library, warnings_of
from hardware.realsense_pairing import Pair, Pairing
from hardware.realsense_source import Source
from workbench.core.errors import DeviceError
from workbench.core.registry import Plugin
from workbench.core.types import StreamSpec

FIRST_PICTURE_S = 3.0
STARTS = 3
PAUSE_S = 0.5
RESET_S = 15.0
SILENT_S = 0.5  # no picture for so long: look whether the camera is still there
STALLED_S = 5.0  # there, but no picture for so long: start anew
_SLICE_S = 0.1


class RealSenseCamera:
    """Implements ``hardware.camera.Camera``. A shot is a colour picture, with its depth picture if that came.

    ``sequence`` and ``t_device_ns`` are the colour sensor's own; depth carries its own in ``stamps``. ``t_device_ns``
    is in the domain that ``CameraInfo.clock_domain`` names: ``hardware`` (the camera's clock, ns since it started),
    ``global`` or ``system`` (the host's wall clock, ns since 1970). ``t_host_ns`` is the arrival on CLOCK_MONOTONIC.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._source: Source | None = None

    @property
    def streams(self) -> tuple[StreamSpec, ...]:
        config = self._config
        color = StreamSpec(self._color, (config.height, config.width, 3), "uint8", rate_hz=config.rate_hz)
        specs = [color]
        if config.depth:
            depth = config.pictures[1]
            size = color.shape[:2] if config.align_depth else (depth.height, depth.width)
            specs.append(StreamSpec(self._depth, size, "uint16", "mm", min(depth.rate_hz, config.rate_hz)))
        if config.metadata:
            specs.append(StreamSpec(self._words, (len(AXES),), "float32", "SI", config.rate_hz, AXES))
        return tuple(specs)

    # life -----------------------------------------------------------------------------------------------------------

    def open(self) -> CameraInfo:
        """Start, warm up and say what it is. DeviceError with the cause; takes long while a camera is reset."""
        self.close()
        config = self._config
        last = ""
        for attempt in range(STARTS if not config.recording else 1):
            if attempt:
                time.sleep(PAUSE_S)
            last = self._try_to_open()
            if not last:
                return self._info()
        if not config.recording and self._reset() and not (last := self._try_to_open()):
            return self._info()
        raise DeviceError(
            f"the camera '{config.name}' is there but does not deliver ({last})",
            "Unplug it and plug it in again, use another cable or port, and update its firmware",
        )

    def close(self) -> None:
        source, self._source = self._source, None
        if source is not None:
            source.stop()

    def _try_to_open(self) -> str:
        """Open, set and start once. "" if pictures come, else why not; DeviceError where trying again is no use."""
        config = self._config
        try:
            source = self._find()
            self._warnings = (*warnings_of(source.device), *self._set(source))
            source.start()
        except RuntimeError as error:
            return str(error)
        self._source = source
        self._begin()
        if not self._warm_up():
            self.close()
            wanted = " and ".join("colour" if kind == "color" else kind for kind in source.sensors)
            return f"no {wanted} came within {FIRST_PICTURE_S:g} s"
        self._told = {} if config.recording else {k: options.read_back(s) for k, s in source.sensors.items()}
        return ""

    def _find(self) -> Source:
        config = self._config
        if config.recording:
            return Source.of_recording(config.recording, config.pictures)
        return Source.of_device(config.serial, config.pictures, config.record_to)

    def _begin(self) -> None:
        """Forget what earlier pictures said."""
        config = self._config
        depth_hz = config.pictures[1].rate_hz if config.depth else 0.0
        self._pairing = Pairing(config.rate_hz, depth_hz)
        self._stampers = {"color": Stamper(), "depth": Stamper()}
        self._chain = DepthChain(config.filter_specs, config.align_depth)
        self._millimetres = Millimetres()
        self._held: Pair | None = None
        self._domain = ""
        self._round = Round()
        self._heard_s = self._depth_heard_s = self._looked_s = time.monotonic()

    def _set(self, source: Source) -> tuple[str, ...]:
        """Preset, then options; the warnings of both. A recording has nothing to set."""
        config = self._config
        if config.recording:
            return ()
        if config.preset_json:
            options.load_preset(source.device, _text(config.preset_json))
        shared = [options.Wish("global_time", "global_time_enabled", float(config.global_time), required=False)]
        color = source.sensors["color"]
        look = options.Look(config.exposure_us, config.gain, config.white_balance_k)
        warnings = options.apply(color, shared + options.look_wishes("", look, options.exposure_unit_us(color)))
        if "depth" not in source.sensors:
            return warnings
        depth = source.sensors["depth"]
        look = options.Look(config.depth_exposure_us, config.depth_gain)
        wishes = options.emitter_wishes(config.emitter, config.laser_power_mw) + options.sync_wishes(config.sync_role)
        if depth is not color:  # some models take both pictures with one sensor, which keeps the colour's settings
            wishes = shared + options.look_wishes("depth_", look, options.exposure_unit_us(depth)) + wishes
        return warnings + options.apply(depth, wishes)

    def _warm_up(self) -> bool:
        """Wait for a picture of every sensor, then throw away what comes meanwhile. A recording keeps every picture."""
        config = self._config
        if config.recording:
            self._held = self._next(FIRST_PICTURE_S)
            self._domain = self._held.color.domain if self._held else ""
            return self._held is not None
        begin_s = time.monotonic()
        complete = False
        while time.monotonic() - begin_s < (config.warm_up_s if complete else FIRST_PICTURE_S):
            pair = self._next(_SLICE_S)
            if pair is not None:
                self._domain = pair.color.domain
                complete = complete or pair.depth is not None or not config.depth
        return complete

    def _reset(self) -> bool:
        """Restart the camera itself and wait until it is back on the bus. False where that cannot be done."""
        try:
            device = realsense_library.find(realsense_library.open_context(), self._config.serial)
            serial = about(device, "serial_number")
            device.hardware_reset()
        except (RuntimeError, DeviceError):
            return False
        end_s = time.monotonic() + RESET_S
        time.sleep(PAUSE_S)  # it needs a moment to leave the bus
        while time.monotonic() < end_s:
            if is_attached(serial):
                return True
            time.sleep(PAUSE_S)
        return False

    def _info(self) -> CameraInfo:
        source = self._source
        if source is None:
            raise DeviceError(f"the camera '{self._config.name}' is not open", "Open it first")
        lenses = {kind: optics(profile) for kind, profile in source.profiles.items()}
        seen: dict[str, dict[str, Any]] = {}
        if "depth" in lenses:
            seen["depth_to_color"] = extrinsics(source.profiles["depth"], source.profiles["color"])
            if self._config.align_depth:
                lenses |= {"depth_sensor": lenses["depth"], "depth": lenses["color"]}
        return CameraInfo(
            "realsense",
            source.serial,
            self._domain,
            lenses,
            title=about(source.device, "name"),
            firmware=about(source.device, "firmware_version"),
            usb=about(source.device, "usb_type_descriptor"),
            extrinsics=seen,
            settings=self._told,
            warnings=self._warnings,
        )

    # reading --------------------------------------------------------------------------------------------------------

    def read(self, timeout_s: float) -> CameraShot | None:
        """The next colour picture; None if none came, or at the end of a recording that is not looped."""
        if self._source is None:
            raise DeviceError(f"the camera '{self._config.name}' is not open", "Open it first")
        pair, self._held = self._held, None
        try:
            pair = pair or self._next(timeout_s)
            return self._shot(pair) if pair is not None else None
        except RuntimeError as error:
            raise DeviceError(
                f"the camera '{self._config.name}' failed ({error})", "It is being started anew"
            ) from error

    def _next(self, timeout_s: float) -> Pair | None:
        end_s = time.monotonic() + timeout_s
        while True:
            pair = self._pairing.next(time.monotonic_ns())
            left_s = end_s - time.monotonic()
            if pair is not None or left_s <= 0:
                return pair
            self._listen(min(left_s, 0.01 if self._pairing.waiting() else _SLICE_S))

    def _listen(self, timeout_s: float) -> None:
        """Take one picture from the queue, or see why none comes."""
        source = self._source
        if source is None:
            return
        frame = source.wait(timeout_s)
        if frame is None:
            self._look_after(source)
            return
        self._heard_s = time.monotonic()
        if frame.is_depth_frame():
            self._depth_heard_s = self._heard_s
            self._pairing.add_depth(self._stampers["depth"].half(frame))
            return
        self._pairing.add_color(self._stampers["color"].half(frame))
        silent_s = self._heard_s - self._depth_heard_s
        if self._config.depth and silent_s > STALLED_S and not self._config.recording:
            raise DeviceError(
                f"the camera '{self._config.name}' sends colour but no depth for {silent_s:.0f} s",
                "It is being started anew; check its USB cable and firmware if that happens again",
            )

    def _look_after(self, source: Source) -> None:
        """No picture came: is it the end of the recording, or is the camera gone, or stuck?"""
        config, now_s = self._config, time.monotonic()
        if config.recording:
            if source.ended() and config.loop and not self._pairing.waiting():
                self._play_again(source)
            return
        if now_s - max(self._heard_s, self._looked_s) < SILENT_S:
            return
        self._looked_s = now_s
        if not is_attached(source.serial):
            raise DeviceError(
                f"the camera '{config.name}' ({source.serial}) was unplugged",
                "Plug it in again; it is found again by its serial number",
            )
        if now_s - self._heard_s > STALLED_S:
            raise DeviceError(
                f"the camera '{config.name}' is attached but sent no picture for {STALLED_S:g} s",
                "It is being started anew; check cable and USB port if that happens again",
            )

    def _play_again(self, source: Source) -> None:
        source.stop()
        self._source = fresh = self._find()
        self._stampers = {"color": Stamper(), "depth": Stamper()}
        self._round = self._round.following(self._config.rate_hz)
        fresh.start()

    def _shot(self, pair: Pair) -> CameraShot:
        """Copies everything out of librealsense's buffers."""
        color, depth = pair.color, pair.depth
        images: dict[str, NDArray[Any]] = {self._color: _rgb(color.frame)}
        stamps = {}
        saturated = 0
        if depth is not None and self._config.depth:
            frame = self._chain.apply(color.frame, depth.frame)
            raw = np.asanyarray(frame.get_data())
            unit_m = depth.frame.as_depth_frame().get_units()
            images[self._depth], saturated = self._millimetres.convert(raw, unit_m)
            stamps[self._depth] = Stamp(*self._round.stamp(depth.number, depth.t_ms, "depth"), depth.arrival_ns)
        if self._config.metadata:
            color_unit_us = options.exposure_unit_us(self._source.sensors["color"]) if self._source else 1.0
            images[self._words] = metadata(pair, color_unit_us, saturated)
        sequence, t_device_ns = self._round.stamp(color.number, color.t_ms, "color")
        return CameraShot(sequence, t_device_ns, color.arrival_ns, images, stamps, self._note(color.domain))

    def _note(self, domain: str) -> str:
        before, self._domain = self._domain, domain
        return f"the clock of its pictures changed from {before} to {domain} time" if before != domain else ""

    @property
    def _color(self) -> str:
        return f"observation.images.{self._config.name}"

    @property
    def _depth(self) -> str:
        return f"observation.depth.{self._config.name}"

    @property
    def _words(self) -> str:
        return f"camera.{self._config.name}.metadata"


def _rgb(frame: Any) -> NDArray[np.uint8]:
    pixels = np.asanyarray(frame.get_data())
    if frame.get_profile().format() == library().format.bgr8:
        pixels = pixels[..., ::-1]
    return np.array(pixels, np.uint8)


def _text(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError as error:
        raise DeviceError(f"the preset {path} cannot be read ({error})", "Correct preset_json") from error


CAMERAS.register(
    Plugin(
        "realsense",
        "RealSense camera",
        Config,
        RealSenseCamera,
        "pyrealsense2",
        "pyrealsense2",
        discover=discover,
        identity="serial",
    )
)
