"""The window: a rail of pages, menus from the command table, and one timer that keeps everything truthful."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable
from pathlib import Path

from PyQt6.QtCore import QSize, Qt, QTimer, pyqtSignal
from PyQt6.QtGui import QCloseEvent
from PyQt6.QtWidgets import (
    QLabel,
    QMainWindow,
    QMenu,
    QMenuBar,
    QStackedWidget,
    QToolBar,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from ui import words
from ui.actions import MENUS, Actions, Situation
from ui.bridge import Bridge
from ui.cues import FAULT, Cues
from ui.desk import Desk
from ui.drawer import Drawer
from ui.layout import Layout
from ui.look import LookCommands
from ui.pages.page import Page
from ui.preferences import Preferences
from ui.theme import Theme
from ui.translate import t
from ui.turn import PageTurner
from ui.widgets.icons import icon
from ui.widgets.notice_panel import UnreadButton
from workbench.core.bus import Bus
from workbench.core.errors import WorkbenchError
from workbench.core.events import Failed, JobProgressed, TakeDiscarded, TakeSealed
from workbench.services.jobs import Jobs
from workbench.services.library import Library
from workbench.services.notices import NoticeLog
from workbench.services.station import Station, StationStatus

PAGES: tuple[tuple[str, str], ...] = (
    ("record", "ui.pages.record:RecordPage"),
    ("library", "ui.pages.library:LibraryPage"),
    ("align", "ui.pages.align:AlignPage"),
    ("finetune", "ui.pages.finetune:FinetunePage"),
    ("drive", "ui.pages.drive:DrivePage"),
    ("models", "ui.pages.models:ModelsPage"),
    ("station", "ui.pages.station:StationPage"),
)
_FORMER = {"train": "finetune"}  # pages that were called otherwise: what was kept with the old name still opens
_TICK_MS = 100
_MAKE_PAGES_AFTER_MS = 400
_log = logging.getLogger(__name__)

StationMaker = Callable[[], Station]


class Window(QMainWindow):
    """Shows at once; the station starts in the background. ``closed`` is emitted when nothing is left running.

    Args:
        make_station: builds the (not yet started) station; called in the background, may raise WorkbenchError.
    """

    closed = pyqtSignal()

    def __init__(
        self,
        home: Path,
        bus: Bus,
        theme: Theme,
        make_station: StationMaker,
        preferences: Preferences | None = None,
    ) -> None:
        super().__init__()
        self._make_station = make_station
        self._made: Station | None = None
        self._wait = (words.STARTING, t("The station is starting"))
        self._closing = False
        self.bridge = Bridge(bus)
        self.actions_ = Actions(self)
        chosen = preferences or Preferences()
        cues = Cues(chosen, lambda call: self.bridge.run_in_background(call, lane="sounds"))
        self.desk = Desk(home, bus, self.bridge, theme, self.actions_, self.go, chosen, NoticeLog(home), cues)
        self.pages: dict[str, Page] = {}
        self._stack = QStackedWidget()
        self._turner = PageTurner(self._stack, self.bridge.post)
        self.drawer = Drawer(self.desk)
        self._hints: frozenset[str] = frozenset()
        self._lay_out()
        self.setWindowTitle("CLAP Workbench")
        self.setMinimumSize(1024, 640)
        self.resize(1280, 720)
        self.layout_ = Layout(self, chosen)
        self._make_menus()
        self._make_rail()
        self._make_status_bar()
        self._bind()
        self._look = LookCommands(self.desk, self._said)
        self._listeners = self.bridge.listeners()
        self._listeners.on(JobProgressed, self._job_progressed)
        self._listeners.on(Failed, self._heard_failure)
        self._listeners.on(TakeSealed, lambda _event: self.desk.cues.play("saved"))
        self._listeners.on(TakeDiscarded, lambda _event: self.desk.cues.play("thrown"))
        theme.changed.connect(self._restyle)
        self._restyle()
        self._timer = QTimer(self)
        self._timer.timeout.connect(self.refresh)
        self._timer.start(_TICK_MS)
        kept = _FORMER.get(page := self.layout_.restore(), page)
        self.go(kept if kept in dict(PAGES) else PAGES[0][0])

    # parts ----------------------------------------------------------------------------------------------------------

    def _lay_out(self) -> None:
        middle = QWidget()
        column = QVBoxLayout(middle)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self._stack, 1)
        column.addWidget(self.drawer)
        self.setCentralWidget(middle)

    def _make_menus(self) -> None:
        made: dict[str, QMenu | QMenuBar | None] = {"": self.menuBar()}
        for title, ids in MENUS:
            above, _, name = title.rpartition(">")
            parent = made[above]
            menu = parent.addMenu(t(name)) if parent is not None else None
            made[title] = menu
            if menu is not None:
                menu.setToolTipsVisible(True)
                self.actions_.fill(menu, ids)

    def _make_rail(self) -> None:
        self._rail = QToolBar(t("Pages"))
        self._rail.setObjectName("rail")
        self._rail.setMovable(False)
        self._rail.setIconSize(QSize(30, 30))
        self._rail.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextUnderIcon)
        self._rail.setContextMenuPolicy(Qt.ContextMenuPolicy.PreventContextMenu)
        for name, _ in PAGES:
            self._rail.addAction(self.actions_[f"page.{name}"])
        self.addToolBar(Qt.ToolBarArea.LeftToolBarArea, self._rail)
        for button in self._rail.findChildren(QToolButton):
            button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
            if button.defaultAction() is not None:
                button.setAccessibleName(t("Page {name}", name=button.text()))

    def _make_status_bar(self) -> None:
        self._station_words = QLabel("◔ " + t("The station is starting"))
        self._job_words = QLabel("")
        self._unread = UnreadButton(self.actions_)
        bar = self.statusBar()
        if bar is not None:
            bar.setSizeGripEnabled(False)
            bar.addWidget(self._station_words)
            bar.addPermanentWidget(self._job_words)
            bar.addPermanentWidget(self._unread)

    def _bind(self) -> None:
        for name, _ in PAGES:
            self.actions_.bind(f"page.{name}", lambda name=name: self.go(name))  # type: ignore[misc]
        self.actions_["app.mute"].setChecked(self.desk.cues.muted)
        self.actions_.bind("app.mute", lambda: self.desk.cues.mute(self.actions_["app.mute"].isChecked()))
        self.actions_.bind("app.quit", lambda: QTimer.singleShot(0, self.close))
        self.actions_.bind("app.retry", self.start_station)
        self.actions_.bind("station.restart", self.restart_station)
        self.actions_.bind("drive.stop", self._stop_arm)

    # pages ----------------------------------------------------------------------------------------------------------

    def go(self, name: str, handed: str = "") -> None:
        """Show a page, making it if this is the first time."""
        name = _FORMER.get(name, name)
        page = self._page(name)
        self._turner.show(page, page.late)
        page.setFocus(Qt.FocusReason.OtherFocusReason)
        for other, _ in PAGES:
            self.actions_[f"page.{other}"].setChecked(other == name)
        if handed:
            page.handed(handed)
        self.refresh()

    @property
    def page(self) -> Page | None:
        """The page on screen."""
        shown = self._stack.currentWidget()
        return shown if isinstance(shown, Page) else None

    def _prepare_pages(self) -> None:
        """After the first pictures: load what the other pages need, beside this thread, and then make them."""

        def load() -> None:
            for _, place in PAGES:
                importlib.import_module(place.partition(":")[0])

        self.bridge.run_in_background(load, lambda _none: self.make_all_pages(), self._failed, lane="look")

    def make_all_pages(self) -> None:
        """Make the pages not visited yet, one per turn of the event loop; not while a take is being recorded."""
        missing = [name for name, _ in PAGES if name not in self.pages]
        if not missing or self._closing:
            return
        if self.actions_.situation.recorder == "recording":
            QTimer.singleShot(_MAKE_PAGES_AFTER_MS, self.make_all_pages)
            return
        self._page(missing[0])
        QTimer.singleShot(0, self.make_all_pages)

    def _page(self, name: str) -> Page:
        if name not in self.pages:
            module, _, maker = dict(PAGES)[name].partition(":")
            page: Page = getattr(importlib.import_module(module), maker)(self.desk)
            self.pages[name] = page
            self._stack.addWidget(page)
            self.layout_.divide(name, page)
            if self.desk.library is not None:
                page.opened()
            if self.desk.running:
                page.station_started()
            else:
                page.station_waits(*self._wait)
        return self.pages[name]

    # life -----------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Open the library and start the station, both in the background."""
        self._open_home()
        self.start_station()

    def start_station(self) -> None:
        """Start the station; on failure the page says why and F5 tries again."""
        self._waiting(words.STARTING, t("The station is starting"))

        def work() -> Station:
            station = self._make_station()
            self._made = station  # closing must find it even while it is starting
            station.start()
            return station

        self.bridge.run_in_background(work, self._station_started, self._station_failed, lane="orders")

    def restart_station(self) -> None:
        """Stop the station and start it with the settings as they are on disk now. A take in progress is kept."""
        made = self._made
        self.desk.running, self.desk.station = False, None
        self._waiting(words.STARTING, t("The station is starting again"))
        self.refresh()
        if made is not None:
            self.bridge.run_in_background(
                made.close, lambda _none: self.start_station(), self._station_failed, lane="orders"
            )

    def _open_home(self) -> None:
        home, bus = self.desk.home, self.desk.bus

        def opened(library: Library) -> None:
            self.desk.library = library
            self.bridge.run_in_background(lambda: Jobs(home, bus), jobs_opened, self._failed, lane="jobs")

        def jobs_opened(jobs: Jobs) -> None:
            self.desk.jobs = jobs
            for page in self.pages.values():
                page.opened()

        self.bridge.run_in_background(lambda: Library(home, bus), opened, self._failed, lane="shelf")

    def _station_started(self, station: Station) -> None:
        self.desk.station = station
        self.desk.running = True
        kind = t("Simulated station") if station.settings.simulated else station.settings.station
        self._say_station("● " + t("{station} runs", station=kind))
        for page in self.pages.values():
            page.station_started()
        self.refresh()
        QTimer.singleShot(_MAKE_PAGES_AFTER_MS, self._prepare_pages)

    def _station_failed(self, error: WorkbenchError) -> None:
        self._waiting(words.NOT_RUNNING, t("The station did not start; F5 tries again"))
        for page in self.pages.values():
            page.notice.error(WorkbenchError(error.what, error.next_step or t("Press F5 to try again")))
        QTimer.singleShot(_MAKE_PAGES_AFTER_MS, self._prepare_pages)

    def _waiting(self, state: words.StateWords, hint: str) -> None:
        self._wait = (state, hint)
        self._say_station(f"{state.symbol} {hint}")
        for page in self.pages.values():
            page.notice.clear()
            page.station_waits(state, hint)

    def _failed(self, error: WorkbenchError) -> None:
        if self.page is not None:
            self.page.notice.error(error)

    def closeEvent(self, event: QCloseEvent | None) -> None:  # noqa: N802
        """Stop everything in the background, then really close. A take in progress is kept."""
        if event is None or self._closing:
            return
        event.ignore()
        self._closing = True
        self._timer.stop()
        self.layout_.keep(self.page.name if self.page is not None else "", dict(self.pages))
        self._say_station("◔ " + t("Closing: holding the arm and saving"))
        for page in self.pages.values():
            page.close_page()
        self._listeners.close()

        def work() -> None:
            if self._made is not None:
                self._made.close()

        self.bridge.run_in_background(work, lambda _none: self._closed(), lambda _error: self._closed(), lane="orders")

    def _closed(self) -> None:
        self.desk.station = None
        self.desk.running = False
        self.bridge.close()
        self.desk.cues.close()
        self.desk.notices.close()
        self.desk.preferences.flush()
        self.hide()
        self.closed.emit()

    # the tick -------------------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Ten times a second: the page on screen gets the newest status, and commands are enabled to fit."""
        page, station = self.page, self.desk.station
        if page is None:
            return
        status = station.status() if station is not None and self.desk.running else None
        if status is not None:
            page.show_status(status)
            self._keep_hints(status.driver.hints)
        self.actions_.refresh(page.situation(self._base(page, status)))
        self.drawer.refresh()
        self._unread.show_count(self.desk.notices.unread)

    def _base(self, page: Page, status: StationStatus | None) -> Situation:
        if status is None:
            return Situation(page=page.name, reading=self.drawer.reading)
        return Situation(
            page=page.name,
            reading=self.drawer.reading,
            running=True,
            simulated=status.simulated,
            recorder=status.recorder.state,
            driver=status.driver.state,
        )

    def unexpected(self, error: WorkbenchError) -> None:
        """Say that something failed that nobody expected. Any thread."""
        self.bridge.post(lambda: self._failed(error))

    def _heard_failure(self, event: Failed) -> None:
        self.desk.notices.add("bad", event.where, event.message)
        self.desk.cues.play(FAULT)

    def _keep_hints(self, hints: tuple[str, ...]) -> None:
        for words_ in hints:
            if words_ not in self._hints:
                self.desk.notices.add("hint", "drive", words_)
        self._hints = frozenset(hints)

    def _stop_arm(self) -> None:
        page = self.page
        if page is not None:
            page.order(lambda station: station.stop(), lane="urgent")

    def _job_progressed(self, event: JobProgressed) -> None:
        state = words.job_state(event.state)
        share = f" {100 * event.step // event.steps} %" if event.state == "running" and event.steps else ""
        self._job_words.setText(f"{state.symbol} {words.stage(event.stage)}: {state.word.lower()}{share}")

    def _say_station(self, text: str) -> None:
        self._station_words.setText(text)

    def _said(self, sentence: str) -> None:
        if self.page is not None:
            self.page.notice.done(sentence)

    def _restyle(self) -> None:
        colours = self.desk.theme.colours
        for name, _ in PAGES:
            self.actions_[f"page.{name}"].setIcon(icon(name, colours.dim, colours.accent))
        self._look.show()


def status_bar_words(window: Window) -> str:
    """What the status bar says, for tests and screen readers."""
    bar: QWidget | None = window.statusBar()
    return " ".join(label.text() for label in bar.findChildren(QLabel)) if bar is not None else ""
