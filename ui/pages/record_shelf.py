"""Below the live pictures: the newest takes, or the first steps where there is none; and how many of each task."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PyQt6.QtCore import QTimer

from ui.pages.page import Page
from ui.records import TakeRecord
from ui.translate import t
from ui.widgets.first_steps import FirstSteps, Progress
from ui.widgets.takes import TakeStrip
from workbench.core.errors import NotFoundError
from workbench.core.types import EpisodeKind
from workbench.services.library import Library, TakeFilter
from workbench.services.task_counts import TaskCount, count_tasks

_STRIP_TAKES = 8
_GATHER_MS = 150  # changes of the library come in bursts
_STEPS_HIDDEN = "record.first_steps_hidden"


class Shelf:
    """Reads the catalogue in the background whenever it changed. The window's thread only.

    Attributes:
        counts: takes of each task of the kind asked for last.
    """

    def __init__(self, page: Page, kind: Callable[[], EpisodeKind], counted: Callable[[], None]) -> None:
        self._page, self._kind, self._counted = page, kind, counted
        self._is_empty = False
        self.counts: dict[str, TaskCount] = {}
        self.strip = TakeStrip(page.desk.theme, lambda take: page.desk.go("library", take))
        self.steps = FirstSteps(page.desk.actions)
        self.steps.setFixedHeight(self.strip.height())
        self.steps.hide()
        self._gather = QTimer(page)
        self._gather.setSingleShot(True)
        self._gather.setInterval(_GATHER_MS)
        self._gather.timeout.connect(self.load)

    def changed(self) -> None:
        """Takes came, went or were labelled: look soon."""
        self._gather.start()

    def close(self) -> None:
        """Look no more."""
        self._gather.stop()

    def load(self) -> None:
        """Ask for the newest takes and the counts."""
        library, kind, page = self._page.desk.library, self._kind(), self._page
        if library is None:
            return
        names = [name for name, _ in page.desk.tasks()]
        page.ask("shelf", lambda: library.page(TakeFilter(), 0, _STRIP_TAKES).records, self._show)
        page.ask("shelf", lambda: count_tasks(library, names, kind), self._count)

    def hide_steps(self) -> None:
        """They are not shown again to this person."""
        self._page.desk.preferences.keep(_STEPS_HIDDEN, True)
        self.arrange()

    def arrange(self) -> None:
        """The strip of takes, or the first steps as long as there is none."""
        desk = self._page.desk
        guide = self._is_empty and not desk.preferences.get(_STEPS_HIDDEN, False)
        if guide:
            station = desk.station if desk.running else None
            simulated = station is not None and station.settings.simulated
            runs = t("The simulated station runs") if simulated else t("The station runs")
            told = runs if station is not None else t("The station does not run yet")
            self.steps.show_progress(Progress(told, station is not None, bool(desk.task)))
        self.steps.setVisible(guide)
        self.strip.setVisible(not guide)

    def _show(self, records: tuple[TakeRecord, ...]) -> None:
        self._is_empty = not records
        self.arrange()
        library = self._page.desk.library
        for fresh in self.strip.show_takes(records):
            if fresh.pixels is None and library is not None:
                take = fresh.record.id
                self._page.ask("shelf", partial(_thumbnail, library, take), partial(self._show_picture, take))

    def _show_picture(self, take: str, pixels: NDArray[np.uint8] | None) -> None:
        """On the card that stands for the take now, if any: the one that asked may be gone."""
        card = self.strip.cards.get(take)
        if card is not None:
            card.show_pixels(pixels)

    def _count(self, counts: dict[str, TaskCount]) -> None:
        if counts != self.counts:
            self.counts = counts
            self._counted()


def _thumbnail(library: Library, take: str) -> NDArray[np.uint8] | None:
    """The first camera's picture in the middle of a take; None for one that was removed meanwhile."""
    with suppress(NotFoundError), library.open(take) as view:
        names = [name for name in view.streams if name.startswith("observation.images.")]
        return view.picture(names[0], view.rows // 2) if names and view.rows else None
    return None
