"""A Piper on python-can's virtual bus: answers commands with feedback frames as its controller sends them."""

from __future__ import annotations

import threading
import time

import can
import numpy as np

START_MDEG = (10_000, 60_000, -60_000, 5_000, 30_000, -10_000)


class PiperEmulator:
    """Six joints that go to their targets while enabled; ``channel`` names the bus. ``frames`` counts what came."""

    def __init__(self, channel: str) -> None:
        self.channel = channel
        self.frames: dict[int, int] = {}
        self.modes: list[bytes] = []
        self.joints = np.array(START_MDEG, float)
        self.goal = self.joints.copy()
        self.speed = np.zeros(6)
        self.gripper, self.grip_goal = 20_000.0, 20_000.0
        self.status, self.enabled, self.enabling_s = 0, False, 0.1
        self._asked_s = 0.0
        self._bus = can.Bus(interface="virtual", channel=channel)
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=run, daemon=True) for run in (self._listen, self._speak)]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        if not self._ended.is_set():
            self._ended.set()
            for thread in self._threads:
                thread.join(2)
            self._bus.shutdown()

    def _listen(self) -> None:
        while not self._ended.is_set():
            frame = self._bus.recv(0.05)
            if frame is None:
                continue
            number, data = frame.arbitration_id, bytes(frame.data)
            self.frames[number] = self.frames.get(number, 0) + 1
            if number == 0x471:
                self.enabled = self.enabled and data[1] == 2
                self._asked_s = self._asked_s or time.monotonic() if data[1] == 2 else 0.0
            elif number == 0x151:
                self.modes.append(data)
            elif number in (0x155, 0x156, 0x157) and self.enabled:
                first = 2 * (number - 0x155)
                self.goal[first : first + 2] = np.frombuffer(data, ">i4")
            elif number == 0x159:
                self.grip_goal = float(int.from_bytes(data[:4], "big", signed=True))

    def _speak(self) -> None:
        seen = time.monotonic()
        while not self._ended.wait(0.005):
            now = time.monotonic()
            passed, seen = now - seen, now
            if self._asked_s and now - self._asked_s > self.enabling_s:
                self.enabled, self._asked_s = True, 0.0
            step = np.clip(self.goal - self.joints, -150_000 * passed, 150_000 * passed) * (
                self.enabled and not self.status
            )
            self.joints += step
            self.speed = step / passed
            self.gripper += float(np.clip(self.grip_goal - self.gripper, -300_000 * passed, 300_000 * passed))
            self._feedback()

    def _feedback(self) -> None:
        whole = np.rint(self.joints).astype(">i4")
        for i in range(3):
            self._send(0x2A5 + i, whole[2 * i : 2 * i + 2].tobytes())
        self._send(0x2A8, round(self.gripper).to_bytes(4, "big", signed=True) + bytes(4))
        self._send(0x2A1, bytes([1, self.status, 1, 0, 0, 0, 0, 0]))
        for i in range(6):
            speed = round(float(np.deg2rad(self.speed[i]))).to_bytes(2, "big", signed=True)
            self._send(0x251 + i, speed + bytes(6))
            self._send(0x261 + i, bytes([0, 240, 0, 30, 30, 0x40 if self.enabled else 0, 0, 0]))

    def _send(self, number: int, data: bytes) -> None:
        self._bus.send(can.Message(arbitration_id=number, data=data, is_extended_id=False))
