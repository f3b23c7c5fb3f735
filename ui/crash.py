"""Catches what nobody expected in the window's process: it is written down, said in a sentence, and the window goes on.

Nothing here stops anything: the capture process goes on recording and the arm process watches its own heartbeat, so a
failing slot of the window costs neither a take nor a moving arm its supervision.
"""

from __future__ import annotations

import faulthandler
import logging
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from PyQt6.QtCore import QMessageLogContext, QtMsgType, qInstallMessageHandler

from ui.translate import t
from workbench.core.errors import WorkbenchError
from workbench.services.crash import CrashReports
from workbench.services.notices import NoticeLog

Say = Callable[[WorkbenchError], None]
_QT_LEVELS = {
    QtMsgType.QtDebugMsg: logging.DEBUG,
    QtMsgType.QtInfoMsg: logging.INFO,
    QtMsgType.QtWarningMsg: logging.WARNING,
    QtMsgType.QtCriticalMsg: logging.ERROR,
    QtMsgType.QtFatalMsg: logging.CRITICAL,
}
_REMEMBERED = 40
_log = logging.getLogger(__name__)
_qt = logging.getLogger("qt")


class _Kept(logging.Handler):
    """Errors that the program logs and shows nowhere else become notices."""

    def __init__(self, notices: NoticeLog) -> None:
        super().__init__(logging.ERROR)
        self._notices = notices

    def emit(self, record: logging.LogRecord) -> None:
        """One notice; what the hooks report themselves is left to them."""
        if record.name != __name__:
            self._notices.add("warn", record.name, record.getMessage().splitlines()[0] if record.msg else record.name)


@contextmanager
def kept_log(notices: NoticeLog) -> Iterator[None]:
    """While it is open, logged errors are kept among the notices."""
    handler, root = _Kept(notices), logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)


class CrashHooks:
    """A context: hooks are in place inside it, and what was there before afterwards.

    Args:
        say: shows an error; called in the thread that failed, so it has to post.
    """

    def __init__(self, reports: CrashReports, say: Say) -> None:
        self._reports, self._say = reports, say
        self._words: deque[str] = deque(maxlen=_REMEMBERED)
        self._before: tuple[Any, ...] = ()
        self._faults: Any = None
        self._writing: list[threading.Thread] = []

    def __enter__(self) -> CrashHooks:
        self._before = (sys.excepthook, threading.excepthook, sys.unraisablehook)
        sys.excepthook, threading.excepthook = self._raised, self._raised_in_thread
        sys.unraisablehook = self._unraisable
        qInstallMessageHandler(self._qt_said)
        try:
            self._faults = self._reports.open_faults()
            faulthandler.enable(self._faults)
        except OSError as error:
            _log.warning("an abrupt end would leave no report: %s", error)
        return self

    def __exit__(self, *_: object) -> None:
        qInstallMessageHandler(None)
        sys.excepthook, threading.excepthook, sys.unraisablehook = self._before
        if self._faults is not None:
            faulthandler.disable()
            self._faults.close()
        self.flush()

    def flush(self) -> None:
        """Wait until every report is on disk."""
        while self._writing:
            self._writing.pop().join()

    def look_back(self) -> None:
        """Say if an earlier process of the window ended abruptly. Any thread; reads the disk."""
        for path in self._reports.collect_faults():
            self._say(
                WorkbenchError(
                    t("the window ended abruptly the last time"),
                    t("What was recorded is kept. Please send {path} to whoever looks after the program", path=path),
                )
            )

    # hooks ------------------------------------------------------------------------------------------------------------

    def _raised(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt | SystemExit):
            sys.__excepthook__(kind, error, trace)
            return
        self._report(kind, error, trace, threading.current_thread().name)

    def _raised_in_thread(self, failed: threading.ExceptHookArgs) -> None:
        if failed.exc_value is not None and not issubclass(failed.exc_type, SystemExit):
            name = failed.thread.name if failed.thread is not None else "unknown"
            self._report(failed.exc_type, failed.exc_value, failed.exc_traceback, name)

    def _unraisable(self, failed: Any) -> None:
        if failed.exc_value is not None:
            _log.error("%s in %r", failed.err_msg or "ignored", failed.object, exc_info=failed.exc_value)

    def _qt_said(self, level: QtMsgType, context: QMessageLogContext, words: str | None) -> None:
        self._words.append(f"{context.category or 'qt'}: {words or ''}")
        _qt.log(_QT_LEVELS.get(level, logging.WARNING), "%s", words)
        if level is QtMsgType.QtFatalMsg:  # Qt ends the process when this returns
            self._reports.write(f"Qt gave up: {words}", "\n".join((*self._words, *traceback.format_stack())))

    def _report(
        self, kind: type[BaseException], error: BaseException, trace: TracebackType | None, thread: str
    ) -> None:
        last = traceback.extract_tb(trace)[-1:] if trace is not None else []
        place = f"{kind.__name__} {last[0].filename}:{last[0].lineno}" if last else kind.__name__
        if not self._reports.is_new(place):
            return
        details = "".join(traceback.format_exception(kind, error, trace))
        _log.error("unexpected failure in thread %s\n%s", thread, details)
        qt_words = "\n".join(self._words)
        whole = f"Thread {thread}\n\n{details}" + (f"\nQt said\n\n{qt_words}" if qt_words else "")
        what = f"{kind.__name__}: {error}"
        writer = threading.Thread(target=self._write, args=(what, whole), name="crash-report")
        self._writing = [thread_ for thread_ in self._writing if thread_.is_alive()] + [writer]
        writer.start()  # in a thread: the window's own may not wait for a disk

    def _write(self, what: str, details: str) -> None:
        try:
            path = self._reports.write(what, details)
            kept = t("Everything goes on. A report is kept in {path}", path=path)
        except OSError as error:
            kept = t("Everything goes on. No report could be written ({why})", why=error)
        self._say(WorkbenchError(t("something unexpected went wrong in the window ({what})", what=what), kept))
