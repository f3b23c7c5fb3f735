"""Curves for TensorBoard: event files of plain numbers, written without TensorFlow.

An event file is a chain of records: length (8 bytes, little endian), masked CRC-32C of those, the record, masked
CRC-32C of it. A record is one ``tensorflow.Event`` message of protocol buffers (fields: 1 wall time, 2 step, 3 file
version, 5 summary); a summary holds values with a tag (1) and a simple value (2).
"""

from __future__ import annotations

import math
import struct
import time
from collections.abc import Mapping
from pathlib import Path

import google_crc32c

FOLDER = "tensorboard"


class ScalarLog:
    """Appends numbers to a new event file in ``folder``; a resumed run begins another one. Single thread."""

    def __init__(self, folder: Path, now_s: float | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        begun_s = time.time() if now_s is None else now_s
        self.path = folder / f"events.out.tfevents.{begun_s:017.6f}.workbench"
        self._append(_event(begun_s, 0, _field(3, b"brain.Event:2")))

    def add(self, step: int, values: Mapping[str, float], now_s: float | None = None) -> None:
        """Write every finite value under its name. OSError if the disk refuses."""
        inner = b"".join(_field(1, _value(tag, value)) for tag, value in values.items() if math.isfinite(value))
        if inner:
            self._append(_event(time.time() if now_s is None else now_s, step, _field(5, inner)))

    def _append(self, event: bytes) -> None:
        length = struct.pack("<Q", len(event))
        with open(self.path, "ab") as file:
            file.write(length + masked_crc(length) + event + masked_crc(event))


def masked_crc(data: bytes) -> bytes:
    """CRC-32C, rotated and shifted as the format wants it, so that a checksum of checksums stays useful; 4 bytes."""
    crc = google_crc32c.value(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def _event(wall_s: float, step: int, rest: bytes) -> bytes:
    return b"\x09" + struct.pack("<d", wall_s) + b"\x10" + _varint(step) + rest


def _value(tag: str, value: float) -> bytes:
    return _field(1, tag.encode()) + b"\x15" + struct.pack("<f", value)


def _field(number: int, data: bytes) -> bytes:
    """A field of bytes: its number and wire type 2, its length, itself."""
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])
