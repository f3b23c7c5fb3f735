"""An xArm 6 control box as far as the maker's package looks: the private Modbus-like protocol on TCP port 502.

Joints go to servo targets while the box is in servo mode and ready. Port 502 needs root.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time

import numpy as np

PORT = 502
START = (0.2, -0.5, -0.8, 0.1, 1.2, -0.2)
TOOL_M = 0.172
_TILT = np.arctan2(284.5, 53.5)
_DH = (
    (0, 0, 0.267, 0),
    (0, -np.pi / 2, 0, -_TILT),
    (0.28948866, 0, 0, _TILT),
    (0.0775, -np.pi / 2, 0.3425, 0),
    (0, np.pi / 2, 0, 0),
    (0.076, -np.pi / 2, 0.097 + TOOL_M, 0),
)


def tool_pose(joints: np.ndarray) -> list[float]:
    """x y z (mm) and roll pitch yaw (rad) of the tool: textbook modified Denavit-Hartenberg."""
    made = np.eye(4)
    for angle, (a, alpha, d, offset) in zip(joints, _DH, strict=False):
        c, s, ca, sa = np.cos(angle + offset), np.sin(angle + offset), np.cos(alpha), np.sin(alpha)
        made = made @ np.array(
            [[c, -s, 0, a], [s * ca, c * ca, -sa, -sa * d], [s * sa, c * sa, ca, ca * d], [0, 0, 0, 1]]
        )
    pitch = np.arctan2(-made[2, 0], np.hypot(made[0, 0], made[1, 0]))
    roll, yaw = np.arctan2(made[2, 1], made[2, 2]), np.arctan2(made[1, 0], made[0, 0])
    return [*(1000 * made[:3, 3]), roll, pitch, yaw]


class XArmBox:
    """One box; ``close`` pulls its cable."""

    def __init__(self) -> None:
        self.joints, self.goal, self.speed = np.array(START), np.array(START), np.zeros(6)
        self.mode, self.state, self.error, self.enabled = 0, 4, 0, False
        self.muted = False
        self.seen = time.monotonic()
        self._lock = threading.Lock()
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.settimeout(None)
        self._listener.bind(("127.0.0.1", PORT))
        self._listener.listen(4)
        self._clients: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        for line in (self._listener, *self._clients):
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
            line.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            client.settimeout(None)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._clients.append(client)
            threading.Thread(target=self._talk, args=(client,), daemon=True).start()

    def _talk(self, client: socket.socket) -> None:
        data = b""
        while True:
            try:
                part = client.recv(4096)
            except OSError:
                return
            if not part:
                return
            data += part
            while len(data) >= 7:
                number, protocol, length = struct.unpack(">3H", data[:6])
                if len(data) < 6 + length:
                    break
                function, body, data = data[6], data[7 : 6 + length], data[6 + length :]
                with self._lock:
                    self._move()
                    answer = self._answer(function, body)
                    state = (0x40 if self.error else 0) | (0x10 if self.state == 4 else 0)
                reply = struct.pack(">3HBB", number, protocol, len(answer) + 2, function, state) + answer
                if not self.muted:
                    try:
                        client.sendall(reply)
                    except OSError:
                        return

    def _move(self) -> None:
        now = time.monotonic()
        passed, self.seen = now - self.seen, now
        if self.error or self.state == 4 or not self.enabled or self.mode != 1:
            self.goal = self.joints.copy()
        step = np.clip(self.goal - self.joints, -3.0 * passed, 3.0 * passed)
        self.joints = self.joints + step
        self.speed = step / max(passed, 1e-6)

    def _answer(self, function: int, body: bytes) -> bytes:
        floats = lambda values: struct.pack(f"<{len(values)}f", *values)  # noqa: E731
        if function == 1:
            return b"6,6,XI120001,AC120001,v2.4.0".ljust(40, b"\0")
        if function == 2:
            return b"XI120012340000\0AC120012340000".ljust(40, b"\0")
        if function == 13:
            return bytes([self.state])
        if function == 14:
            return bytes(2)
        if function == 15:
            return bytes([self.error, 0])
        if function == 41:
            return floats(tool_pose(self.joints))
        if function == 42:
            values = [*self.joints, 0.0, *self.speed, 0.0, *([0.0] * 7)]
            return floats(values[: 7 * (body[0] & 0x0F)] if body else values[:7])
        if function == 11:
            self.enabled = bool(body[1])
        elif function == 12:
            self.state = 4 if body[0] == 4 else 2
        elif function == 16:
            self.error, self.state = 0, 4
        elif function == 19:
            self.mode, self.state = body[0], 4
        elif function == 29 and self.mode == 1 and self.state != 4 and not self.error:
            self.goal = np.array(struct.unpack("<10f", body)[:6])
        return b""
