"""A teleoperation device's own thread: opens it, looks at it, and finds it again after it was unplugged."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from workbench.core.errors import DeviceError

T = TypeVar("T")
C = TypeVar("C", covariant=True)
_log = logging.getLogger(__name__)
_RETRY_S = 0.5
_OPEN_S = 5.0


class Source(Protocol[C]):
    """One device and its vendor package. All calls come from one thread, the device's own."""

    def open(self) -> None:
        """Find and open the device. Raises DeviceError."""

    def poll(self) -> C | None:
        """What it says now; None if it says nothing usable. Raises DeviceError when it has gone."""

    def close(self) -> None:
        """Let go of it; also after a failed ``open``."""


class DeviceThread(Generic[T]):
    """Looks at a source every ``period_s`` between ``start`` and ``stop``.

    Args:
        seen: told every reading, in the device's thread.
        lost: told when the device has gone.
    """

    def __init__(self, source: Source[T], period_s: float, seen: Callable[[T], None], lost: Callable[[], None]) -> None:
        self._source, self._period_s = source, period_s
        self._seen, self._lost = seen, lost
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()
        self.problem = ""

    def start(self) -> None:
        """Open the device and look at it from now on. Raises DeviceError if it is not there."""
        self.stop()
        self._ended, self.problem = threading.Event(), ""
        errors: list[DeviceError] = []
        ready = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(self._ended, errors, ready), name="teleop device", daemon=True
        )
        self._thread.start()
        if not ready.wait(_OPEN_S):
            errors.append(DeviceError("the teleoperation device does not answer", "Unplug it and plug it in again"))
        if errors:
            self.stop()
            raise errors[0]

    def stop(self) -> None:
        """Let go of the device. Safe to call twice."""
        self._ended.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(2)
        self._lost()

    def _run(self, ended: threading.Event, errors: list[DeviceError], ready: threading.Event) -> None:
        try:
            self._source.open()
        except DeviceError as error:
            errors.append(error)
        finally:
            ready.set()
        while not errors and not ended.wait(self._period_s):
            try:
                reading = self._source.poll()
            except DeviceError as error:
                self._lost()
                self.problem = str(error)
                _log.warning("teleoperation: %s", error)
                self._find_again(ended)
                continue
            if reading is not None:
                self._seen(reading)
        self._source.close()

    def _find_again(self, ended: threading.Event) -> None:
        self._source.close()
        while not ended.wait(_RETRY_S):
            with contextlib.suppress(DeviceError):
                self._source.open()
                self.problem = ""
                return
            self._source.close()
