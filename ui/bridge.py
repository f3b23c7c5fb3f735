"""Between the window's thread and everybody else: bus events come in as Qt signals, slow work goes out to threads.

Nothing here knows a page. A page owns one ``Listeners`` and closes it with itself, so no event reaches a dead widget.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from PyQt6.QtCore import QCoreApplication, QEvent, QObject

from ui.translate import t
from workbench.core.bus import Bus, Subscription
from workbench.core.errors import WorkbenchError

T = TypeVar("T")
LANES = (
    "orders",  # requests to the station
    "urgent",  # stop and hold, nothing else
    "shelf",  # questions to the catalogue of takes
    "edits",  # changes of takes, in the order given; some copy or remove a lot
    "look",  # searching devices and looking the station over
    "pictures",  # reading pictures of one open take
    "exchange",  # imports and exports
    "jobs",  # training jobs and models
    "sounds",  # short tones
)
_log = logging.getLogger(__name__)


class _Call(QEvent):
    """A call on its way into the window's thread."""

    KIND = QEvent.Type(QEvent.registerEventType())

    def __init__(self, call: Callable[[], None]) -> None:
        super().__init__(self.KIND)
        self.call = call


class _Mailbox(QObject):
    """Lives in the window's thread and makes the calls that were posted to it, in order."""

    def event(self, event: QEvent | None) -> bool:
        """Make one call."""
        if isinstance(event, _Call):
            event.call()
            return True
        return super().event(event)


class Listeners:
    """Subscriptions of one panel. Handlers run in the window's thread, and never again after ``close``."""

    def __init__(self, bus: Bus, post: Callable[[Callable[[], None]], None]) -> None:
        self._bus = bus
        self._post = post
        self._subscriptions: list[Subscription] = []
        self._closed = False

    def on(self, kind: type[T], handler: Callable[[T], None]) -> None:
        """Call ``handler(event)`` for every event of ``kind``."""
        self._subscriptions.append(
            self._bus.subscribe(kind, lambda event: self._post(lambda: self._hand_over(handler, event)))
        )

    def _hand_over(self, handler: Callable[[T], None], event: T) -> None:
        if not self._closed:
            handler(event)

    def close(self) -> None:
        """Stop listening. Safe to call twice."""
        self._closed = True
        while self._subscriptions:
            self._subscriptions.pop().close()


class Bridge:
    """Owned by the window. Lanes of one thread each: a stop never waits behind a save, nor a save behind a picture.

    Work of one lane runs in the order given; results come back to the window's thread. See ``LANES``.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._mailbox = _Mailbox()
        self._lanes = {name: ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"ui-{name}") for name in LANES}
        self._pending = 0
        self._lock = threading.Lock()
        self._closed = False

    @property
    def busy(self) -> bool:
        """True while any background work has not reported back."""
        return self._pending > 0

    def listeners(self) -> Listeners:
        """A new set of subscriptions for one panel."""
        return Listeners(self._bus, self.post)

    def post(self, call: Callable[[], None]) -> None:
        """Run ``call`` in the window's thread, later. Any thread."""
        if not self._closed:
            QCoreApplication.postEvent(self._mailbox, _Call(call))

    def run_in_background(
        self,
        work: Callable[[], T],
        done: Callable[[T], None] | None = None,
        failed: Callable[[WorkbenchError], None] | None = None,
        *,
        lane: str = "shelf",
    ) -> None:
        """Run ``work`` on a lane; then ``done(result)`` or ``failed(error)`` in the window's thread.

        Without ``failed`` a failure is logged. Nothing is called after ``close``.
        """
        if self._closed:
            return
        with self._lock:
            self._pending += 1

        def report(future: Future[T]) -> None:
            self.post(lambda: self._finish(future, done, failed))

        self._lanes[lane].submit(work).add_done_callback(report)

    def _finish(
        self,
        future: Future[T],
        done: Callable[[T], None] | None,
        failed: Callable[[WorkbenchError], None] | None,
    ) -> None:
        with self._lock:
            self._pending -= 1
        if self._closed or future.cancelled():
            return
        error = future.exception()
        if error is None:
            if done is not None:
                done(future.result())
        elif failed is not None:
            failed(explain(error))
        else:
            _log.error("background work failed: %s", error, exc_info=error)

    def close(self) -> None:
        """Forget waiting work, let running work end, report nothing more."""
        self._closed = True
        for lane in self._lanes.values():
            lane.shutdown(wait=True, cancel_futures=True)


def explain(error: BaseException) -> WorkbenchError:
    """The error as a person should read it; an unexpected one is logged whole and named."""
    if isinstance(error, WorkbenchError):
        return error
    _log.error("unexpected failure", exc_info=error)
    what = f"{type(error).__name__}: {error}".rstrip(": ")
    return WorkbenchError(t("something unexpected went wrong ({what})", what=what), t("The log has the details"))
