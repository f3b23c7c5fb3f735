"""Looking at trainings again and again for one page: often while it is on screen, now and then out of sight."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from PyQt6.QtCore import QEvent, QObject, QTimer
from PyQt6.QtWidgets import QWidget

from ui.desk import Desk
from workbench.core.errors import WorkbenchError
from workbench.services.jobs import Jobs

N = TypeVar("N")
_SHOWN_MS, _HIDDEN_MS = 600, 4000


class RunWatch(QObject, Generic[N]):
    """Window's thread; the looking itself is done in the background. It begins when the page is shown.

    Args:
        question: asked in the window's thread for what to find out next in the background.
        show: gets what was found; failed: why nothing was.

    Attributes:
        asking: the last answer has not come yet.
    """

    def __init__(
        self,
        page: QWidget,
        desk: Desk,
        question: Callable[[Jobs], Callable[[], N]],
        show: Callable[[N], None],
        failed: Callable[[WorkbenchError], None],
    ) -> None:
        super().__init__(page)
        self._desk = desk
        self._question = question
        self._show = show
        self._failed = failed
        self.asking = False
        self._timer = QTimer(self)
        self._timer.setInterval(_SHOWN_MS)
        self._timer.timeout.connect(self.look)
        page.installEventFilter(self)

    def look(self) -> None:
        """Look now; never twice at the same time."""
        jobs = self._desk.jobs
        if jobs is None or self.asking:
            return
        self.asking = True
        self._desk.bridge.run_in_background(self._question(jobs), self._came, self._did_not_come, lane="jobs")

    def stop(self) -> None:
        """Look no more."""
        self._timer.stop()

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:  # noqa: N802
        """On screen: look at once and often. Out of sight: now and then, for the status bar."""
        if event is not None and event.type() == QEvent.Type.Show:
            self._timer.start(_SHOWN_MS)
            self.look()
        elif event is not None and event.type() == QEvent.Type.Hide:
            self._timer.setInterval(_HIDDEN_MS)
        return super().eventFilter(watched, event)

    def _came(self, news: N) -> None:
        self.asking = False
        self._show(news)

    def _did_not_come(self, error: WorkbenchError) -> None:
        self.asking = False
        self._failed(error)
