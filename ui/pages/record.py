"""Recording takes: pictures large, the recorder's state larger, one key for each thing an operator does."""

from __future__ import annotations

import math
from dataclasses import replace

from PyQt6.QtGui import QHideEvent, QShowEvent
from PyQt6.QtWidgets import QFrame, QHBoxLayout, QSizePolicy, QVBoxLayout

from ui import words
from ui.actions import Situation
from ui.desk import Desk
from ui.pages.page import Page, card, chooser, fill_chooser, label, row, side_panel
from ui.pages.record_ghost import GhostLight
from ui.pages.record_pedal import PedalTeacher
from ui.pages.record_shelf import Shelf
from ui.pages.record_takes import TakeFlow
from ui.translate import t
from ui.widgets.badge import StateBadge
from ui.widgets.button import CommandButton
from ui.widgets.countdown import BigNumber
from ui.widgets.live_plot import LiveSignals
from ui.widgets.prompt import Prompt
from ui.widgets.steer import SteerPad
from ui.widgets.wall import LiveWall
from workbench.core.errors import WorkbenchError
from workbench.core.events import Failed, LibraryChanged, TakeDiscarded, TakeSealed, TakesRecovered
from workbench.core.types import EpisodeKind, Frame, Outcome
from workbench.services.disk_room import Room, estimate_bytes_per_s
from workbench.services.station import RECORDED, StationStatus

_STATE = "observation.state"
_LOW_DISK_MINUTES = 30.0
_SIGNALS_PX = 270


class RecordPage(Page):
    """The page an operator spends the day on."""

    name = "record"

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self._playing = False
        self._bytes_per_s = 0.0
        self.wall = LiveWall(desk.theme, self._latest)
        self.number = BigNumber(self.wall)
        self.takes = TakeFlow(self, self.number)
        self.ghost = GhostLight(self, self.wall)
        self.signals = LiveSignals(desk.theme, lambda: self._latest(_STATE))
        self.prompt = Prompt(desk.theme)
        self.badge = StateBadge(t("Recorder"), desk.theme)
        self.tasks = chooser(t("Task"))
        self.disk = label("", "dim")
        self.pad = SteerPad(desk.theme, self._keys)
        self.shelf = Shelf(self, lambda: self.takes.kind, self._fill_tasks)
        self.strip = self.shelf.strip
        self.teacher = PedalTeacher(self, self.takes.toggle, lambda: self.takes.end(Outcome.SUCCESS))
        self.pedal = self.teacher.pedal
        self._build()
        self.late = (self.wall,)
        self._bind()
        self.listeners.on(TakeSealed, self._sealed)
        self.listeners.on(TakeDiscarded, self.takes.discarded)
        self.listeners.on(LibraryChanged, lambda _event: self.shelf.changed())
        self.listeners.on(TakesRecovered, self._recovered)
        self.listeners.on(Failed, self._failed)

    # layout ---------------------------------------------------------------------------------------------------------

    def _build(self) -> None:
        line = QHBoxLayout()
        line.setSpacing(12)
        left = QVBoxLayout()
        left.setSpacing(8)
        left.addWidget(self.prompt)
        left.addWidget(self.wall, 1)
        self.signals.setFixedSize(_SIGNALS_PX, self.strip.height())
        below = row(self.strip, self.shelf.steps, self.signals)
        below.setStretch(0, 1)
        below.setStretch(1, 1)
        left.addLayout(below)
        line.addLayout(left, 1)
        column = QVBoxLayout()
        for widget in (self.badge, self._task_card(), self._take_card(), self._options_card(), self.disk):
            column.addWidget(widget)
        column.addStretch(1)
        line.addWidget(side_panel(column))
        self.body.addLayout(line, 1)
        self.pad.hide()

    def _task_card(self) -> QFrame:
        frame, column = card(padding=9, spacing=6)
        column.addWidget(self.tasks)
        actions = self.desk.actions
        robot = CommandButton(actions, "record.robot", words=t("Robot"))
        human = CommandButton(actions, "record.human", words=t("Person"))
        column.addLayout(row(robot, human))
        return frame

    def _take_card(self) -> QFrame:
        frame, column = card(padding=9, spacing=6)
        actions = self.desk.actions
        column.addWidget(CommandButton(actions, "record.start", tall="true"))
        success = CommandButton(actions, "record.success", words=t("Success"), tall="true")
        failure = CommandButton(actions, "record.failure", words=t("Failure"), tall="true")
        column.addLayout(row(success, failure))
        keep = CommandButton(actions, "record.keep", words=t("Label later"))
        column.addLayout(row(keep, CommandButton(actions, "record.discard")))
        self._sim_play = CommandButton(actions, "record.play", words=t("Simulate"))
        self._sim_reset = CommandButton(actions, "record.reset", words=t("New table"))
        column.addLayout(row(self._sim_play, self._sim_reset))
        return frame

    def _options_card(self) -> QFrame:
        frame, column = card(padding=9, spacing=6)
        actions = self.desk.actions
        for pair in (
            (("record.countdown", t("3-2-1")), ("record.practice", t("Practice"))),
            (("record.ghost", t("Ghost")), ("record.depth", t("Depth"))),
            (("record.steer", t("Steer")), ("record.pedal", t("Pedal"))),
        ):
            column.addLayout(row(*(CommandButton(actions, name, words=short) for name, short in pair)))
        for widget in (self.ghost.panel, self.teacher.words, self.pad):
            column.addWidget(widget)
        return frame

    # commands -------------------------------------------------------------------------------------------------------

    def _bind(self) -> None:
        actions, takes = self.desk.actions, self.takes
        self.tasks.currentIndexChanged.connect(self._task_chosen)
        self.tasks.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        handlers = {
            "start": takes.start,
            "success": lambda: takes.end(Outcome.SUCCESS),
            "failure": lambda: takes.end(Outcome.FAILURE),
            "keep": lambda: takes.end(Outcome.UNLABELLED),
            "discard": takes.discard,
            "countdown": lambda: takes.count_down(actions["record.countdown"].isChecked()),
            "practice": self._practise,
            "play": self._play,
            "reset": self._reset,
            "steer": self._steer,
            "depth": self._show_streams,
            "human": lambda: self._choose_kind(EpisodeKind.HUMAN),
            "robot": lambda: self._choose_kind(EpisodeKind.TELEOP),
            "next_task": lambda: self._step_task(1),
            "task_before": lambda: self._step_task(-1),
            "ghost": lambda: self.ghost.switch(actions["record.ghost"].isChecked(), self.desk.task, takes.kind),
            "ghost_other": lambda: self.ghost.other(self.desk.task, takes.kind),
            "setup": self._set_up,
            "hide_steps": self.shelf.hide_steps,
        }
        for name, handler in handlers.items():
            actions.bind(f"record.{name}", handler)
        actions["drive.stop"].triggered.connect(lambda *_: takes.countdown.cancel())
        actions["record.depth"].setChecked(True)
        actions["record.countdown"].setChecked(takes.counts_down)
        self._choose_kind(EpisodeKind.TELEOP)

    def _task_chosen(self) -> None:
        self.desk.task = self.tasks.currentData() or ""
        self._tell_task()
        self._load_ghost()

    def _step_task(self, step: int) -> None:
        if self.tasks.count():
            self.tasks.setCurrentIndex((self.tasks.currentIndex() + step) % self.tasks.count())

    def _choose_kind(self, kind: EpisodeKind) -> None:
        self.takes.kind = kind
        self.desk.actions["record.human"].setChecked(kind is EpisodeKind.HUMAN)
        self.desk.actions["record.robot"].setChecked(kind is EpisodeKind.TELEOP)
        self._estimate()
        self.shelf.load()
        self._load_ghost()

    def _practise(self) -> None:
        self.takes.practising = self.desk.actions["record.practice"].isChecked()
        self.prompt.practise(self.takes.practising)

    def _play(self) -> None:
        task, kind = self.desk.task, self.takes.kind
        self._playing = True
        if kind is EpisodeKind.HUMAN:
            self.notice.busy(t("The simulated hand does the task; the take ends and is labelled by itself"))
        else:
            self.notice.busy(t("The simulated operator does the task; the take ends and is labelled by itself"))
        self.order(lambda station: station.play(task, kind))

    def _reset(self) -> None:
        task, actor = self.desk.task, "human" if self.takes.kind is EpisodeKind.HUMAN else "robot"
        self.order(lambda station: station.reset_scene(task, actor), busy=t("Setting the table"))

    def _steer(self) -> None:
        on = self.desk.actions["record.steer"].isChecked()
        self.pad.setVisible(on)
        self.pad.switch(on)
        if not on:
            self.order(lambda station: station.hold())

    def _keys(self, keys: frozenset[str]) -> None:
        self.order(lambda station: station.set_keys(keys))

    def _load_ghost(self) -> None:
        if self.ghost.on:
            self.ghost.switch(True, self.desk.task, self.takes.kind)

    def _set_up(self) -> None:
        self.desk.go("station", "")
        self.desk.actions["station.propose"].trigger()

    # what happened --------------------------------------------------------------------------------------------------

    def station_started(self) -> None:
        """Tasks and cameras are known."""
        station = self.desk.station
        if station is None:
            return
        self._show_streams()
        self._fill_tasks()
        state = station.streams.get(_STATE)
        self.signals.set_axes(state.axes if state is not None else ())
        simulated = station.settings.simulated
        self._sim_play.setVisible(simulated)
        self._sim_reset.setVisible(simulated)
        self._estimate()
        self.shelf.load()

    def station_waits(self, state: words.StateWords, hint: str) -> None:
        """Say so in the badge and in place of the pictures."""
        self.takes.countdown.cancel()
        self.takes.recording = False
        self.badge.show_state(state, "", hint)
        self.wall.set_empty(f"{state.symbol} {hint}")
        self.shelf.arrange()

    def opened(self) -> None:
        """The library can be read."""
        self.takes.sweep()
        self.shelf.load()

    def _latest(self, stream: str) -> Frame | None:
        return self.desk.station.latest(stream) if self.desk.station is not None else None

    def _show_streams(self) -> None:
        if self.desk.station is not None:
            self.wall.show_streams(self.desk.station.streams, depth=self.desk.actions["record.depth"].isChecked())
            self.ghost.show()

    def _estimate(self) -> None:
        """Bytes per second of what is recorded of this kind."""
        station = self.desk.station
        if station is not None:
            human = self.takes.kind is EpisodeKind.HUMAN
            specs = [spec for name, spec in station.streams.items() if not (human and name in RECORDED)]
            self._bytes_per_s = estimate_bytes_per_s(specs, station.settings.record.color_codec)

    def _sealed(self, event: TakeSealed) -> None:
        self._playing = False
        self.takes.sealed(event)

    def _recovered(self, event: TakesRecovered) -> None:
        """The takes themselves appear in the strip; this says what was kept of them."""
        more = " " + t("(and {n} more)", n=len(event.messages) - 2) if len(event.messages) > 2 else ""
        self.notice.warn(t("Recording had been interrupted.") + " " + "; ".join(event.messages[:2]) + more)
        self.takes.sweep()

    def _failed(self, event: Failed) -> None:
        self._playing = False
        self.notice.error(WorkbenchError(event.message, ""))

    def _fill_tasks(self) -> None:
        def said(name: str) -> str:
            count = self.shelf.counts.get(name)
            return f"{words.task(name)}  ·  {count.takes}" if count is not None else words.task(name)

        fill_chooser(self.tasks, [(said(name), name) for name, _ in self.desk.tasks()], self.desk.task or None)
        self._tell_task()

    def _tell_task(self) -> None:
        sentence = dict(self.desk.tasks()).get(self.desk.task, "")
        nothing = t("This station has no tasks; add [[tasks]] to station.toml.") if self.desk.station else ""
        self.prompt.show_task(f"“{sentence}”" if sentence else nothing, self.shelf.counts.get(self.desk.task))
        self.shelf.arrange()

    # the tick -------------------------------------------------------------------------------------------------------

    def situation(self, base: Situation) -> Situation:
        """A task must be chosen; nothing else starts while the simulation plays."""
        told = {True: {"idle": "recording"}, False: {"recording": "idle"}}[self.takes.recording]
        return replace(
            base,
            recorder=told.get(base.recorder, base.recorder),
            has_task=bool(self.desk.task),
            playing=self._playing,
            counting=self.takes.countdown.running,
            fresh=bool(self.takes.fresh),
            practice=self.takes.practising,
            ghost=self.ghost.on,
            pedal=bool(self.pedal.keys),
        )

    def show_status(self, status: StationStatus) -> None:
        """State, counters, disk."""
        recorder = status.recorder
        self.takes.observe(recorder)
        if self.takes.countdown.running:
            self.badge.show_state(words.GET_READY.translated(), str(self.takes.countdown.left), t("← takes it back"))
        else:
            figure = words.clock_time(recorder.elapsed_s) if recorder.episode_id else ""
            self.badge.show_state(words.recorder_state(recorder.state), figure, self._detail(status))
        self.wall.show_status(status.cameras)
        minutes = Room(status.free_bytes, self._bytes_per_s).minutes
        low = "▲ " + t("Disk nearly full") + ": " if minutes < _LOW_DISK_MINUTES else ""
        self.disk.setText(low + t("{size} free", size=words.size(status.free_bytes)) + ", " + room_words(minutes))

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
        self.shelf.close()
        self.takes.countdown.cancel()
        self.pedal.switch(False)
        self.pad.switch(False)
        super().close_page()

    def showEvent(self, event: QShowEvent | None) -> None:  # noqa: N802
        """The pedal means something here."""
        super().showEvent(event)
        self.pedal.switch(True)

    def hideEvent(self, event: QHideEvent | None) -> None:  # noqa: N802
        """Another page: steering ends, nothing begins behind somebody's back."""
        self.takes.countdown.cancel()
        self.pedal.switch(False)
        steer = self.desk.actions["record.steer"]
        if steer.isChecked():
            steer.setChecked(False)
            self._steer()
        super().hideEvent(event)


def room_words(minutes: float) -> str:
    """``3 h of recording``, ``12 min of recording``; "" where nothing is written."""
    if not math.isfinite(minutes):
        return ""
    if minutes >= 180:
        return t("{n} h of recording", n=round(minutes / 60))
    return t("{n} min of recording", n=int(minutes))
