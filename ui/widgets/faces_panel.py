"""Blurring faces: which takes show any, how it would look, and doing it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ui import words
from ui.actions import Actions
from ui.bridge import Bridge
from ui.theme import Theme
from ui.translate import mark, t
from ui.widgets.exchange_panel import DONE, IDLE, LANE, LOOKING, PLANNED, WORKING, ExchangePanel
from ui.widgets.picture import Picture
from ui.widgets.rows import Column, RowsModel, RowsTable
from workbench.core.errors import NotFoundError, WorkbenchError
from workbench.services.faces import BlurReport, FaceLook, FacePlan
from workbench.services.library import Library

_LOOK_AGAIN = mark("No detector finds every face: look through the takes yourself, too.")


class FacesPanel(ExchangePanel):
    """Looks at the chosen takes at once; nothing is written before a person has seen what would be.

    Args:
        takes: asked for the ids of the chosen takes when looking begins.
    """

    def __init__(
        self,
        bridge: Bridge,
        theme: Theme,
        actions: Actions,
        library: Callable[[], Library | None],
        takes: Callable[[], list[str]],
        failed: Callable[[WorkbenchError], None],
    ) -> None:
        super().__init__(bridge, actions, t("Blur faces"), "", failed)
        self._library = library
        self._takes = takes
        self.plan: FacePlan | None = None
        self.report: BlurReport | None = None
        self.form.setRowVisible(0, False)
        self.model = RowsModel(theme, _columns(), lambda look: look.episode_id, _tip)
        self.table = RowsTable(self.model, theme, t("Faces in the chosen takes"))
        self.table.on_chosen(self._show_example)
        self.first = self.table
        self.example = Picture(t("As it would become"), theme)
        self.example.show_pixels(None, t("Choose a take with faces to see how it would become"))
        self.column.addWidget(self.table, 2)
        self.column.addWidget(self.example, 3)
        self.finish_layout(t("Blur them"))
        self.enter(IDLE, "")

    def look(self) -> None:
        """Find out which of the chosen takes show a face."""
        library, ids = self._library(), self._takes()
        if library is None or self.busy or not ids:
            return
        self._list(())
        self.run(
            LOOKING,
            t("Looking for faces in {takes} …", takes=words.count(len(ids), "take")),
            lambda progress, stop: library.plan_blur(ids, progress, stop),
            self._planned,
        )

    def go(self) -> None:
        """Blur them."""
        library, plan = self._library(), self.plan
        if library is None or plan is None or self.state != PLANNED:
            return
        self.run(
            WORKING,
            t("Blurring {pictures} …", pictures=words.count(_pictures(plan), "picture")),
            lambda progress, stop: library.blur(plan, progress, stop),
            self._blurred,
        )

    def forget_plan(self) -> None:
        """Other takes: look again."""
        super().forget_plan()
        if self.state == IDLE:
            self.plan = None
            self._list(())

    def _planned(self, plan: FacePlan) -> None:
        self.plan = plan
        self._list(plan.takes)
        some = plan.with_faces
        parts = [t("Stopped")] if plan.stopped else []
        if some:
            pictures = words.count(_pictures(plan), "picture")
            parts.append(t("{takes} with a face, {pictures} to blur", takes=_count(some), pictures=pictures))
        if plan.without:
            parts.append(t("{takes} without a face that was found", takes=_count(plan.without)))
        if plan.problems:
            parts.append(t("▲ {takes} cannot be read", takes=_count(plan.problems)))
        self.enter(PLANNED if some else IDLE, " · ".join(parts) + ("" if some else "\n" + t(_LOOK_AGAIN)))
        if some:
            self.table.choose([self.model.row_of(some[0].episode_id)])

    def _blurred(self, report: BlurReport) -> None:
        self.report = report
        takes, pictures = words.count(len(report.copies), "take"), words.count(report.pictures, "picture")
        parts = [t("Stopped")] if report.stopped else []
        parts.append(t("✔ {pictures} blurred in {takes}", pictures=pictures, takes=takes))
        parts += [t("▲ {id} stays: {reason}", id=name[:8], reason=why) for name, why in list(report.failed.items())[:3]]
        after = t(
            "The takes as they were are in the trash: Ctrl+Z brings back one after the other, "
            "removing them there is for good."
        )
        self.enter(DONE, " · ".join(parts) + (f"\n{after} {t(_LOOK_AGAIN)}" if report.copies else ""))

    def _list(self, looks: Sequence[FaceLook]) -> None:
        self.model.replace(looks)
        self.example.show_pixels(None, t("Choose a take with faces to see how it would become"))

    def _show_example(self) -> None:
        """How the chosen take would look; read in the background."""
        library, rows = self._library(), self.table.chosen()
        look = self.model.records[rows[0]] if rows else None
        if library is None or look is None or not look.pictures:
            self.example.show_pixels(None, t("No face was found in this take") if look is not None else "")
            return

        def come(example: tuple[str, NDArray[np.uint8]] | None) -> None:
            if example is not None and look in self.model.records:
                stream, picture = example
                self.example.show_pixels(picture if picture.ndim == 3 else np.repeat(picture[:, :, None], 3, 2))
                self.example.set_facts(words.stream(stream))

        self._bridge.run_in_background(lambda: library.face_example(look), come, self._unless_done, lane=LANE)

    def _unless_done(self, error: WorkbenchError) -> None:
        """A take that was blurred meanwhile is in the trash: nothing failed."""
        if not isinstance(error, NotFoundError):
            self._failed(error)


def _pictures(plan: FacePlan) -> int:
    return sum(look.pictures for look in plan.with_faces)


def _count(looks: Sequence[FaceLook]) -> str:
    return words.count(len(looks), "take")


def _columns() -> tuple[Column[FaceLook], ...]:
    return (
        Column(t("Take"), lambda look: f"{words.task(look.task)} · {look.episode_id[:8]}"),
        Column(t("Faces"), _state, 170, lambda look: "bad" if look.problem else "warn" if look.pictures else "dim"),
        Column(t("Length"), lambda look: words.duration(look.duration_s) if look.duration_s else "", 78),
    )


def _state(look: FaceLook) -> str:
    if look.problem:
        return t("▲ cannot be read")
    if not look.pictures:
        return t("none was found")
    return t("▲ in {pictures}", pictures=words.count(look.pictures, "picture"))


def _tip(look: FaceLook) -> str:
    seen = [
        t(
            "{camera}: {pictures}, {start} to {end}",
            camera=words.stream(sight.stream),
            pictures=words.count(sight.pictures, "picture"),
            start=words.duration(sight.first_s),
            end=words.duration(sight.last_s),
        )
        for sight in look.sights
    ]
    return "\n".join([look.problem] if look.problem else seen)
