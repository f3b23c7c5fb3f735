"""A Universal Robots controller as far as ``ur_rtde`` looks: RTDE, dashboard and script ports, and joints that move.

Runs as a process of its own (``python -m tests.emulators.ur``): the package's constructors hold the interpreter lock.
It says "ready" on standard output; lines on standard input make it misbehave: ``protective``, ``emergency``, ``clear``,
``stop program``, ``mute``. Ports are those of the real controller and cannot be changed.
"""

from __future__ import annotations

import re
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable

import numpy as np

RTDE_PORT, DASHBOARD_PORT, SCRIPT_PORTS = 30004, 29999, (30001, 30002, 30003)
START = (0.3, -1.4, 1.5, -1.6, -1.5, 0.2)
UR5E = ((0.1625, 0.0, np.pi / 2), (0, -0.425, 0), (0, -0.3922, 0), (0.1333, 0, np.pi / 2), (0.0997, 0, -np.pi / 2))
TOOL_M = 0.15
STOP_PROGRAM = 255
_FORMATS = {
    "DOUBLE": "d",
    "UINT64": "Q",
    "INT32": "i",
    "UINT32": "I",
    "UINT8": "B",
    "VECTOR3D": "3d",
    "VECTOR6D": "6d",
    "VECTOR6INT32": "6i",
}
_KINDS = (
    (r"(in|out)put_int_register_\d+|robot_mode|safety_mode|safety_status", "INT32"),
    (r"(in|out)put_double_register_\d+", "DOUBLE"),
    (r"(in|out)put_bit_register.*|robot_status_bits|safety_status_bits|runtime_state|speed_slider_mask", "UINT32"),
    (r"actual_digital_(in|out)put_bits", "UINT64"),
    (r"joint_mode", "VECTOR6INT32"),
    (r"actual_tool_accelerometer|payload_cog|elbow_.*", "VECTOR3D"),
    (r".*_mask|.*_digital_output|standard_analog_output_type", "UINT8"),
    (r"(target|actual)_(q|qd|qdd|current|moment|TCP_\w+|joint_voltage)|joint_\w+|ft_raw_wrench", "VECTOR6D"),
    (r"payload_inertia|tcp_offset|external_force_torque|actual_current_window", "VECTOR6D"),
)


def kind_of(name: str) -> str:
    """The RTDE type of a field."""
    return next((kind for pattern, kind in _KINDS if re.fullmatch(pattern, name)), "DOUBLE")


def tool_pose(joints: np.ndarray) -> np.ndarray:
    """x y z (m) and rotation vector of the tool: textbook Denavit-Hartenberg, last row with the tool on it."""
    made = np.eye(4)
    for angle, (d, a, alpha) in zip(joints, (*UR5E, (0.0996 + TOOL_M, 0.0, 0.0)), strict=True):
        c, s, ca, sa = np.cos(angle), np.sin(angle), np.cos(alpha), np.sin(alpha)
        made = made @ np.array([[c, -s * ca, s * sa, a * c], [s, c * ca, -c * sa, a * s], [0, sa, ca, d], [0, 0, 0, 1]])
    turn = made[:3, :3]
    axis = np.array([turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]])
    angle = np.arctan2(np.linalg.norm(axis), np.trace(turn) - 1)
    return np.r_[made[:3, 3], axis / max(np.linalg.norm(axis), 1e-12) * angle]


class Controller:
    """The joints: they follow servoj targets with a lag and a largest speed."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.q, self.qd, self.goal = np.array(START), np.zeros(6), np.array(START)
        self.registers: dict[str, float] = {}
        self.running, self.safety, self.muted = False, 1, False
        self.start = self.seen = time.monotonic()
        self.names: dict[int, str] = {}
        self.realtime: frozenset[int] = frozenset()

    def step(self) -> None:
        now = time.monotonic()
        passed, self.seen = now - self.seen, now
        if self.safety != 1:
            self.goal = self.q.copy()
        way = (self.goal - self.q) * (1 - np.exp(-passed / 0.03))
        way = np.clip(way, -3.0 * passed, 3.0 * passed)
        self.q = self.q + way
        self.qd = way / passed if passed > 0 else self.qd

    def obey(self, inputs: dict[str, float]) -> None:
        with self.lock:
            self.registers.update(inputs)
            command = int(inputs.get(self.command_register, 0)) if self.command_register in inputs else None
            if command is None:
                return
            self.registers["output_int_register_0"] = 1 if command == 0 or command in self.realtime else 2
            word = self.names.get(command, "")
            if command and "servo_target" in word and self.running:
                self.goal = np.array([self.registers[f"input_double_register_{i}"] for i in range(6)])
            elif command:
                self.goal = self.q.copy()
            if command == STOP_PROGRAM:
                self.running = False

    command_register = "input_int_register_0"

    def load(self, script: str) -> None:
        """A program has been sent; its own text says which number means what."""
        with self.lock:
            if "def " in script:
                self.names = commands_of(script)
                loop = next(line for line in script.splitlines() if line.count(" or cmd ==") > 3)
                self.realtime = frozenset(map(int, re.findall(r"cmd == (\d+)", loop)))
                self.running = True
                self.registers["output_int_register_0"] = 1

    def field(self, name: str) -> object:
        moving = {
            "timestamp": time.monotonic() - self.start,
            "actual_q": self.q,
            "target_q": self.q,
            "actual_qd": self.qd,
            "target_qd": self.qd,
            "actual_TCP_pose": tool_pose(self.q),
            "target_TCP_pose": tool_pose(self.q),
            "robot_mode": 7,
            "safety_mode": self.safety,
            "safety_status": self.safety,
            "runtime_state": 2 if self.running else 1,
            "robot_status_bits": 0b11 if self.running else 0b01,
            "safety_status_bits": {1: 1, 3: 1 << 2, 7: (1 << 7) | (1 << 10)}[self.safety],
            "speed_scaling": 1.0,
            "target_speed_fraction": 1.0,
            "joint_temperatures": np.full(6, 33.0),
            "joint_mode": np.full(6, 253),
        }
        return moving.get(name, self.registers.get(name, 0))


def commands_of(script: str) -> dict[int, str]:
    """Number of each command in the program, with the text of its branch in lower case."""
    parts = re.split(r"(?:el)?if\s+cmd\s*==\s*(\d+)\s*:", script)
    return {int(number): body.lower() for number, body in zip(parts[1::2], parts[2::2], strict=False)}


def serve(port: int, talk: Callable[[socket.socket], None]) -> None:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(8)

    def accept() -> None:
        while True:
            client, _ = listener.accept()
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=guarded, args=(client,), daemon=True).start()

    def guarded(client: socket.socket) -> None:
        try:
            talk(client)
        except (OSError, struct.error) as error:
            print(repr(error), file=sys.stderr)
            client.close()

    threading.Thread(target=accept, daemon=True).start()


def exactly(client: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = client.recv(count - len(data))
        if not part:
            raise OSError("closed")
        data += part
    return data


class RtdeTalk:
    """One RTDE client."""

    def __init__(self, robot: Controller) -> None:
        self.robot = robot

    def __call__(self, client: socket.socket) -> None:
        outputs: list[str] = []
        inputs: dict[int, list[str]] = {}
        rate, going = 500.0, threading.Event()
        lock = threading.Lock()

        def reply(kind: int, payload: bytes) -> None:
            with lock:
                client.sendall(struct.pack(">HB", len(payload) + 3, kind) + payload)

        def stream() -> None:
            layout = ">" + "".join(_FORMATS[kind_of(name)] for name in outputs)
            try:
                while going.is_set():
                    if not self.robot.muted:
                        reply(ord("U"), b"\x01" + self.pack(layout, outputs))
                    time.sleep(1 / rate)
            except OSError:
                return

        while True:
            size, kind = struct.unpack(">HB", exactly(client, 3))
            body = exactly(client, size - 3)
            if kind == ord("V"):
                reply(kind, b"\x01")
            elif kind == ord("v"):
                reply(kind, struct.pack(">4I", 5, 11, 1, 108318))
            elif kind == ord("O"):
                rate = min(struct.unpack(">d", body[:8])[0], 250.0)
                outputs[:] = [name for name in body[8:].decode().split(",") if name]
                reply(kind, b"\x01" + ",".join(kind_of(name) for name in outputs).encode())
            elif kind == ord("I"):
                names = [name for name in body.decode().split(",") if name]
                inputs[len(inputs) + 1] = names
                reply(kind, bytes([len(inputs)]) + ",".join(kind_of(name) for name in names).encode())
            elif kind in (ord("S"), ord("P")):
                reply(kind, b"\x01")
                if kind == ord("S") and not going.is_set() and outputs:
                    going.set()
                    threading.Thread(target=stream, daemon=True).start()
            elif kind == ord("U"):
                names = inputs[body[0]]
                layout = ">" + "".join(_FORMATS[kind_of(name)] for name in names)
                self.robot.obey(dict(zip(names, struct.unpack(layout, body[1:]), strict=True)))

    def pack(self, layout: str, names: list[str]) -> bytes:
        with self.robot.lock:
            self.robot.step()
            values: list[float] = []
            for name in names:
                kind, value = kind_of(name), self.robot.field(name)
                count = int(_FORMATS[kind][0]) if _FORMATS[kind][0].isdigit() else 1
                numbers = np.broadcast_to(np.asarray(value, float), (count,))
                whole = _FORMATS[kind][-1] != "d"
                values += [int(number) if whole else float(number) for number in numbers]
        return struct.pack(layout, *values)


def main() -> None:
    robot = Controller()

    def script(client: socket.socket) -> None:
        client.settimeout(0.3)
        text = b""
        while True:
            try:
                part = client.recv(65536)
            except TimeoutError:
                if text:
                    robot.load(text.decode())
                    text = b""
                continue
            if not part:
                break
            text += part
        if text:
            robot.load(text.decode())

    def dashboard(client: socket.socket) -> None:
        client.sendall(b"Connected: Universal Robots Dashboard Server\n")
        answers = {
            "polyscopeversion": "URSoftware 5.11.1.108318 (Aug 01 2021)",
            "robotmode": "Robotmode: RUNNING",
            "is in remote control": "true",
            "get serial number": "20205500001",
            "get robot model": "UR5",
            "unlock protective stop": "Protective stop releasing",
        }
        lines = client.makefile("r")
        for line in lines:
            word = line.strip().lower()
            if word == "unlock protective stop" and robot.safety == 3:
                robot.safety = 1
            if word == "running":
                answers[word] = f"Program running: {str(robot.running).lower()}"
            client.sendall((answers.get(word, "ok") + "\n").encode())

    serve(RTDE_PORT, RtdeTalk(robot))
    serve(DASHBOARD_PORT, dashboard)
    for port in SCRIPT_PORTS:
        serve(port, script)
    print("ready", flush=True)
    for line in sys.stdin:
        word = line.strip()
        with robot.lock:
            robot.safety = {"protective": 3, "emergency": 7, "clear": 1}.get(word, robot.safety)
            robot.muted = word == "mute" or robot.muted
            if word in ("stop program", "protective", "emergency"):
                robot.running = False


if __name__ == "__main__":
    main()
