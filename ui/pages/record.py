"""Recording takes: pictures large, the recorder's state larger, one key for each thing an operator does."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PyQt6.QtGui import QHideEvent
from PyQt6.QtWidgets import QFrame, QHBoxLayout, QSizePolicy, QVBoxLayout

from ui import words
from ui.actions import Situation
from ui.desk import Desk
from ui.pages.page import Page, card, chooser, fill_chooser, label, row, side_panel
from ui.records import TakeRecord
from ui.translate import t
from ui.widgets.badge import StateBadge
from ui.widgets.button import CommandButton
from ui.widgets.steer import SteerPad
from ui.widgets.takes import TakeStrip, newest_first
from ui.widgets.wall import LiveWall
from workbench.core.errors import WorkbenchError
from workbench.core.events import Failed, LibraryChanged, TakeDiscarded, TakeSealed, TakesRecovered
from workbench.core.types import EpisodeKind, Outcome
from workbench.services.library import Library
from workbench.services.station import StationStatus

_STRIP_TAKES = 8
_LOW_DISK_BYTES = 5e9


class RecordPage(Page):
    """The page an operator spends the day on."""

    name = "record"

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self._kind = EpisodeKind.TELEOP
        self._playing = False
        self.wall = LiveWall(desk.theme, lambda stream: desk.station.latest(stream) if desk.station else None)
        self.badge = StateBadge(t("Recorder"), desk.theme)
        self.tasks = chooser(t("Task"))
        self.instruction = label("", "dim", wrap=True)
        self.disk = label("", "dim")
        self.pad = SteerPad(desk.theme, self._keys)
        self.strip = TakeStrip(desk.theme, lambda take: desk.go("library", take))
        self._strip_empty = label(t("No takes yet. Choose a task and press ⏎ to record the first one."), "dim")
        self._build()
        self._bind()
        self.listeners.on(TakeSealed, self._sealed)
        self.listeners.on(TakeDiscarded, lambda _event: self.notice.done(t("The take is in the trash")))
        self.listeners.on(LibraryChanged, lambda _event: self._load_strip())
        self.listeners.on(TakesRecovered, self._recovered)
        self.listeners.on(Failed, self._failed)

    # layout ---------------------------------------------------------------------------------------------------------

    def _build(self) -> None:
        line = QHBoxLayout()
        line.setSpacing(12)
        left = QVBoxLayout()
        left.setSpacing(8)
        left.addWidget(self.wall, 1)
        heading = row(label(t("Newest takes"), "heading"), self._strip_empty)
        heading.addStretch(1)
        heading.addWidget(self.disk)
        left.addLayout(heading)
        left.addWidget(self.strip)
        line.addLayout(left, 1)
        column = QVBoxLayout()
        for widget in (self.badge, self._task_card(), self._take_card(), self._steer_card()):
            column.addWidget(widget)
        column.addStretch(1)
        line.addWidget(side_panel(column))
        self.body.addLayout(line, 1)

    def _task_card(self) -> QFrame:
        frame, column = card(padding=10, spacing=6)
        column.addLayout(row(label(t("Task"), "heading"), self.tasks))
        column.itemAt(0).layout().setStretch(1, 1)  # type: ignore[union-attr]
        column.addWidget(self.instruction)
        actions = self.desk.actions
        robot = CommandButton(actions, "record.robot", words=t("Robot"))
        human = CommandButton(actions, "record.human", words=t("Person"))
        column.addLayout(row(robot, human))
        return frame

    def _take_card(self) -> QFrame:
        frame, column = card(padding=10, spacing=7)
        actions = self.desk.actions
        column.addWidget(CommandButton(actions, "record.start", tall="true"))
        success = CommandButton(actions, "record.success", words=t("Success"), tall="true")
        failure = CommandButton(actions, "record.failure", words=t("Failure"), tall="true")
        column.addLayout(row(success, failure))
        column.addLayout(
            row(CommandButton(actions, "record.keep", words=t("Label later")), CommandButton(actions, "record.discard"))
        )
        self._sim_play = CommandButton(actions, "record.play", words=t("Simulate"))
        self._sim_reset = CommandButton(actions, "record.reset", words=t("New table"))
        column.addLayout(row(self._sim_play, self._sim_reset))
        return frame

    def _steer_card(self) -> QFrame:
        frame, column = card(padding=10, spacing=8)
        steer = CommandButton(self.desk.actions, "record.steer", words=t("Steer"))
        depth = CommandButton(self.desk.actions, "record.depth", words=t("Depth"))
        column.addLayout(row(steer, depth))
        column.addWidget(self.pad)
        return frame

    # commands -------------------------------------------------------------------------------------------------------

    def _bind(self) -> None:
        actions = self.desk.actions
        self.tasks.currentIndexChanged.connect(self._task_chosen)
        self.instruction.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        actions.bind("record.start", self._start)
        actions.bind("record.success", lambda: self._stop(Outcome.SUCCESS))
        actions.bind("record.failure", lambda: self._stop(Outcome.FAILURE))
        actions.bind("record.keep", lambda: self._stop(Outcome.UNLABELLED))
        actions.bind("record.discard", lambda: self.order(lambda station: station.discard_take()))
        actions.bind("record.play", self._play)
        actions.bind("record.reset", self._reset)
        actions.bind("record.steer", self._steer)
        actions.bind("record.depth", self._show_streams)
        actions.bind("record.human", lambda: self._choose_kind(EpisodeKind.HUMAN))
        actions.bind("record.robot", lambda: self._choose_kind(EpisodeKind.TELEOP))
        actions["record.depth"].setChecked(True)
        self._choose_kind(EpisodeKind.TELEOP)

    def _task_chosen(self) -> None:
        task = self.tasks.currentData() or ""
        self.desk.task = task
        sentence = dict(self.desk.tasks()).get(task, "")
        self.instruction.setText(
            f"“{sentence}”" if sentence else t("This station has no tasks; add [[tasks]] to station.toml.")
        )

    def _choose_kind(self, kind: EpisodeKind) -> None:
        self._kind = kind
        self.desk.actions["record.human"].setChecked(kind is EpisodeKind.HUMAN)
        self.desk.actions["record.robot"].setChecked(kind is EpisodeKind.TELEOP)

    def _start(self) -> None:
        task, kind = self.desk.task, self._kind
        self.notice.clear()
        self.order(lambda station: station.start_take(task, kind))

    def _stop(self, outcome: Outcome) -> None:
        self.order(lambda station: station.stop_take(outcome))

    def _play(self) -> None:
        task, kind = self.desk.task, self._kind
        self._playing = True
        if kind is EpisodeKind.HUMAN:
            self.notice.busy(t("The simulated hand does the task; the take ends and is labelled by itself"))
        else:
            self.notice.busy(t("The simulated operator does the task; the take ends and is labelled by itself"))
        self.order(lambda station: station.play(task, kind))

    def _reset(self) -> None:
        task, actor = self.desk.task, "human" if self._kind is EpisodeKind.HUMAN else "robot"
        self.order(lambda station: station.reset_scene(task, actor), busy=t("Setting the table"))

    def _steer(self) -> None:
        on = self.desk.actions["record.steer"].isChecked()
        self.pad.switch(on)
        if not on:
            self.order(lambda station: station.hold())

    def _keys(self, keys: frozenset[str]) -> None:
        self.order(lambda station: station.set_keys(keys))

    # what happened --------------------------------------------------------------------------------------------------

    def station_started(self) -> None:
        """Tasks and cameras are known."""
        self._show_streams()
        fill_chooser(self.tasks, [(words.task(name), name) for name, _ in self.desk.tasks()], self.desk.task or None)
        station = self.desk.station
        simulated = station is not None and station.settings.simulated
        self._sim_play.setVisible(simulated)
        self._sim_reset.setVisible(simulated)

    def station_waits(self, state: words.StateWords, hint: str) -> None:
        """Say so in the badge and in place of the pictures."""
        self.badge.show_state(state, "", hint)
        self.wall.set_empty(f"{state.symbol} {hint}")

    def opened(self) -> None:
        """The library can be read."""
        self._load_strip()

    def _show_streams(self) -> None:
        if self.desk.station is not None:
            self.wall.show_streams(self.desk.station.streams, depth=self.desk.actions["record.depth"].isChecked())

    def _sealed(self, event: TakeSealed) -> None:
        self._playing = False
        length, pictures = words.duration(event.duration_s), words.count(event.frames, "picture")
        self.notice.done(t("Saved: {length}, {pictures}", length=length, pictures=pictures))

    def _recovered(self, event: TakesRecovered) -> None:
        """The takes themselves appear in the strip; this says what was kept of them."""
        more = " " + t("(and {n} more)", n=len(event.messages) - 2) if len(event.messages) > 2 else ""
        self.notice.warn(t("Recording had been interrupted.") + " " + "; ".join(event.messages[:2]) + more)

    def _failed(self, event: Failed) -> None:
        self._playing = False
        self.notice.error(WorkbenchError(event.message, ""))

    def _load_strip(self) -> None:
        library = self.desk.library
        if library is None:
            return

        def newest() -> tuple[TakeRecord, ...]:
            return newest_first(library.episodes())[:_STRIP_TAKES]

        self.ask("shelf", newest, self._show_strip)

    def _show_strip(self, records: tuple[TakeRecord, ...]) -> None:
        self._strip_empty.setVisible(not records)
        library = self.desk.library
        for fresh in self.strip.show_takes(records):
            if fresh.pixels is None and library is not None:
                take = fresh.record.id
                self.ask("shelf", partial(_thumbnail, library, take), fresh.show_pixels)

    def situation(self, base: Situation) -> Situation:
        """A task must be chosen; nothing else starts while the simulation plays."""
        return replace(base, has_task=bool(self.desk.task), playing=self._playing)

    def show_status(self, status: StationStatus) -> None:
        """State, counters, disk."""
        recorder = status.recorder
        state = words.recorder_state(recorder.state)
        figure = words.clock_time(recorder.elapsed_s) if recorder.episode_id else ""
        self.badge.show_state(state, figure, self._detail(status))
        self.wall.show_status(status.cameras)
        low = " · " + t("nearly full, free some space") if status.free_bytes < _LOW_DISK_BYTES else ""
        self.disk.setText(t("{size} free on disk", size=words.size(status.free_bytes)) + low)

    def _detail(self, status: StationStatus) -> str:
        recorder = status.recorder
        if recorder.error:
            return recorder.error
        if recorder.episode_id:
            pictures = sum(count for name, count in recorder.items.items() if ".images." in name)
            gaps = t("{n} missing", n=recorder.gaps) if recorder.gaps else t("nothing missing")
            return f"{words.count(pictures, 'picture')}, {gaps} · {words.kind(recorder.kind)}"
        return t("Press ⏎ to start a take") if self.desk.running else t("The station is starting")

    def close_page(self) -> None:
        """Let go of the keys, too."""
        self.pad.switch(False)
        super().close_page()

    def hideEvent(self, event: QHideEvent | None) -> None:  # noqa: N802
        """Another page: steering ends."""
        steer = self.desk.actions["record.steer"]
        if steer.isChecked():
            steer.setChecked(False)
            self._steer()
        super().hideEvent(event)


def _thumbnail(library: Library, take: str) -> NDArray[np.uint8] | None:
    """The first camera's picture in the middle of a take."""
    view = library.open(take)
    names = [name for name in view.streams if name.startswith("observation.images.")]
    return view.picture(names[0], len(view.row_times_s) // 2) if names and len(view.row_times_s) else None
