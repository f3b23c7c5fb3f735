"""Driving: the policy moves, a person watches. Stop and hold are one key each and never wait."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from PyQt6.QtGui import QHideEvent, QShowEvent
from PyQt6.QtWidgets import QFrame, QGridLayout, QHBoxLayout, QLabel, QLineEdit, QTabWidget, QVBoxLayout

from ui import words
from ui.actions import Situation
from ui.desk import Desk
from ui.pages.drive_series import SeriesPanel
from ui.pages.drive_tables import Limit, Trial, limit_rows, limits_model, trials_model
from ui.pages.page import Page, card, chooser, fill_chooser, label, row, side_panel
from ui.records import ModelEntry
from ui.translate import mark, t
from ui.widgets.badge import StateBadge
from ui.widgets.button import CommandButton
from ui.widgets.plan_strip import PlanStrip
from ui.widgets.rows import RowsModel, RowsTable
from ui.widgets.steer import SteerPad
from ui.widgets.wall import LiveWall
from workbench.core.errors import WorkbenchError
from workbench.core.events import Failed, SeriesChanged, TrialScored
from workbench.core.types import Outcome
from workbench.services.driver import DriverStatus
from workbench.services.plan_view import PlanWatch
from workbench.services.station import Station, StationStatus

BELOW_PX = 186
_FIGURES = (mark("Thinking"), mark("Plan's age"), mark("Tick late (p99)"))
_HEADS = ((mark("Smooth (RF)"), "rf"), (mark("By tokens (NTP)"), "ntp"))


class DrivePage(Page):
    """Pictures and facts on the left, authority and commands on the right."""

    name = "drive"

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self.wall = LiveWall(desk.theme, lambda stream: desk.station.latest(stream) if desk.station else None)
        self.badge = StateBadge(t("Arm"), desk.theme)
        self.authority = label("", "heading")
        self.models = chooser(t("Model"))
        self.tasks = chooser(t("Task to do"))
        self.heads = chooser(t("How the model moves"))
        self.success = label("–")
        self.guard = label("", wrap=True)
        self.figures: dict[str, QLabel] = {name: label("–") for name in _FIGURES}
        self.plans = PlanStrip(desk.theme)
        self._plan_watch: PlanWatch | None = None
        self.pad = SteerPad(desk.theme, self._keys, gripper_key="g")
        self.trials: RowsModel[Trial] = trials_model(desk)
        self.limits: RowsModel[Limit] = limits_model(desk)
        self.score = label(t("none yet"), "dim")
        self.series = SeriesPanel(desk)
        self.hints = label("", wrap=True)
        self.words = QLineEdit()
        self.words.setPlaceholderText(t("Words for a note"))
        self.words.setAccessibleName(t("Words for a note"))
        self._driver = ""
        self._build()
        self.late = (self.wall,)
        self._bind()
        self.listeners.on(TrialScored, self._scored)
        self.listeners.on(SeriesChanged, self.series.changed)
        self.listeners.on(Failed, lambda event: self.notice.error(WorkbenchError(event.message, "")))

    # layout ---------------------------------------------------------------------------------------------------------

    def _build(self) -> None:
        line = QHBoxLayout()
        line.setSpacing(12)
        left = QVBoxLayout()
        left.setSpacing(10)
        left.addWidget(self.wall, 1)
        left.addWidget(self.plans)
        below = QHBoxLayout()
        below.setSpacing(10)
        below.addWidget(self._now_card(), 5)
        tables = QTabWidget()
        tables.setFixedHeight(BELOW_PX)
        tables.addTab(self._table_card(t("Attempts"), self.trials, self.score), t("Attempts"))
        tables.addTab(self.series, t("Compare models"))
        tables.addTab(self._table_card(t("Limits of the guard"), self.limits), t("Limits"))
        below.addWidget(tables, 12)
        left.addLayout(below)
        line.addLayout(left, 1)
        column = QVBoxLayout()
        for widget in (self.badge, self._choose_card(), self._command_card(), self._pad_card()):
            column.addWidget(widget)
        column.addStretch(1)
        right = QVBoxLayout()
        right.setSpacing(10)
        right.addWidget(side_panel(column), 1)
        right.addWidget(CommandButton(self.desk.actions, "drive.stop", words=t("STOP"), tall="huge"))
        line.addLayout(right)
        self.body.addLayout(line, 1)

    def _choose_card(self) -> QFrame:
        frame, column = card(padding=10, spacing=6)
        grid = QGridLayout()
        grid.setColumnStretch(1, 1)
        for place, (name, combo) in enumerate(
            ((t("Model"), self.models), (t("Task"), self.tasks), (t("Head"), self.heads))
        ):
            grid.addWidget(label(name, "heading"), place, 0)
            grid.addWidget(combo, place, 1, 1, 1 if combo is self.heads else 2)
        grid.addWidget(CommandButton(self.desk.actions, "drive.change", words=t("Change")), 2, 2)
        column.addLayout(grid)
        self._no_model = label(t("▲ No model can drive yet. Train the stages up to CLAP-RF first (Ctrl+4)."), wrap=True)
        column.addWidget(self._no_model)
        return frame

    def _command_card(self) -> QFrame:
        frame, column = card(padding=10, spacing=7)
        actions = self.desk.actions
        column.addWidget(CommandButton(actions, "drive.start", tall="true"))
        hold = CommandButton(actions, "drive.hold", tall="true")
        resume = CommandButton(actions, "drive.resume", tall="true")
        column.addLayout(row(hold, resume))
        column.addLayout(
            row(CommandButton(actions, "drive.park"), CommandButton(actions, "drive.correct", words=t("Take over")))
        )
        column.addLayout(row(CommandButton(actions, "drive.success"), CommandButton(actions, "drive.failure")))
        column.addLayout(row(self.words, CommandButton(actions, "drive.note")))
        self._reset = CommandButton(actions, "drive.reset", words=t("Lay table"))
        self._clear = CommandButton(actions, "drive.clear", tall="true")
        column.addLayout(row(CommandButton(actions, "drive.save_last", words=t("Save 30 s")), self._reset))
        column.addWidget(self._clear)
        return frame

    def _pad_card(self) -> QFrame:
        self._pad_frame, column = card(padding=10)
        column.addWidget(self.pad)
        return self._pad_frame

    def _now_card(self) -> QFrame:
        frame, column = card(padding=10, spacing=4)
        column.addWidget(self.authority)
        grid = QGridLayout()
        grid.setVerticalSpacing(3)
        for place, (name, value) in enumerate((*self.figures.items(), (mark("Task done"), self.success))):
            grid.addWidget(label(t(name), "dim"), place, 0)
            grid.addWidget(value, place, 1)
        column.addLayout(grid)
        column.addWidget(self.guard)
        column.addWidget(self.hints)
        column.addStretch(1)
        frame.setFixedHeight(BELOW_PX)
        return frame

    def _table_card(self, name: str, model: RowsModel[Any], beside: QLabel | None = None) -> QFrame:
        frame, column = card(padding=8, spacing=4)
        if beside is not None:
            column.addWidget(beside)
        table = RowsTable(model, self.desk.theme, name)
        table.setStyleSheet(
            "QTableView { border: 2px solid transparent; font-size: 10pt; }"
            "QTableView:focus { border-color: palette(highlight); }"
        )
        bars = table.horizontalHeader(), table.verticalHeader()
        if bars[0] is not None and bars[1] is not None:
            bars[0].hide()
            bars[1].setDefaultSectionSize(27)
        column.addWidget(table, 1)
        return frame

    # commands -------------------------------------------------------------------------------------------------------

    def _bind(self) -> None:
        fill_chooser(self.heads, [(t(name), head) for name, head in _HEADS])
        self.tasks.currentIndexChanged.connect(self._task_chosen)
        bind = self.desk.actions.bind
        bind("drive.start", self._start)
        bind("drive.hold", lambda: self.order(lambda station: station.hold(), lane="urgent"))
        bind("drive.resume", lambda: self.order(lambda station: station.resume()))
        bind("drive.park", self._park)
        bind("drive.correct", self._take_over)
        bind("drive.clear", lambda: self.order(lambda station: station.clear_stop()))
        bind("drive.reset", self._reset_scene)
        bind("drive.success", lambda: self.order(lambda station: station.judge(Outcome.SUCCESS)))
        bind("drive.failure", lambda: self.order(lambda station: station.judge(Outcome.FAILURE)))
        bind("drive.note", self._note)
        bind("drive.change", self._change_task)
        bind("drive.save_last", self._save_last)
        bind("drive.series", self._series)
        self._clear.hide()
        self._pad_frame.hide()

    def _task_chosen(self) -> None:
        self.desk.task = self.tasks.currentData() or self.desk.task

    def _start(self) -> None:
        if self.series.laid():
            return
        model, task, head = self.models.currentData(), self.tasks.currentData(), self.heads.currentData()

        def work(station: Station) -> None:
            station.load_policy(model, head)
            station.drive(task)

        self.order(work, busy=t("Loading the model; the arm waits until it is ready"))

    def _note(self) -> None:
        text = self.words.text().strip() or t("look here")
        self.words.clear()
        self.setFocus()
        self.order(lambda station: station.note(text))

    def _change_task(self) -> None:
        task = self.tasks.currentData()
        self.order(lambda station: station.change_task(task))

    def _save_last(self) -> None:
        task = self.tasks.currentData()
        self.order(lambda station: station.save_last(task), busy=t("Saving what has just happened"))

    def _series(self) -> None:
        model, task, head = self.models.currentData(), self.tasks.currentData(), self.heads.currentData()
        if self.desk.actions["drive.series"].isChecked():
            self.order(lambda station: self.series.begin(station, model, head, task), busy=t("Planning the trials"))
        else:
            self.order(lambda _station: self.series.end())

    def _park(self) -> None:
        self._leave_steering()
        self.order(lambda station: station.park())

    def _take_over(self) -> None:
        on = self.desk.actions["drive.correct"].isChecked()
        self._pad_frame.setVisible(on)
        self.pad.switch(on)
        self.order((lambda station: station.operate()) if on else (lambda station: station.hold()))

    def _leave_steering(self) -> None:
        self.desk.actions["drive.correct"].setChecked(False)
        self._pad_frame.hide()
        self.pad.switch(False)

    def _keys(self, keys: frozenset[str]) -> None:
        self.order(lambda station: station.set_keys(keys))

    def _reset_scene(self) -> None:
        task = self.tasks.currentData()
        self.order(lambda station: station.reset_scene(task), busy=t("Setting the table"))

    # what happened --------------------------------------------------------------------------------------------------

    def station_waits(self, state: words.StateWords, hint: str) -> None:
        """Say so in the badge and in place of the pictures."""
        self.badge.show_state(state, "", hint)
        self.wall.set_empty(f"{state.symbol} {hint}")

    def opened(self) -> None:
        """Models can be listed."""
        self._load_models()

    def station_started(self) -> None:
        """Tasks, cameras and limits are known."""
        station = self.desk.station
        if station is None:
            return
        self.wall.show_streams(station.streams, depth=True)
        self._plan_watch = PlanWatch(station.newest_chunk, self.desk.home)
        fill_chooser(self.tasks, [(words.task(name), name) for name, _ in self.desk.tasks()], self.desk.task or None)
        self._reset.setVisible(station.settings.simulated)

    def _load_models(self) -> None:
        jobs = self.desk.jobs
        if jobs is not None:
            self.ask("jobs", jobs.models, self._show_models)

    def _show_models(self, models: tuple[ModelEntry, ...]) -> None:
        drivers = sorted((m for m in models if m.stage == "rf"), key=lambda m: (m.promoted, m.created_at), reverse=True)
        star = {True: "★ ", False: ""}
        named = [(f"{star[m.promoted]}{words.when(m.created_at)} · {m.id[:8]}", m.id) for m in drivers]
        fill_chooser(self.models, named)
        self.series.show_models(named)
        self._no_model.setVisible(not drivers)

    def _scored(self, event: TrialScored) -> None:
        trial = Trial(len(self.trials.records) + 1, event.task, event.success, event.episode_id)
        self.trials.replace((trial, *self.trials.records))
        won = sum(trial.success for trial in self.trials.records)
        self.score.setText(t("{n} of {all} succeeded alone", n=won, all=len(self.trials.records)))

    def show_status(self, status: StationStatus) -> None:
        """State, authority, figures, guard, limits."""
        driver = status.driver
        detail = driver.reason[:1].upper() + driver.reason[1:]
        self.badge.show_state(words.driver_state(driver.state), "", detail)
        ready = driver.watching and driver.state in ("driving", "holding")
        hand = " · " + t("the {device} takes over", device=driver.watching) if ready else ""
        self.authority.setText(words.authority(driver.authority) + hand)
        self.wall.show_status(status.cameras)
        self._show_figures(driver)
        self._show_plan(status)
        self._clear.setVisible(driver.state == "stopped")
        if driver.state in ("stopped", "parked") and self._driver not in ("stopped", "parked", ""):
            self._leave_steering()
        self._driver = driver.state
        self.limits.replace(limit_rows(driver.limits))

    def _show_plan(self, status: StationStatus) -> None:
        """Where the policy means to go, in the pictures of cameras whose place is known, and when it thought so."""
        if self._plan_watch is None:
            return
        self._plan_watch.know(status.cameras)
        plan = self._plan_watch.look()
        self.wall.set_paths(plan.paths if plan is not None else {})
        self.plans.show_plans(plan.history if plan is not None else (), time.monotonic_ns())

    def _show_figures(self, driver: DriverStatus) -> None:
        acting = driver.state in ("driving", "correcting", "holding")
        self.figures["Thinking"].setText(f"{driver.latency_ms:.0f} ms" if driver.latency_ms else "–")
        self.figures["Plan's age"].setText(f"{driver.chunk_age_ms:.0f} ms" if acting and driver.chunk_age_ms else "–")
        self.figures["Tick late (p99)"].setText(f"{driver.lateness_p99_ms:.1f} ms")
        done = {True: t("✔ yes"), False: t("✘ no"), None: t("– not yet") if acting else "–"}
        self.success.setText(done[driver.success])
        reasons = ", ".join(words.guard_reason(reason) for reason in driver.guard_reasons if reason != "no command")
        self.guard.setText(t("▲ Guard: {reasons}", reasons=reasons) if reasons else t("✔ Guard: nothing to limit"))
        self.hints.setText("\n".join(f"▲ {hint}" for hint in driver.hints))
        self.hints.setVisible(bool(driver.hints))

    def situation(self, base: Situation) -> Situation:
        """A model and a task must be chosen."""
        return replace(base, has_model=bool(self.models.currentData()), has_task=bool(self.tasks.currentData()))

    def showEvent(self, event: QShowEvent | None) -> None:  # noqa: N802
        """Models may have been trained meanwhile, and another task chosen."""
        super().showEvent(event)
        self._load_models()
        place = self.tasks.findData(self.desk.task)
        if place >= 0:
            self.tasks.setCurrentIndex(place)

    def hideEvent(self, event: QHideEvent | None) -> None:  # noqa: N802
        """Another page: no more steering from here."""
        if self.desk.actions["drive.correct"].isChecked():
            self._leave_steering()
            self.order(lambda station: station.hold(), lane="urgent")
        super().hideEvent(event)
