"""One stream of a take being written: its items, and the two times of each."""

from __future__ import annotations

from array import array
from pathlib import Path

from storage.columns import TIME_ROWS, ColumnWriter
from storage.content import StreamDigest
from storage.manifest import StreamLayout
from storage.shards import FrameWriter
from workbench.core.errors import WorkbenchError
from workbench.core.types import Frame, StreamSpec


class StreamWriter:
    """One stream's three columns-to-be: items, device times, host times. One thread.

    Attributes:
        host_ns: host times of everything added, kept so that sealing need not read them back.
        durable: digests of what the journal promises.
    """

    def __init__(self, folder: Path, spec: StreamSpec, layout: StreamLayout, *, sync: bool) -> None:
        self.spec = spec
        self.items: FrameWriter | ColumnWriter
        if layout.codec is None:
            self.items = ColumnWriter(folder / spec.name, spec.shape, spec.dtype, layout.per_file, sync=sync)
        else:
            self.items = FrameWriter(folder / spec.name, spec, layout.codec, layout.per_file, sync=sync)
        self.device = ColumnWriter(folder / f"{spec.name}.t_device_ns", (), "int64", TIME_ROWS, sync=sync)
        self.host = ColumnWriter(folder / f"{spec.name}.t_host_ns", (), "int64", TIME_ROWS, sync=sync)
        self.folders = [folder / f"{spec.name}{end}" for end in ("", ".t_device_ns", ".t_host_ns")]
        self.host_ns = array("q")
        self.durable = self._digest()

    def add_encoded(self, frame: Frame, payload: bytes) -> None:
        """Take in one picture that was encoded before with the stream's own codec; ``frame.data`` is not looked at."""
        if not isinstance(self.items, FrameWriter):
            raise WorkbenchError(f"{self.spec.name} is no stream of pictures")
        self.items.add_payload(payload)
        self._add_times(frame)

    def add(self, frame: Frame) -> None:
        """Take one item in. WorkbenchError if it is of another shape or kind, OSError if the disk refuses."""
        data = frame.data
        if data.shape != self.spec.shape or data.dtype != self.spec.dtype:
            raise WorkbenchError(
                f"an item of {self.spec.name} is {data.dtype}{list(data.shape)}"
                f" instead of {self.spec.dtype}{list(self.spec.shape)}",
                "Check the device's settings",
            )
        self.items.add(data if isinstance(self.items, FrameWriter) else data.copy())
        self._add_times(frame)

    def _add_times(self, frame: Frame) -> None:
        self.device.add(frame.t_device_ns)
        self.host.add(frame.t_host_ns)
        self.host_ns.append(frame.t_host_ns)

    def save(self) -> list[Path]:
        """Write what is pending; returns folders with new files."""
        parts = (self.items, self.device, self.host)
        return [folder for part, folder in zip(parts, self.folders, strict=True) if part.save()]

    def block_sums(self, first: int) -> dict[str, tuple[int, int]]:
        """For the journal: the checksum of what each column got since the last block, which began at ``first``."""
        if len(self.host_ns) == first:
            return {}
        return {column.name: (first, column.block_crc) for column in self._columns()}

    def journalled(self) -> None:
        """What is saved is now promised."""
        for column in self._columns():
            column.begin_block()
        self.durable = self._digest()

    def _columns(self) -> list[ColumnWriter]:
        return [part for part in (self.items, self.device, self.host) if isinstance(part, ColumnWriter)]

    def _digest(self) -> StreamDigest:
        parts = [part.digest.hexdigest() for part in (self.items, self.device, self.host)]
        return StreamDigest(parts[0], parts[1], parts[2], {column.name: column.crc for column in self._columns()})
