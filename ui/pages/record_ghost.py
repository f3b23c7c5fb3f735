"""The first pictures of an earlier take, laid over the live ones, to set the scene as it was then."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray
from PyQt6.QtCore import Qt
from PyQt6.QtWidgets import QHBoxLayout, QLabel, QSlider, QWidget

from ui import words
from ui.pages.page import Page
from ui.translate import t
from ui.widgets.wall import LiveWall
from workbench.core.types import EpisodeKind, Outcome
from workbench.services.library import Library, TakeFilter

SHARE = "record.ghost_percent"
_USUAL_PERCENT = 40
_CHOICE = 20
_FIRST_ROWS = 15  # a camera may deliver a few rows after the others


@dataclass(frozen=True, slots=True)
class Reference:
    """One take's first picture of each camera, by stream."""

    take: str
    started_at: str
    pictures: dict[str, NDArray[Any]]


class GhostLight:
    """Shows one of the newest takes of the task, a success if there is one. The window's thread only.

    Attributes:
        panel: how strong it is and which take, to be laid out by the page; hidden while there is no ghost.
    """

    def __init__(self, page: Page, wall: LiveWall) -> None:
        self._page, self._wall = page, wall
        self._place = 0
        self._reference: Reference | None = None
        self.on = False
        self.panel = QWidget()
        line = QHBoxLayout(self.panel)
        line.setContentsMargins(0, 0, 0, 0)
        self.words = QLabel()
        self.words.setProperty("dim", True)
        self.strength = QSlider(Qt.Orientation.Horizontal)
        self.strength.setRange(10, 90)
        self.strength.setValue(page.desk.preferences.get(SHARE, _USUAL_PERCENT))
        self.strength.setAccessibleName(t("How strong the reference picture is"))
        self.strength.valueChanged.connect(self._strengthened)
        line.addWidget(self.words)
        line.addWidget(self.strength, 1)
        self.panel.hide()

    @property
    def reference(self) -> Reference | None:
        """What is on show, None while there is nothing."""
        return self._reference

    def switch(self, on: bool, task: str, kind: EpisodeKind) -> None:
        """Show the newest fitting take, or none any more."""
        self.on, self._place = on, 0
        self._load(task, kind)

    def other(self, task: str, kind: EpisodeKind) -> None:
        """Show the take before it; after the oldest of the choice comes the newest again."""
        self._place += 1
        self._load(task, kind)

    def show(self) -> None:
        """Put it over the tiles there are now."""
        pictures = self._reference.pictures if self._reference is not None else {}
        self._wall.set_ghosts(pictures, self.strength.value() / 100)

    def _load(self, task: str, kind: EpisodeKind) -> None:
        library, place = self._page.desk.library, self._place
        if not self.on or library is None:
            self._come(None)
            return
        self._page.ask("pictures", lambda: find_reference(library, task, kind, place), self._found)

    def _found(self, reference: Reference | None) -> None:
        if reference is None and self.on:
            self.on = False
            self._page.notice.warn(
                t("there is no take of this task to lay over the pictures"), t("Record one, then switch it on again")
            )
        self._come(reference if self.on else None)

    def _come(self, reference: Reference | None) -> None:
        self._reference = reference
        self._page.desk.actions["record.ghost"].setChecked(self.on)
        self.panel.setVisible(reference is not None)
        if reference is not None:
            self.words.setText(words.when(reference.started_at))
        self.show()

    def _strengthened(self, percent: int) -> None:
        self._page.desk.preferences.keep(SHARE, percent)
        self.show()


def find_reference(library: Library, task: str, kind: EpisodeKind, place: int) -> Reference | None:
    """The ``place``-th newest take to set the scene by, successes alone if there are any; None without takes.

    Reads one picture per camera from disk.
    """
    wanted = TakeFilter(task=task, kind=kind, outcome=Outcome.SUCCESS)
    records = library.page(wanted, 0, _CHOICE).records
    records = records or library.page(TakeFilter(task=task, kind=kind), 0, _CHOICE).records
    if not records:
        return None
    record = records[place % len(records)]
    pictures = {}
    with library.open(record.id) as view:
        for name in (name for name in view.streams if name.startswith("observation.images.")):
            found = (view.picture(name, row) for row in range(min(view.rows, _FIRST_ROWS)))
            first = next((picture for picture in found if picture is not None), None)
            if first is not None:
                pictures[name] = first
    return Reference(record.id, record.started_at, pictures)
