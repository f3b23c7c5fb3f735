"""What stands in place of the open take: import, export, blurring of faces, two takes compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from PyQt6.QtCore import Qt, QUrl
from PyQt6.QtGui import QDesktopServices
from PyQt6.QtWidgets import QFrame, QStackedWidget, QWidget

from ui.actions import Situation
from ui.pages.page import card, row
from ui.widgets.button import CommandButton
from ui.widgets.compare_view import Compared, CompareView
from ui.widgets.exchange_panel import ExchangePanel
from ui.widgets.export_panel import CHOSEN, ExportPanel
from ui.widgets.faces_panel import FacesPanel
from ui.widgets.import_panel import ImportPanel
from workbench.services.exchange import export_formats, import_formats
from workbench.services.library import Library

if TYPE_CHECKING:
    from ui.pages.library import LibraryPage

TAKE, IMPORT, EXPORT, FACES, COMPARE = "", "import", "export", "faces", "compare"


class LibraryPanels(QStackedWidget):
    """The take's own card first. Answers the commands of the panels; window's thread."""

    def __init__(self, page: LibraryPage, take_side: QWidget) -> None:
        super().__init__()
        self._page = page
        desk = page.desk
        self.importing = ImportPanel(desk.bridge, desk.theme, desk.actions, lambda: desk.library, page.notice.error)
        self.exporting = ExportPanel(desk.bridge, desk.actions, lambda: desk.library, self._takes, page.notice.error)
        self.blurring = FacesPanel(
            desk.bridge, desk.theme, desk.actions, lambda: desk.library, lambda: self._takes(CHOSEN), page.notice.error
        )
        self.comparing = CompareView(desk.bridge, desk.theme, page.notice.error)
        self.panels: dict[str, ExchangePanel] = {IMPORT: self.importing, EXPORT: self.exporting, FACES: self.blurring}
        self._places = {TAKE: take_side, **{name: _framed(panel) for name, panel in self.panels.items()}}
        self._places[COMPARE] = self._compare_card()
        for widget in self._places.values():
            self.addWidget(widget)
        self._formats_known = False
        for panel in self.panels.values():
            panel.changed = page.enable
        self._bind()

    @property
    def shown(self) -> str:
        """``import``, ``export``, ``faces``, ``compare``, or "" for the take."""
        return next(name for name, widget in self._places.items() if widget is self.currentWidget())

    def situation(self, base: Situation) -> Situation:
        """``base`` with the panel that is on show, and what it does."""
        panel = self.panels.get(self.shown)
        return replace(base, panel=self.shown, exchange=panel.state if panel is not None else "")

    def show_counts(self, chosen: int, listed: int) -> None:
        """How many takes are chosen and listed now."""
        if self.shown == EXPORT:
            self.exporting.show_counts(chosen, listed)

    def pause(self) -> None:
        """Another page is on show."""
        self.comparing.player.pause()

    def close(self) -> bool:
        """The window closes: stop what is going on."""
        for panel in self.panels.values():
            panel.stop()
        self.pause()
        return super().close()

    def show_panel(self, name: str) -> None:
        """Put one of them in front."""
        self._page.pause()
        self.setCurrentWidget(self._places[name])
        self._page.enable()
        panel = self.panels.get(name)
        if name == EXPORT:
            self.exporting.show_counts(self._page.table.chosen_count(), self._page.model.rowCount())
        if name in (IMPORT, EXPORT):
            self._find_formats()
        if panel is not None:
            panel.first.setFocus(Qt.FocusReason.OtherFocusReason)
        elif name == TAKE:
            self._page.table.setFocus(Qt.FocusReason.OtherFocusReason)

    def _find_formats(self) -> None:
        """Once, and in the background: every format's own packages are imported for it."""
        if not self._formats_known:
            self._formats_known = True
            self._page.ask("exchange", lambda: (import_formats(), export_formats()), self._formats_came)

    def _formats_came(self, found: tuple[Mapping[str, str], Mapping[str, str]]) -> None:
        self.importing.show_formats(found[0])
        self.exporting.show_formats(found[1])

    def _bind(self) -> None:
        bind = self._page.desk.actions.bind
        bind("library.import", lambda: self.show_panel(IMPORT))
        bind("library.export", lambda: self.show_panel(EXPORT))
        bind("library.blur", self._blur)
        bind("library.compare", self._compare)
        bind("library.close_panel", lambda: self.show_panel(TAKE))
        bind("library.look", self._look)
        bind("library.go", self._go)
        bind("library.stop", self._stop)
        bind("library.show_result", self._show_result)
        self.comparing.player.finished = self._page.played

    def _blur(self) -> None:
        """Looking costs nothing but time: do it at once."""
        self.show_panel(FACES)
        self._look()

    def _look(self) -> None:
        panel = self.panels.get(self.shown)
        if panel is not None:
            panel.look()

    def _go(self) -> None:
        panel = self.panels.get(self.shown)
        if panel is not None:
            panel.go()

    def _stop(self) -> None:
        panel = self.panels.get(self.shown)
        if panel is not None:
            panel.stop()

    def _show_result(self) -> None:
        """The new takes in the list, or the new folder in the desktop's own window."""
        came, written, blurred = self.importing.report, self.exporting.report, self.blurring.report
        if self.shown == IMPORT and came is not None and came.ids:
            self._show_new(came.ids[-1])
        elif self.shown == FACES and blurred is not None and blurred.copies:
            self._show_new(next(reversed(blurred.copies.values())))
        elif self.shown == EXPORT and written is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(written.path)))

    def _show_new(self, episode_id: str) -> None:
        self._page.filters.clear()
        self._page.table.open_take(episode_id)
        self.show_panel(TAKE)

    def _takes(self, which: str) -> list[str]:
        table = self._page.table
        return table.choice().ids() if which == CHOSEN else list(table.model_.listing.ids)

    def _compare(self) -> None:
        library, ids = self._page.desk.library, self._page.table.choice().ids()
        if library is None or len(ids) != 2:
            return
        way = self.comparing.way
        self._page.ask("pictures", lambda: _opened(library, ids[0], ids[1], way), self._compared)

    def _compared(self, compared: Compared) -> None:
        self.comparing.show_pair(compared)
        self.show_panel(COMPARE)
        self.comparing.timeline.setFocus(Qt.FocusReason.OtherFocusReason)

    def _compare_card(self) -> QWidget:
        frame, column = card(spacing=6)
        actions = self._page.desk.actions
        column.addWidget(self.comparing, 1)
        back = CommandButton(actions, "library.back", words="◀")
        forward = CommandButton(actions, "library.forward", words="▶")
        play, close = CommandButton(actions, "library.play"), CommandButton(actions, "library.close_panel")
        column.addLayout(row(back, play, forward, close))
        return frame


def _framed(panel: QWidget) -> QFrame:
    frame, column = card()
    column.addWidget(panel, 1)
    return frame


def _opened(library: Library, first: str, second: str, way: str) -> Compared:
    return Compared.of((library.open(first), library.open(second)), way)
