"""The simulated station as lockstep takes use it: small pictures at the rate of the rows."""

from __future__ import annotations

from typing import Protocol

from workbench.services.settings import CameraSettings, PolicySettings, RecordSettings, Settings, simulated_settings


class Pictures(Protocol):
    """What of ``LockstepSettings`` the station's own settings depend on."""

    @property
    def camera_hz(self) -> float: ...

    @property
    def control_hz(self) -> float: ...

    @property
    def front_px(self) -> tuple[int, int]: ...

    @property
    def wrist_px(self) -> tuple[int, int]: ...

    @property
    def depth(self) -> bool: ...

    @property
    def policy(self) -> PolicySettings: ...


def station_settings(address: str, settings: Pictures) -> Settings:
    """The simulated station's settings with small pictures at the lockstep rate."""

    def camera(name: str, size: tuple[int, int], depth: bool) -> CameraSettings:
        options = {"address": address, "camera": name, "width": size[0], "height": size[1]}
        return CameraSettings(
            name=name, kind="simulated", options={**options, "rate_hz": settings.camera_hz, "depth": depth}
        )

    return simulated_settings().model_copy(
        update={
            "cameras": (
                camera("front", settings.front_px, settings.depth),
                camera("wrist", settings.wrist_px, False),
            ),
            "control_hz": settings.control_hz,
            "policy": settings.policy,
            "record": RecordSettings(jpeg_quality=95, rows_hz=settings.camera_hz, block_s=4.0),
        }
    )
