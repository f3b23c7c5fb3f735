"""TensorBoard files, read back by a parser that shares nothing with the writer, bit-wise checksums included."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from models.scalar_log import ScalarLog


def crc32c(data: bytes) -> int:
    """Castagnoli, bit by bit (polynomial 0x1EDC6F41, reflected)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(data: bytes) -> int:
    crc = crc32c(data)
    return (((crc >> 15) | (crc << 17) & 0xFFFFFFFF) + 0xA282EAD8) % 2**32


def varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def fields(data: bytes) -> list[tuple[int, object]]:
    """Fields of a protocol-buffer message by wire type."""
    found, at = [], 0
    while at < len(data):
        key, at = varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = varint(data, at)
        elif kind == 1:
            value, at = struct.unpack_from("<d", data, at)[0], at + 8
        elif kind == 5:
            value, at = struct.unpack_from("<f", data, at)[0], at + 4
        else:
            size, at = varint(data, at)
            value, at = data[at : at + size], at + size
        found.append((key >> 3, value))
    return found


def records(path: Path) -> list[dict[int, object]]:
    data, at, found = path.read_bytes(), 0, []
    while at < len(data):
        head = data[at : at + 8]
        (length,) = struct.unpack("<Q", head)
        assert struct.unpack_from("<I", data, at + 8)[0] == masked(head)
        body = data[at + 12 : at + 12 + length]
        assert struct.unpack_from("<I", data, at + 12 + length)[0] == masked(body)
        found.append(dict(fields(body)))
        at += 16 + length
    return found


def test_the_checksum_is_castagnolis() -> None:
    assert crc32c(b"123456789") == 0xE3069283


def test_what_is_written_is_read_by_the_rules_of_the_format(tmp_path: Path) -> None:
    log = ScalarLog(tmp_path / "tensorboard", now_s=1700000000.5)
    log.add(0, {"loss": 0.5}, now_s=1700000001.0)
    log.add(300_000, {"loss": 0.25, "nothing": float("nan"), "größe": -1e-3}, now_s=1700000002.0)
    log.add(300_001, {"nothing": float("inf")})
    first, zero, far = records(log.path)
    assert first == {1: 1700000000.5, 2: 0, 3: b"brain.Event:2"}
    assert zero[2] == 0 and far[1] == 1700000002.0 and far[2] == 300_000
    values = [dict(fields(value)) for number, value in fields(far[5]) if number == 1]
    assert [(v[1].decode(), v[2]) for v in values] == [("loss", 0.25), ("größe", pytest.approx(-1e-3))]
    assert "tfevents" in log.path.name


def test_a_second_log_is_a_second_file(tmp_path: Path) -> None:
    paths = {ScalarLog(tmp_path, now_s=float(k)).path for k in range(3)}
    assert len(paths) == 3 and sorted(paths) == sorted(paths, key=lambda path: path.name)
