"""A camera of the simulated table."""

from __future__ import annotations

from dataclasses import dataclass

from hardware.camera import CAMERAS, CameraInfo, CameraShot
from hardware.sim.station import Feed, find
from workbench.core.errors import DeviceError
from workbench.core.registry import Plugin
from workbench.core.types import StreamSpec


@dataclass(frozen=True, slots=True)
class Config:
    """``name`` is the stream's name, ``camera`` which view it shows (``front`` or ``wrist``)."""

    name: str = "front"
    address: str = ""
    camera: str = "front"
    width: int = 640
    height: int = 480
    rate_hz: float = 30.0
    depth: bool = False


class SimulatedCamera:
    """Implements ``hardware.camera.Camera`` over a simulated station, in lockstep or in real time."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._feed: Feed | None = None

    @property
    def streams(self) -> tuple[StreamSpec, ...]:
        config = self._config
        size = (config.height, config.width)
        color = StreamSpec(f"observation.images.{config.name}", (*size, 3), "uint8", rate_hz=config.rate_hz)
        if not config.depth:
            return (color,)
        return color, StreamSpec(f"observation.depth.{config.name}", size, "uint16", "mm", config.rate_hz)

    def open(self) -> CameraInfo:
        config = self._config
        self.close()
        self._feed = find(config.address).feed(config.camera, config.width, config.height, config.depth, config.rate_hz)
        return self._feed.info

    def read(self, timeout_s: float) -> CameraShot | None:
        if self._feed is None:
            raise DeviceError("the simulated camera is not open", "Open it first")
        shot = self._feed.read(timeout_s)
        if shot is None:
            return None
        names = [spec.name for spec in self.streams]
        images = {name: image for name, image in zip(names, (shot.rgb, shot.depth)) if image is not None}
        return CameraShot(shot.sequence, shot.t_ns, shot.t_ns, images)

    def close(self) -> None:
        feed, self._feed = self._feed, None
        if feed is not None:
            feed.close()


CAMERAS.register(Plugin("simulated", "Simulated camera", Config, SimulatedCamera, "mujoco", "mujoco"))
