"""A SpaceMouse below the real pyspacemouse: a HID device that hands out raw reports, as hidapi would."""

from __future__ import annotations

import struct
from collections import deque

import pyspacemouse.api

from hardware.teleops import spacemouse

MODEL = "SpaceMouseCompact"


class HidMouse:
    """What easyhid's Device is to pyspacemouse. Raw HID axes: x right, y to the user, z down, in counts of +-350."""

    product_string, manufacturer_string, serial_number, release_number = "SpaceMouse Compact", "3Dconnexion", "1", 1
    path = "/dev/hidraw9"

    def __init__(self) -> None:
        spec = pyspacemouse.get_device_specs()[MODEL]
        self.vendor_id, self.product_id = spec.vendor_id, spec.product_id
        self.reports: deque[bytes] = deque()
        self.gone = False
        self.opened = 0

    def open(self) -> None:
        if self.gone:
            raise pyspacemouse.device.HIDException("cannot open")
        self.opened += 1

    def close(self) -> None:
        self.opened -= 1

    def set_nonblocking(self, on: bool) -> None:
        assert on, "a read that waits would hold up the control tick"

    def read(self, size: int) -> bytearray:
        if self.gone:
            raise pyspacemouse.device.HIDException("read failed")
        report = self.reports.popleft() if self.reports else b""
        return bytearray(report[:size])

    def push(self, x=0, y=0, z=0, rx=0, ry=0, rz=0) -> None:
        """The cap is here now: one report of translations, one of rotations."""
        self.reports.append(struct.pack("<Bhhh", 1, x, y, z))
        self.reports.append(struct.pack("<Bhhh", 2, rx, ry, rz))

    def press(self, *buttons: int) -> None:
        self.reports.append(bytes([3, sum(1 << b for b in buttons), 0, 0, 0, 0, 0]))


def attach(monkeypatch) -> HidMouse:
    """Plug a mouse in for pyspacemouse, and pretend that the system's hidapi library is there."""
    mouse = HidMouse()

    class Enumeration:
        def find(self):
            return [] if mouse.gone else [mouse]

    monkeypatch.setattr(pyspacemouse.api, "Enumeration", Enumeration)
    monkeypatch.setattr(spacemouse, "library_reason", lambda: "")
    return mouse
