"""Reading TFRecord files and the ``tf.train.Example`` messages in them, without TensorFlow.

A record is: length (uint64, little endian), masked crc32c of the length, the bytes, masked crc32c of the bytes. The
mask is a rotation by 15 bits plus a constant. An Example is a protocol buffer: Features(1) -> map entries(1) of
name(1) and Feature(2), which holds a BytesList(1), FloatList(2) or Int64List(3). The files come from anywhere: lengths
are checked before they are believed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from workbench.core.errors import WorkbenchError

_HEAD, _TAIL = 12, 4
_LARGEST_RECORD = 4 << 30
_MASK = 0xA282EAD8
Value = list[bytes] | NDArray[np.float32] | NDArray[np.int64]
Field = tuple[int, int | bytes]


@dataclass(frozen=True, slots=True)
class Record:
    """Where one record's bytes lie in its file."""

    path: Path
    offset: int
    size: int

    def read(self) -> bytes:
        """The bytes; WorkbenchError if they do not match their checksum."""
        with open(self.path, "rb") as file:
            file.seek(self.offset)
            data, tail = file.read(self.size), file.read(_TAIL)
        if len(data) != self.size or len(tail) != _TAIL or _masked(data) != struct.unpack("<I", tail)[0]:
            raise WorkbenchError(f"a record of {self.path.name} is damaged", "Fetch the file anew")
        return data


def find_records(path: Path) -> list[Record]:
    """The places of a file's records, by their lengths alone. WorkbenchError if a length is damaged or too long."""
    found, end = [], path.stat().st_size
    with open(path, "rb") as file:
        while (at := file.tell()) < end:
            size = _length(file, path)
            if at + _HEAD + size + _TAIL > end:
                raise WorkbenchError(f"{path.name} ends in the middle of a record", "Fetch the file anew")
            found.append(Record(path, at + _HEAD, size))
            file.seek(size + _TAIL, 1)
    return found


def parse_example(data: bytes) -> dict[str, Value]:
    """The features of one Example by name. WorkbenchError if the message is malformed."""
    try:
        return {
            name: value
            for features in _messages(data, 1)
            for entry in _messages(features, 1)
            for name, value in [_entry(entry)]
        }
    except (IndexError, ValueError, struct.error) as error:
        raise WorkbenchError(f"a record is no example ({error})", "Fetch the file anew") from error


def _length(file: BinaryIO, path: Path) -> int:
    head = file.read(_HEAD)
    if len(head) != _HEAD or _masked(head[:8]) != struct.unpack("<I", head[8:])[0]:
        raise WorkbenchError(f"{path.name} is damaged, or no TFRecord file", "Fetch the file anew")
    size = int(struct.unpack("<Q", head[:8])[0])
    if size > _LARGEST_RECORD:
        raise WorkbenchError(f"a record of {path.name} is too long", "Fetch the file anew")
    return size


def _masked(data: bytes) -> int:
    crc = int(google_crc32c.value(data))
    return ((crc >> 15 | crc << 17) + _MASK) & 0xFFFFFFFF


def _entry(data: bytes) -> tuple[str, Value]:
    fields = dict(_fields(data))
    name, feature = fields.get(1, b""), fields.get(2, b"")
    if not isinstance(name, bytes) or not isinstance(feature, bytes):
        raise ValueError("a feature without a name")
    return name.decode(), _feature(feature)


def _feature(data: bytes) -> Value:
    for number, value in _fields(data):
        if isinstance(value, bytes) and number == 1:
            return _messages(value, 1)
        if isinstance(value, bytes) and number == 2:
            return _floats(value)
        if isinstance(value, bytes) and number == 3:
            return _integers(value)
    return []


def _floats(data: bytes) -> NDArray[np.float32]:
    """Packed into one field, or one field each."""
    whole = b"".join(value for number, value in _fields(data) if number == 1 and isinstance(value, bytes))
    if len(whole) % 4:
        raise ValueError("a list of numbers is cut off")
    return np.frombuffer(whole, "<f4")


def _integers(data: bytes) -> NDArray[np.int64]:
    found: list[int] = []
    for number, value in _fields(data):
        if number == 1 and isinstance(value, int):
            found.append(value)
        elif number == 1 and isinstance(value, bytes):
            at = 0
            while at < len(value):
                one, at = _varint(value, at)
                found.append(one)
    return np.array([one - (1 << 64) if one >= 1 << 63 else one for one in found], np.int64)


def _messages(data: bytes, wanted: int) -> list[bytes]:
    return [value for number, value in _fields(data) if number == wanted and isinstance(value, bytes)]


def _fields(data: bytes) -> Iterator[Field]:
    """(number, value): an integer for a varint, else the bytes."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield number, value
            continue
        if kind == 2:
            size, at = _varint(data, at)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise ValueError(f"a field of the unknown kind {kind}")
        if size > len(data) - at:
            raise ValueError("a field is cut off")
        yield number, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 64:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at
    raise ValueError("a number is too long")
