"""librealsense without a camera open: loading it, asking what is attached, naming what is wrong with it.

Everything here asks ``open_context`` anew, so that what is answered is what is on the bus now.
"""

from __future__ import annotations

import importlib
from typing import Any

from workbench.core.errors import DeviceError
from workbench.core.registry import Found

_NOT_REALSENSE = "platform camera"  # librealsense may list webcams under this name


def library() -> Any:
    """The module ``pyrealsense2``, loaded at first use. Raises DeviceError when it is not installed."""
    try:
        return importlib.import_module("pyrealsense2")
    except ImportError as error:
        raise DeviceError(
            f"the RealSense library cannot be loaded ({error})", "Run: pip install pyrealsense2"
        ) from error


def open_context() -> Any:
    """A fresh librealsense context: one look at the USB bus."""
    return library().context()


def about(device: Any, field: str) -> str:
    """One of the device's own words about itself (``serial_number``, ``firmware_version`` ...), "" if it has none."""
    key = getattr(library().camera_info, field)
    return str(device.get_info(key)) if device.supports(key) else ""


def attached(context: Any) -> list[Any]:
    """The RealSense devices of a context. One that is just going away is left out."""
    devices = []
    for device in context.query_devices():
        try:
            if about(device, "name").lower() != _NOT_REALSENSE:
                devices.append(device)
        except RuntimeError:  # it went away between being listed and being asked
            continue
    return devices


def find(context: Any, serial: str) -> Any:
    """The device with this serial number; with "" the only one there is. DeviceError lists what is attached."""
    devices = attached(context)
    if not serial and len(devices) == 1:
        return devices[0]
    for device in devices:
        if serial and about(device, "serial_number") == serial:
            return device
    there = ", ".join(f"{about(device, 'name')} {about(device, 'serial_number')}" for device in devices)
    if not devices:
        raise DeviceError(
            f"no RealSense camera{f' with serial {serial}' if serial else ''} is attached (there is none at all)",
            "Plug it into a USB 3 port; on Linux check that the udev rules of librealsense are installed",
        )
    if not serial:
        raise DeviceError(f"several RealSense cameras are attached ({there})", "Choose one by its serial number")
    raise DeviceError(
        f"no RealSense camera with serial {serial} is attached; attached: {there}", "Plug it in or correct the serial"
    )


def is_attached(serial: str) -> bool:
    """Whether a serial number is on the bus now."""
    return any(about(device, "serial_number") == serial for device in attached(open_context()))


def warnings_of(device: Any) -> tuple[str, ...]:
    """What a person should know before recording with it: firmware older than recommended, USB 2."""
    found = []
    firmware, wanted = about(device, "firmware_version"), about(device, "recommended_firmware_version")
    if firmware and wanted and _parts(firmware) < _parts(wanted):
        found.append(f"firmware {firmware} is older than the recommended {wanted}")
    usb = about(device, "usb_type_descriptor")
    if usb.startswith(("1", "2")):
        found.append(f"connected by USB {usb}: use a USB 3 port and cable, or rates and sizes stay low")
    return tuple(found)


def discover() -> list[Found]:
    """Every RealSense camera on the bus, by serial number, without opening any."""
    found = []
    for device in attached(open_context()):
        serial, usb = about(device, "serial_number"), about(device, "usb_type_descriptor")
        words = "; ".join((f"USB {usb}" if usb else "found", *warnings_of(device)))
        found.append(Found(serial, about(device, "name"), {"serial": serial}, words))
    return found


def _parts(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())
