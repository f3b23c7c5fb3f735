"""Webcams on Linux without a library: which are attached, and their controls by Video4Linux's own calls."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from dataclasses import dataclass
from pathlib import Path

from workbench.core.errors import DeviceError
from workbench.core.registry import Found

BY_ID = Path("/dev/v4l/by-id")
BY_PATH = Path("/dev/v4l/by-path")
NAMES = Path("/sys/class/video4linux")

# linux/videodev2.h: _IOWR('V', 27 / 28 / 36, ...) of struct v4l2_control and struct v4l2_queryctrl
_G_CTRL, _S_CTRL, _QUERYCTRL = 0xC008561B, 0xC008561C, 0xC0445624
_CONTROL = struct.Struct("Ii")
_QUERY = struct.Struct("II32siiiiI2I")
_DISABLED = 0x0001


@dataclass(frozen=True, slots=True)
class Control:
    """One V4L2 control by its number in linux/v4l2-controls.h."""

    name: str
    id: int


EXPOSURE_MODE = Control("exposure mode", 0x009A0901)  # 1 manual, 3 automatic at a fixed aperture
EXPOSURE = Control("exposure", 0x009A0902)  # in 100 us
EXPOSURE_PRIORITY = Control("exposure priority", 0x009A0903)  # 1: may lower the rate in the dark
GAIN = Control("gain", 0x00980913)
WHITE_BALANCE_AUTO = Control("automatic white balance", 0x0098090C)
WHITE_BALANCE = Control("white balance", 0x0098091A)  # in K
FOCUS_AUTO = Control("automatic focus", 0x009A090C)
FOCUS = Control("focus", 0x009A090A)
MANUAL, AUTOMATIC = 1, 3


def discover() -> list[Found]:
    """Webcams by their stable names: by serial number where they have one, else by USB port. RealSense are left out."""
    found: dict[str, Found] = {}
    for folder, words in ((BY_ID, "found by its serial number"), (BY_PATH, "found by its USB port")):
        for link in sorted(folder.glob("*-video-index0")) if folder.is_dir() else ():
            node = link.resolve().name
            title = _title(node)
            if node not in found and "realsense" not in f"{title} {link.name}".lower():
                found[node] = Found(link.name, title, {"device": str(link)}, f"{words} (now /dev/{node})")
    return list(found.values())


def _title(node: str) -> str:
    try:
        return (NAMES / node / "name").read_text().strip()
    except OSError:
        return node


class Controls:
    """The controls of one device node; use as a context manager. Other programs may stream from it meanwhile."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._handle = -1

    def __enter__(self) -> Controls:
        try:
            self._handle = os.open(self._device, os.O_RDWR | os.O_NONBLOCK)
        except OSError as error:
            raise DeviceError(f"the camera {self._device} cannot be opened ({error.strerror})", hint(error)) from error
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._handle)

    def has(self, control: Control) -> bool:
        """Whether the device knows the control and lets it be used."""
        return self._query(control) is not None

    def set(self, control: Control, value: int) -> str:
        """Set and read back; a warning if the device chose another value. DeviceError when it refuses."""
        known = self._query(control)
        if known is None:
            raise DeviceError(f"the camera {self._device} has no control '{control.name}'", "Leave that setting out")
        least, most = known
        if not least <= value <= most:
            raise DeviceError(
                f"the camera {self._device} refuses {control.name} = {value}", f"Choose between {least} and {most}"
            )
        try:
            fcntl.ioctl(self._handle, _S_CTRL, _CONTROL.pack(control.id, value))
        except OSError as error:
            raise DeviceError(
                f"the camera {self._device} refuses {control.name} = {value} ({error.strerror})",
                "Leave that setting out",
            ) from error
        told = self.get(control)
        return "" if told == value else f"asked for {control.name} {value}, the camera uses {told}"

    def get(self, control: Control) -> int:
        """The present value. DeviceError when it cannot be read."""
        try:
            answer = fcntl.ioctl(self._handle, _G_CTRL, _CONTROL.pack(control.id, 0))
        except OSError as error:
            raise DeviceError(
                f"the camera {self._device} does not tell its {control.name} ({error.strerror})", hint(error)
            ) from error
        return int(_CONTROL.unpack(answer)[1])

    def _query(self, control: Control) -> tuple[int, int] | None:
        try:
            answer = fcntl.ioctl(self._handle, _QUERYCTRL, _QUERY.pack(control.id, 0, b"", 0, 0, 0, 0, 0, 0, 0))
        except OSError:
            return None
        _, _, _, least, most, _, _, flags, _, _ = _QUERY.unpack(answer)
        return None if flags & _DISABLED else (least, most)


def hint(error: OSError) -> str:
    """What to do about a device node that cannot be used."""
    if error.errno in (errno.EACCES, errno.EPERM):
        return "Add yourself to the group 'video' and log in again"
    if error.errno == errno.EBUSY:
        return "Close the other program that uses the camera"
    names = ", ".join(str(found.options["device"]) for found in discover())
    return f"Plug it in or choose another device; attached: {names or 'none'}"
