"""What opens below the pages: messages to read afterwards (F8) and facts about the station (F1). Never modal."""

from __future__ import annotations

from PyQt6.QtWidgets import QStackedWidget

from ui.desk import Desk
from ui.widgets.about_panel import AboutPanel
from ui.widgets.notice_panel import NoticePanel
from workbench.services.crash import about_station

NOTICES, ABOUT = "notices", "about"


class Drawer(QStackedWidget):
    """One panel at a time, or none. Answers its own commands."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk
        self.notices = NoticePanel(desk.theme, desk.actions, desk.notices)
        self.about = AboutPanel(desk.actions)
        self._panels = {NOTICES: self.notices, ABOUT: self.about}
        for panel in self._panels.values():
            self.addWidget(panel)
        bind = desk.actions.bind
        bind("app.notices", lambda: self.toggle(NOTICES))
        bind("app.about", lambda: self.toggle(ABOUT))
        bind("app.notices_copy", self.notices.copy)
        bind("app.about_copy", self.about.copy)
        self.hide()

    @property
    def reading(self) -> str:
        """Which panel is open, "" for none."""
        if self.isHidden():
            return ""
        return next(name for name, panel in self._panels.items() if panel is self.currentWidget())

    def toggle(self, name: str) -> None:
        """Open a panel, or close it if it is the open one."""
        wanted = "" if self.reading == name else name
        if wanted:
            self.setCurrentWidget(self._panels[wanted])
            self.setFixedHeight(self._panels[wanted].height())
            if wanted == ABOUT:
                self._tell_about()
        self.setVisible(bool(wanted))
        if wanted:
            (self.notices.table if wanted == NOTICES else self.about.text).setFocus()
        for panel in self._panels:
            self._desk.actions[f"app.{panel}"].setChecked(panel == wanted)
        self.refresh()

    def refresh(self) -> None:
        """Show what is new in the open panel."""
        if self.reading == NOTICES:
            self.notices.refresh()

    def _tell_about(self) -> None:
        self.about.show_text("")
        desk = self._desk
        station = desk.station if desk.running else None
        settings, status = (station.settings, station.status()) if station is not None else (None, None)
        desk.bridge.run_in_background(
            lambda: about_station(desk.home, settings, status),
            self.about.show_text,
            lambda error: self.about.show_text(str(error)),
            lane="look",
        )
