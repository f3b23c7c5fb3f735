"""Bus servos on a pseudo terminal: the makers' own packages talk to it as to a USB adapter.

Each servo has a memory, moves towards its goal at a limited speed while its torque is on, and can be unplugged, made
hot, or made to answer garbage.
"""

from __future__ import annotations

import contextlib
import os
import pty
import select
import threading
import time
import tty

PING, READ, WRITE, REG_SYNC_READ, REG_SYNC_WRITE = 0x01, 0x02, 0x03, 0x82, 0x83


class Servo:
    """One servo: ``memory`` is what registers hold; position and goal are 2 bytes (Feetech) or 4 (Dynamixel)."""

    def __init__(self, family: str, position: int, speed_ticks_s: float) -> None:
        self.memory = bytearray(256)
        self.family, self.speed = family, speed_ticks_s
        self.at_torque, self.at_goal, self.at_now, self.at_speed, self.size = (
            (40, 42, 56, 58, 2) if family == "feetech" else (64, 116, 132, 128, 4)
        )
        self.position = float(position)
        self.set(self.at_goal, position, self.size)
        volts, heat = (62, 63) if family == "feetech" else (144, 146)
        self.memory[volts], self.memory[heat] = 74, 31
        self.seen_s = time.monotonic()
        self.alive = True
        self.move()

    def set(self, address: int, value: int, size: int) -> None:
        if value < 0:
            value = (-value | 0x8000) if self.family == "feetech" else value + (1 << 8 * size)
        self.memory[address : address + size] = value.to_bytes(size, "little")

    def goal(self) -> int:
        raw = int.from_bytes(self.memory[self.at_goal : self.at_goal + self.size], "little")
        return -(raw & 0x7FFF) if self.family == "feetech" and raw & 0x8000 else raw

    def move(self) -> None:
        now = time.monotonic()
        passed, self.seen_s = now - self.seen_s, now
        speed = 0.0
        if self.memory[self.at_torque] and passed > 0:
            way = self.goal() - self.position
            step = max(-self.speed * passed, min(self.speed * passed, way))
            self.position += step
            speed = step / passed
        self.set(self.at_now, round(self.position), self.size)
        if self.family == "feetech":
            self.set(self.at_speed, round(speed), 2)
        else:
            self.set(self.at_speed, round(speed / (0.229 / 60 * 4096)), 4)


class ServoEmulator:
    """A bus of servos behind ``port``; ends with ``close`` (the adapter is pulled out)."""

    def __init__(self, family: str, positions: dict[int, int], speed_ticks_s: float = 4000.0) -> None:
        self.family = family
        self.servos = {number: Servo(family, position, speed_ticks_s) for number, position in positions.items()}
        self.garbage = b""  # put before the next answer
        self.spoil = 0  # so many next answers get a wrong checksum
        self.goals: list[dict[int, int]] = []
        self._master, slave = pty.openpty()
        tty.setraw(slave)
        tty.setraw(self._master)
        self.port = os.ttyname(slave)
        self._slave: int | None = slave
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="servo-emulator", daemon=True)
        self._thread.start()

    def close(self) -> None:
        if self._slave is None:
            return
        self._ended.set()
        self._thread.join(2)
        for handle in (self._slave, self._master):
            with contextlib.suppress(OSError):
                os.close(handle)
        self._slave = None

    def _run(self) -> None:
        buffer = b""
        while not self._ended.is_set():
            if not select.select([self._master], [], [], 0.02)[0]:
                continue
            try:
                buffer += os.read(self._master, 4096)
            except OSError:
                return
            while (taken := self._packet(buffer)) is not None:
                buffer, packet = taken
                if packet:
                    self._obey(*packet)

    # both protocols: what remains, and (id, instruction, parameters)
    def _packet(self, buffer: bytes) -> tuple[bytes, tuple[int, int, bytes] | None] | None:
        if self.family == "feetech":
            start = buffer.find(b"\xff\xff")
            if start < 0 or len(buffer) < start + 4 or len(buffer) < start + 4 + buffer[start + 3]:
                return None
            end = start + 4 + buffer[start + 3]
            packet = buffer[start:end]
            good = ~sum(packet[2:-1]) & 0xFF == packet[-1]
            return buffer[end:], (packet[2], packet[4], packet[5:-1]) if good else None
        start = buffer.find(b"\xff\xff\xfd\x00")
        if start < 0 or len(buffer) < start + 7:
            return None
        end = start + 7 + int.from_bytes(buffer[start + 5 : start + 7], "little")
        if len(buffer) < end:
            return None
        packet = buffer[start:end]
        good = crc16(packet[:-2]) == int.from_bytes(packet[-2:], "little")
        return buffer[end:], (packet[4], packet[7], packet[8:-2]) if good else None

    def _obey(self, number: int, instruction: int, data: bytes) -> None:
        wide = 1 if self.family == "feetech" else 2
        for servo in self.servos.values():
            servo.move()
        if instruction == PING:
            self._answer(number, b"" if self.family == "feetech" else b"\x06\x04\x2e")
        elif instruction == READ:
            first = int.from_bytes(data[:wide], "little")
            self._answer(number, None, first, int.from_bytes(data[wide:], "little"))
        elif instruction == WRITE:
            self._store(number, int.from_bytes(data[:wide], "little"), data[wide:])
            self._answer(number, b"")
        elif instruction == REG_SYNC_READ:
            first, length = int.from_bytes(data[:wide], "little"), int.from_bytes(data[wide : 2 * wide], "little")
            for each in data[2 * wide :]:
                self._answer(each, None, first, length)
        elif instruction == REG_SYNC_WRITE:
            first, length = int.from_bytes(data[:wide], "little"), int.from_bytes(data[wide : 2 * wide], "little")
            rest = data[2 * wide :]
            for i in range(0, len(rest), length + 1):
                self._store(rest[i], first, rest[i + 1 : i + 1 + length])
            if first == next(iter(self.servos.values())).at_goal:
                self.goals.append({number: servo.goal() for number, servo in self.servos.items()})

    def _store(self, number: int, first: int, data: bytes) -> None:
        servo = self.servos.get(number)
        if servo is not None and servo.alive:
            servo.memory[first : first + len(data)] = data

    def _answer(self, number: int, data: bytes | None, first: int = 0, length: int = 0) -> None:
        servo = self.servos.get(number)
        if servo is None or not servo.alive:
            return
        body = bytes(servo.memory[first : first + length]) if data is None else data
        if self.family == "feetech":
            packet = bytes([number, len(body) + 2, 0]) + body
            packet = b"\xff\xff" + packet + bytes([~sum(packet) & 0xFF])
        else:
            packet = b"\xff\xff\xfd\x00" + bytes([number]) + (len(body) + 4).to_bytes(2, "little") + b"\x55\x00" + body
            packet += crc16(packet).to_bytes(2, "little")
        if self.spoil:
            self.spoil -= 1
            packet = packet[:-1] + bytes([packet[-1] ^ 0x5A])
        garbage, self.garbage = self.garbage, b""
        with contextlib.suppress(OSError):
            os.write(self._master, garbage + packet)


def crc16(data: bytes) -> int:
    """CRC-16/BUYPASS: polynomial 0x8005, start 0, not reflected."""
    value = 0
    for byte in data:
        value ^= byte << 8
        for _ in range(8):
            value = (value << 1 ^ 0x8005 if value & 0x8000 else value << 1) & 0xFFFF
    return value
