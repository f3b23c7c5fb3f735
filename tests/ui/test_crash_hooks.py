"""A slot of the window raises in the middle of a take: the take is kept, a report is written, the window goes on."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from PyQt6.QtCore import QTimer, qWarning
from pytestqt.qtbot import QtBot

from tests.ui.conftest import WAIT_MS
from tests.ui.material import TASK
from tests.ui.test_window import recorder
from ui.crash import CrashHooks, kept_log
from ui.window import Window
from workbench.core.types import EpisodeKind
from workbench.services.crash import CrashReports
from workbench.services.notices import NoticeLog

Opener = Callable[..., Window]


def reports_in(home: Path) -> list[str]:
    return [path.read_text() for path in sorted((home / "logs").glob("crash-*.txt"))]


def fail_badly() -> None:
    raise ZeroDivisionError("a slot of the window failed")


def test_a_failing_slot_costs_no_take(open_window: Opener, qtbot: QtBot, tmp_path: Path) -> None:
    window = open_window(tmp_path)
    station, library = window.desk.station, window.desk.library
    assert station is not None and library is not None and window.page is not None
    before = threading.excepthook
    with CrashHooks(CrashReports(tmp_path, window.desk.notices), window.unexpected) as hooks:
        take = station.start_take(TASK, EpisodeKind.TELEOP)
        for _ in range(3):
            QTimer.singleShot(0, fail_badly)
        thread = threading.Thread(target=fail_badly, name="helper")
        thread.start()
        thread.join()
        qtbot.waitUntil(lambda: "zerodivisionerror" in window.page.notice.words.lower(), timeout=WAIT_MS)  # type: ignore[union-attr]
        assert "crash-" in window.page.notice.words
        qtbot.waitUntil(lambda: recorder(window) == "recording", timeout=WAIT_MS)
        pictures = station.status().recorder.items.get("observation.images.front", 0)
        qtbot.waitUntil(
            lambda: station.status().recorder.items.get("observation.images.front", 0) > pictures, timeout=WAIT_MS
        )
        station.stop_take()
        hooks.flush()
    assert threading.excepthook is before
    (report,) = reports_in(tmp_path)  # slot and thread failed at the same line: one report
    assert "a slot of the window failed" in report and "fail_badly" in report and "python" in report
    library.sync()
    assert library.find(take).rows > 0
    assert any("ZeroDivisionError" in notice.what for notice in window.desk.notices.newest())


def test_what_qt_warns_of_stands_in_the_report_and_logged_errors_among_the_messages(
    qtbot: QtBot, tmp_path: Path
) -> None:
    said: list[str] = []
    notices = NoticeLog(tmp_path)
    with kept_log(notices), CrashHooks(CrashReports(tmp_path, notices), lambda e: said.append(e.what)) as hooks:
        qWarning(b"a pixmap of no size")
        logging.getLogger("workbench.test").error("background work failed: %s", "boom")
        thread = threading.Thread(target=fail_badly)
        thread.start()
        thread.join()
        hooks.flush()
    notices.close()
    assert "a pixmap of no size" in reports_in(tmp_path)[0] and "ZeroDivisionError" in said[0]
    assert [notice.what for notice in notices.newest()] == ["background work failed: boom"]
