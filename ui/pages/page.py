"""What all pages have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from PyQt6.QtCore import Qt
from PyQt6.QtWidgets import QFrame, QHBoxLayout, QLabel, QScrollArea, QVBoxLayout, QWidget

from ui import words
from ui.actions import Situation
from ui.bridge import Listeners
from ui.desk import Desk
from ui.translate import t
from ui.widgets.chooser import Chooser, fill_chooser
from ui.widgets.notice import Notice
from workbench.core.errors import WorkbenchError
from workbench.services.station import Station, StationStatus

__all__ = ["MARGIN", "PANEL_PX", "Page", "card", "chooser", "fill_chooser", "label", "row", "side_panel"]

T = TypeVar("T")
MARGIN = 12
PANEL_PX = 338


class Page(QWidget):
    """A page has a body, a notice above it, and takes part in deciding which commands make sense.

    Attributes:
        late: parts that take long to paint: a page that appears paints them after all the rest (``ui.turn``).
    """

    name = ""
    late: tuple[QWidget, ...] = ()

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self.desk = desk
        self.setObjectName("page")
        self.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.listeners: Listeners = desk.bridge.listeners()
        self.notice = Notice(desk.theme, lambda tone, what, next_: desk.notices.add(tone, self.name, what, next_))
        outer = QVBoxLayout(self)
        outer.setContentsMargins(MARGIN, MARGIN, MARGIN, MARGIN)
        outer.setSpacing(10)
        outer.addWidget(self.notice)
        self.body = QVBoxLayout()
        self.body.setSpacing(10)
        outer.addLayout(self.body, 1)

    def situation(self, base: Situation) -> Situation:
        """``base`` with what this page knows. Called a few times a second while it is on screen."""
        return base

    def show_status(self, status: StationStatus) -> None:
        """The station's newest snapshot, a few times a second while on screen."""

    def station_started(self) -> None:
        """The station runs (called once, or at once if it already did)."""

    def station_waits(self, state: words.StateWords, hint: str) -> None:
        """The station is starting, or did not start; ``hint`` says what to do."""

    def opened(self) -> None:
        """The library and the jobs can be used (called once, or at once if they already could)."""

    def handed(self, words: str) -> None:
        """Another page sends the user here because of ``words``."""

    def close_page(self) -> None:
        """Let go of everything that could call back."""
        self.listeners.close()

    # asking the services --------------------------------------------------------------------------------------------

    def order(
        self,
        work: Callable[[Station], T],
        done: Callable[[T], None] | None = None,
        *,
        lane: str = "orders",
        busy: str = "",
    ) -> None:
        """Ask the station for something in the background; a refusal is shown on this page with its next step."""
        station = self.desk.station
        if station is None:
            self.notice.error(
                WorkbenchError(t("the station is not running"), t("Wait for it or start it again with F5"))
            )
            return
        if busy:
            self.notice.busy(busy)
        self.desk.bridge.run_in_background(
            lambda: work(station), lambda r: self._done(r, done), self.notice.error, lane=lane
        )

    def ask(self, lane: str, work: Callable[[], T], done: Callable[[T], None] | None = None) -> None:
        """Ask the library (lane ``shelf``) or the jobs (lane ``jobs``) in the background."""
        self.desk.bridge.run_in_background(work, done, self.notice.error, lane=lane)

    def _done(self, result: T, done: Callable[[T], None] | None) -> None:
        self.notice.clear_busy()
        if done is not None:
            done(result)


def card(*, padding: int = 12, spacing: int = 8) -> tuple[QFrame, QVBoxLayout]:
    """A box with a border and a column inside."""
    frame = QFrame()
    frame.setProperty("card", True)
    column = QVBoxLayout(frame)
    column.setContentsMargins(padding, padding, padding, padding)
    column.setSpacing(spacing)
    return frame, column


def label(text: str = "", kind: str = "", *, wrap: bool = False) -> QLabel:
    """Words; ``kind`` is "", dim, heading or title."""
    made = QLabel(text)
    if kind:
        made.setProperty(kind, True)
    made.setWordWrap(wrap)
    return made


def side_panel(column: QVBoxLayout) -> QScrollArea:
    """The column of commands beside the pictures; scrolls where the window is too low for it."""
    column.setContentsMargins(0, 0, 0, 0)
    column.setSpacing(10)
    inside = QWidget()
    inside.setProperty("plain", True)
    inside.setLayout(column)
    area = QScrollArea()
    area.setProperty("plain", True)
    area.setWidget(inside)
    area.setWidgetResizable(True)
    area.setFrameShape(QFrame.Shape.NoFrame)
    area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    area.setFixedWidth(PANEL_PX)
    return area


def chooser(name: str) -> Chooser:
    """A drop-down with an accessible name that does not grow with its entries."""
    combo = Chooser()
    combo.setAccessibleName(name)
    return combo


def row(*widgets: QWidget, spacing: int = 8) -> QHBoxLayout:
    """Widgets side by side."""
    line = QHBoxLayout()
    line.setSpacing(spacing)
    for widget in widgets:
        line.addWidget(widget)
    return line
