"""A chain of serial bus servos: Feetech STS/SMS or Dynamixel X, over the makers' own packages.

Shared by follower arms and leader arms. Numbers here are ticks of the servo's encoder (4096 a turn); the meaning in
radians comes from ``hardware.servo_calibration``. One thread owns a bus: half-duplex wires cannot serve two.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.core.errors import DeviceError

Ticks = NDArray[np.int64]
TICKS_PER_TURN = 4096
_POLL_S = 0.001  # the makers' receive loops spin; sleeping inside the read leaves the processor to others
_TRIES = 2
_LOOK = "Check its power supply, its cable and its number, then connect again"


@dataclass(frozen=True, slots=True)
class Field:
    """One register: address, size in bytes, and the bit that marks a negative number (-1: two's complement)."""

    address: int
    size: int
    sign_bit: int = -1

    def decode(self, raw: int) -> int:
        """The signed number that ``raw`` stands for."""
        if self.sign_bit >= 0:
            magnitude = raw & ((1 << self.sign_bit) - 1)
            return -magnitude if raw >> self.sign_bit & 1 else magnitude
        half = 1 << (8 * self.size - 1)
        return raw - 2 * half if self.size == 4 and raw >= half else raw

    def encode(self, value: int) -> int:
        """Invert ``decode``."""
        if value >= 0:
            return value
        return -value | 1 << self.sign_bit if self.sign_bit >= 0 else value + (1 << (8 * self.size))


@dataclass(frozen=True, slots=True)
class Family:
    """The registers of one make of servo.

    Attributes:
        block: first address and length of what every ``read`` fetches.
        fault: the fault bits; in ``block`` or asked of one servo per ``read``.
        speed_scale: ticks/s per unit; voltage_scale: volt per unit.
        fault_words: what each bit of ``fault`` means.
    """

    title: str
    package: str
    install: str
    protocol: float
    torque: Field
    goal: Field
    position: Field
    speed: Field
    voltage: Field
    temperature: Field
    fault: Field
    block: tuple[int, int]
    speed_scale: float
    voltage_scale: float
    fault_words: tuple[tuple[int, str], ...]


# Register map of the STS3215 (memory table of the maker's STS series manual).
FEETECH = Family(
    "Feetech STS", "scservo_sdk", "feetech-servo-sdk", 0,
    torque=Field(40, 1), goal=Field(42, 2, 15), position=Field(56, 2, 15), speed=Field(58, 2, 15),
    voltage=Field(62, 1), temperature=Field(63, 1), fault=Field(65, 1), block=(56, 10),
    speed_scale=1.0, voltage_scale=0.1,
    fault_words=((1, "wrong supply voltage"), (2, "encoder fault"), (4, "too hot"), (8, "too much current"),
                 (32, "overloaded")),
)  # fmt: skip
# Control table of the X series (XL330, XL430, XM430) in the maker's e-Manual; speed unit 0.229 turns a minute.
DYNAMIXEL = Family(
    "Dynamixel X", "dynamixel_sdk", "dynamixel-sdk", 2.0,
    torque=Field(64, 1), goal=Field(116, 4), position=Field(132, 4), speed=Field(128, 4),
    voltage=Field(144, 2), temperature=Field(146, 1), fault=Field(70, 1), block=(126, 21),
    speed_scale=0.229 / 60 * TICKS_PER_TURN, voltage_scale=0.1,
    fault_words=((1, "wrong supply voltage"), (4, "too hot"), (8, "encoder fault"), (16, "electrical shock"),
                 (32, "overloaded")),
)  # fmt: skip
FAMILIES = {"feetech": FEETECH, "dynamixel": DYNAMIXEL}


@dataclass(frozen=True, slots=True)
class ServoReading:
    """All servos at one instant, each array (N,) in the order of the ids.

    Attributes:
        t_host_ns: monotonic time in the middle of the exchange.
        position_ticks, speed_ticks_s, voltage_v, temperature_c: as named.
        fault_bits: 0 where all is well; see ``ServoBus.fault_words``.
    """

    t_host_ns: int
    position_ticks: Ticks
    speed_ticks_s: NDArray[np.float64]
    voltage_v: NDArray[np.float64]
    temperature_c: NDArray[np.float64]
    fault_bits: Ticks


class ServoBus:
    """Servos on one serial port.

    Args:
        family: "feetech" or "dynamixel".
        port: device path; "/dev/serial/by-id/..." keeps its meaning when cables are moved.
        ids: servo numbers, in the order of every array.
        baud: bit rate.
    """

    def __init__(self, family: str, port: str, ids: Sequence[int], baud: int = 1_000_000) -> None:
        if family not in FAMILIES:
            raise DeviceError(f"there is no servo family '{family}'", f"Choose one of: {', '.join(FAMILIES)}")
        self.family = FAMILIES[family]
        self.ids = tuple(ids)
        self._port_name, self._baud = port, baud
        self._sdk: ModuleType | None = None
        self._port: Any = None
        self._packets: Any = None
        self._reader: Any = None
        self._faults = np.zeros(len(self.ids), np.int64)
        self._turn = 0

    def open(self) -> None:
        """Open the port and find every servo. Moves and powers nothing. Raises DeviceError naming who is silent."""
        if self._port is not None:
            return
        if not self._port_name:
            raise DeviceError("no serial port is named", "Write port = '/dev/serial/by-id/...' into station.toml")
        if importlib.util.find_spec(self.family.package) is None:
            raise DeviceError(
                f"the package '{self.family.install}' is missing", f"Run: pip install {self.family.install}"
            )
        self._sdk = importlib.import_module(self.family.package)
        port = self._sdk.PortHandler(self._port_name)
        with self._wire("open"):
            opened = port.setBaudRate(self._baud)
        if not opened:
            raise DeviceError(f"{self._port_name} does not know {self._baud} baud", "Set the servos' own bit rate")
        port.ser.timeout = _POLL_S
        self._port, self._packets = port, self._sdk.PacketHandler(self.family.protocol)
        self._reader = self._sdk.GroupSyncRead(port, self._packets, *self.family.block)
        for servo in self.ids:
            self._reader.addParam(servo)
        try:
            self.require()
        except DeviceError:
            self.close()
            raise

    def require(self) -> None:
        """Raise DeviceError unless every servo answers."""
        silent = [servo for servo in self.ids if not self.ping(servo)]
        if silent:
            names = ", ".join(str(servo) for servo in silent)
            raise DeviceError(f"no answer from servo {names} on {self._port_name}", _LOOK)

    def ping(self, servo: int) -> bool:
        """True if this servo answers (up to 0.1 s)."""
        port, packets = self._opened()
        for _ in range(_TRIES):
            with self._wire("ping"):
                port.ser.reset_input_buffer()
                _, result, _ = packets.ping(port, servo)
            if result == 0:
                return True
        return False

    def read(self) -> ServoReading:
        """Positions, speeds, voltages, temperatures and faults of all servos (about 1 ms for six).

        Raises DeviceError when a servo is silent (within 0.1 s) or the port has gone.
        """
        port, _ = self._opened()
        start_ns = time.monotonic_ns()
        result = -1
        for _ in range(_TRIES):
            with self._wire("read"):
                port.ser.reset_input_buffer()  # leftovers of a broken answer must not be taken for this one
                result = self._reader.txRxPacket()
            if result == 0:
                break
        if result != 0:
            raise DeviceError(f"a servo on {self._port_name} does not answer ({self._words(result)})", _LOOK)
        middle_ns = (start_ns + time.monotonic_ns()) // 2
        family = self.family
        self._note_faults()
        return ServoReading(
            middle_ns,
            self._column(family.position),
            np.asarray(self._column(family.speed) * family.speed_scale, np.float64),
            np.asarray(self._column(family.voltage) * family.voltage_scale, np.float64),
            self._column(family.temperature).astype(np.float64),
            self._faults.copy(),
        )

    def write_goals(self, ticks: Sequence[int] | Ticks) -> None:
        """Send one goal position per servo in a single packet; nobody acknowledges it. Raises DeviceError."""
        goal = self.family.goal
        self._write_all(goal, [goal.encode(int(value)) for value in ticks])

    def set_torque(self, on: bool) -> None:
        """Power or free all motors. Freed joints fall: support the arm. Raises DeviceError."""
        self._write_all(self.family.torque, [int(on)] * len(self.ids))

    def write(self, servo: int, field: Field, value: int) -> None:
        """Write one register of one servo and wait for its acknowledgement. Raises DeviceError."""
        port, packets = self._opened()
        writer = {1: packets.write1ByteTxRx, 2: packets.write2ByteTxRx, 4: packets.write4ByteTxRx}[field.size]
        with self._wire("write"):
            port.ser.reset_input_buffer()
            result, _ = writer(port, servo, field.address, field.encode(value))
        if result != 0:
            raise DeviceError(f"servo {servo} did not take a setting ({self._words(result)})", _LOOK)

    def fault_words(self, bits: int) -> str:
        """Fault bits in words, "" for none."""
        known = [words for bit, words in self.family.fault_words if bits & bit]
        return ", ".join(known) or (f"fault {bits:#x}" if bits else "")

    def close(self) -> None:
        """Let go of the port; motors keep what they had. Safe to call twice."""
        port, self._port = self._port, None
        if port is not None and port.ser is not None:
            with contextlib.suppress(OSError):
                port.closePort()

    def _note_faults(self) -> None:
        """Fault bits come with the block, or one servo per read is asked where they lie elsewhere."""
        first, length = self.family.block
        if first <= self.family.fault.address < first + length:
            self._faults = self._column(self.family.fault)
            return
        port, packets = self._opened()
        self._turn = (self._turn + 1) % len(self.ids)
        with self._wire("read"):
            value, result, _ = packets.read1ByteTxRx(port, self.ids[self._turn], self.family.fault.address)
        if result == 0:
            self._faults[self._turn] = value

    def _column(self, field: Field) -> Ticks:
        raw = (self._reader.getData(servo, field.address, field.size) for servo in self.ids)
        return np.array([field.decode(int(value)) for value in raw], np.int64)

    def _write_all(self, field: Field, values: list[int]) -> None:
        if len(values) != len(self.ids):
            raise DeviceError(f"{len(values)} values for {len(self.ids)} servos", "Send one value per servo")
        port, packets = self._opened()
        writer = self._sdk.GroupSyncWrite(port, packets, field.address, field.size)  # type: ignore[union-attr]
        for servo, value in zip(self.ids, values, strict=True):
            writer.addParam(servo, list(value.to_bytes(field.size, "little")))
        with self._wire("write"):
            result = writer.txPacket()
        if result != 0:
            raise DeviceError(f"the servos on {self._port_name} could not be written ({self._words(result)})", _LOOK)

    def _opened(self) -> tuple[Any, Any]:
        if self._port is None:
            raise DeviceError(f"the servo bus {self._port_name} is not open", "Connect it first")
        return self._port, self._packets

    def _words(self, result: int) -> str:
        return str(self._packets.getTxRxResult(result)).rpartition("] ")[2].rstrip("!.")

    @contextlib.contextmanager
    def _wire(self, verb: str) -> Iterator[None]:
        """Everything the operating system says about a serial port, in our words."""
        try:
            yield
        except (OSError, ValueError, IndexError, TypeError) as error:  # the packages index into broken answers
            if self._port is not None:
                self._port.is_using = False
            gone = f"the serial port {self._port_name} failed to {verb} ({error})"
            raise DeviceError(gone, "Check the USB cable; close other programs that use the port") from error
        except Exception as error:
            if type(error).__name__ != "error":  # termios.error, which is no OSError
                raise
            gone = f"the serial port {self._port_name} has gone ({error})"
            raise DeviceError(gone, "Check the USB cable, then connect again") from error


def serial_ports() -> list[str]:
    """Serial ports of this machine that a servo adapter could be on, names that survive replugging first."""
    stable = sorted(str(path) for path in Path("/dev/serial/by-id").glob("*"))
    return stable or sorted(str(path) for kind in ("ttyACM*", "ttyUSB*") for path in Path("/dev").glob(kind))
