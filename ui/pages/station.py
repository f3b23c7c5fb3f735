"""The station: what is attached, how it is, what could spoil the next take, and its settings."""

from __future__ import annotations

from dataclasses import replace

from PyQt6.QtCore import Qt
from PyQt6.QtGui import QShowEvent
from PyQt6.QtWidgets import QHBoxLayout, QStackedWidget, QVBoxLayout, QWidget

from ui import words
from ui.actions import Situation
from ui.desk import Desk
from ui.pages.page import Page, card, label, row
from ui.translate import t
from ui.widgets.badge import StateBadge
from ui.widgets.button import CommandButton
from ui.widgets.proposal import ProposalPanel
from ui.widgets.rows import RowsTable
from ui.widgets.station_tables import (
    CameraRow,
    camera_sentences,
    cameras_model,
    device_rows,
    devices_model,
    finding_rows,
    finding_sentence,
    findings_model,
    limits_model,
)
from workbench.core.errors import WorkbenchError
from workbench.services.camera_watch import Look, check_running
from workbench.services.capture import CameraStatus
from workbench.services.driver_status import DriverStatus
from workbench.services.overview import Overview, Place, is_first_run, look_over, places
from workbench.services.settings import Settings
from workbench.services.station import StationStatus
from workbench.services.station_setup import write

_LANE = "look"


class StationPage(Page):
    """Left: what could spoil a take and what is attached. Right: cameras, arm, limits. Nothing here moves the arm."""

    name = "station"

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        theme = desk.theme
        self.badge = StateBadge(t("Before the next take"), theme)
        self.findings = findings_model(theme)
        self.cameras = cameras_model(theme)
        self.devices = devices_model(theme)
        self.limits = limits_model(theme)
        self.findings_table = RowsTable(self.findings, theme, t("What was looked at"))
        self.cameras_table = RowsTable(self.cameras, theme, t("Cameras"))
        self.devices_table = RowsTable(self.devices, theme, t("Devices"))
        self.limits_table = RowsTable(self.limits, theme, t("Limits of the arm, read only"))
        self.fix = label("", wrap=True)
        self.camera_words = label("", "dim", wrap=True)
        self.arm_words = label("", wrap=True)
        self.steering_words = label("", "dim", wrap=True)
        self.proposal = ProposalPanel(desk.actions)
        self.look_over = look_over
        self._overview: Overview | None = None
        self._places: dict[str, Place] = {}
        self._looks: dict[str, Look] = {}
        self._known: tuple[object, ...] = ()
        self._cameras: tuple[CameraStatus, ...] = ()
        self._looking = self._offered = False
        self._build()
        self.late = (self.cameras_table, self.devices_table, self.limits_table)
        self._bind()
        self.badge.show_state(words.LOOKING, "", t("Nothing has been looked at yet"))

    # layout ---------------------------------------------------------------------------------------------------------

    def _build(self) -> None:
        overview = QWidget()
        columns = QHBoxLayout(overview)
        columns.setContentsMargins(0, 0, 0, 0)
        columns.setSpacing(12)
        columns.addLayout(self._left(), 10)
        columns.addLayout(self._right(), 11)
        self._stack = QStackedWidget()
        self._stack.addWidget(overview)
        self._stack.addWidget(self.proposal)
        self.body.addWidget(self._stack, 1)

    def _left(self) -> QVBoxLayout:
        column = QVBoxLayout()
        column.setSpacing(8)
        column.addWidget(self.badge)
        actions = self.desk.actions
        column.addLayout(row(CommandButton(actions, "station.look"), CommandButton(actions, "station.propose")))
        column.addWidget(self.findings_table, 5)
        frame, inside = card(padding=10)
        self.fix.setMinimumHeight(44)
        self.fix.setAlignment(Qt.AlignmentFlag.AlignTop)
        inside.addWidget(self.fix)
        column.addWidget(frame)
        column.addWidget(self.devices_table, 4)
        return column

    def _right(self) -> QVBoxLayout:
        column = QVBoxLayout()
        column.setSpacing(8)
        self.cameras_table.setMinimumHeight(104)
        column.addWidget(self.cameras_table, 3)
        frame, inside = card(padding=10)
        self.camera_words.setMinimumHeight(62)
        self.camera_words.setAlignment(Qt.AlignmentFlag.AlignTop)
        inside.addWidget(self.camera_words)
        actions = self.desk.actions
        inside.addLayout(row(CommandButton(actions, "station.moved"), CommandButton(actions, "station.remember")))
        column.addWidget(frame)
        frame, inside = card(padding=10)
        inside.addWidget(self.arm_words)
        inside.addWidget(self.steering_words)
        column.addWidget(frame)
        column.addWidget(self.limits_table, 4)
        column.addWidget(CommandButton(actions, "station.restart"))
        return column

    def _bind(self) -> None:
        self.findings_table.on_chosen(self._show_fix)
        self.cameras_table.on_chosen(self._show_camera)
        bind = self.desk.actions.bind
        bind("station.look", self.look)
        bind("station.moved", lambda: self._compare(remember=False))
        bind("station.remember", lambda: self._compare(remember=True))
        bind("station.propose", self._propose)
        bind("station.agree", self._agree)
        bind("station.leave", lambda: self._show_proposal(None))

    # looking --------------------------------------------------------------------------------------------------------

    def station_started(self) -> None:
        """Devices, limits and tasks are known."""
        self._looks.clear()
        self._known = ()
        station = self.desk.station
        if station is not None:
            self._show_limits(station.settings)
        self.look()

    def station_waits(self, state: words.StateWords, hint: str) -> None:
        """Say so; why it did not start is looked for at once."""
        self._cameras = ()
        self.cameras.replace(())
        self.camera_words.setText(f"{state.symbol} {hint}")
        self.arm_words.setText(f"{state.symbol} " + t("Arm: {words}", words=hint))
        self.steering_words.setText("")
        if state == words.NOT_RUNNING:
            self.look()

    def showEvent(self, event: QShowEvent | None) -> None:  # noqa: N802
        """Look once if nobody has."""
        super().showEvent(event)
        if self._overview is None:
            self.look()

    def look(self) -> None:
        """Search the devices and judge the station, in the background."""
        if self._looking:
            return
        self._looking = True
        self.badge.show_state(words.LOOKING, "", t("Devices, disk, memory, cameras, calibration"))
        station = self.desk.station if self.desk.running else None
        home, work = self.desk.home, self.look_over
        self.desk.bridge.run_in_background(lambda: work(home, station), self._looked, self._not_looked, lane=_LANE)

    def _looked(self, overview: Overview) -> None:
        self._looking = False
        self._overview = overview
        self._known = ()  # places may have been calibrated since
        bad = [finding for finding in overview.findings if finding.level != "ok"]
        detail = finding_rows(tuple(bad))[0].found if bad else t("{n} things looked at", n=len(overview.findings))
        figure = t("{n} of {all}", n=len(bad), all=len(overview.findings)) if bad else ""
        self.badge.show_state(words.preflight_state(overview.level), figure, detail)
        if self.findings.replace(finding_rows(overview.findings)):
            self.findings_table.selectRow(0)
        self._show_fix()
        self.devices.replace(device_rows(overview.devices))
        self._show_limits(overview.settings)
        self._offer(overview)

    def _not_looked(self, error: WorkbenchError) -> None:
        self._looking = False
        self.badge.show_state(words.preflight_state("bad"), "", error.what)
        self.notice.error(error)

    def _show_fix(self) -> None:
        chosen = self.findings_table.chosen()
        self.fix.setText(finding_sentence(self.findings.records[chosen[0]]) if chosen else "")

    def _show_limits(self, settings: Settings) -> None:
        limits = settings.limits.model_dump() if settings.limits is not None else {}
        nothing = [(t("None"), t("the arm stays parked until station.toml has a section [limits]"))]
        self.limits.replace(
            words.limits(limits) or (nothing if settings.arm is not None else [(t("None"), t("no arm"))])
        )

    # cameras and arm ------------------------------------------------------------------------------------------------

    def show_status(self, status: StationStatus) -> None:
        """Rates, states and what the arm says."""
        self._cameras = status.cameras
        self._load_places()
        self._show_cameras()
        self._show_arm(status.driver)

    def _load_places(self) -> None:
        """Where the cameras stand, read again when other cameras deliver or somebody has looked again."""
        known = tuple(camera.info.serial if camera.info else None for camera in self._cameras)
        if known == self._known:
            return
        self._known = known
        home, cameras = self.desk.home, self._cameras

        def come(found: tuple[Place, ...]) -> None:
            self._places = {place.camera: place for place in found}
            self._show_cameras()

        self.desk.bridge.run_in_background(lambda: places(home, cameras), come, self.notice.error, lane=_LANE)

    def _show_cameras(self) -> None:
        rates = self._nominal_hz()
        rows = [
            CameraRow(camera, rates.get(camera.name, 0.0), self._places.get(camera.name), self._looks.get(camera.name))
            for camera in (replace(camera, fps=round(camera.fps, 1)) for camera in self._cameras)
        ]
        if self.cameras.replace(rows) and rows:
            self.cameras_table.selectRow(0)
        self._show_camera()

    def _nominal_hz(self) -> dict[str, float]:
        prefix, station = "observation.images.", self.desk.station
        streams = station.streams if station is not None else {}
        return {name.removeprefix(prefix): spec.rate_hz for name, spec in streams.items() if name.startswith(prefix)}

    def _show_camera(self) -> None:
        chosen = self.cameras_table.chosen()
        if chosen:
            self.camera_words.setText(camera_sentences(self.cameras.records[chosen[0]]))
        elif self.desk.running:
            self.camera_words.setText(t("This station has no camera"))

    def _show_arm(self, driver: DriverStatus) -> None:
        station = self.desk.station
        settings = station.settings if station is not None else None
        if settings is None or settings.arm is None:
            self.arm_words.setText(t("Arm: none in the settings"))
        else:
            state = words.driver_state(driver.state)
            reason = f": {driver.reason}" if driver.reason else ""
            latched = " " + t("The stop is kept until a person clears it.") if driver.latched else ""
            said = t("Arm ({kind}): {state}", kind=settings.arm.kind, state=state.word.lower())
            self.arm_words.setText(f"{state.symbol} {said}{reason}.{latched}")
        teleop = settings.teleop.kind if settings is not None else "none"
        self.steering_words.setText(f"{t('Steered by: {device}.', device=teleop)} {driver.device}".strip())

    def _compare(self, *, remember: bool) -> None:
        def work_done(looks: list[Look]) -> None:
            self._looks = {look.camera: look for look in looks}
            self._show_cameras()
            fresh = remember or all(look.new for look in looks)
            moved, unclear = (
                [look.camera for look in looks if not look.new and look.comparison.verdict == verdict]
                for verdict in ("moved", "unknown")
            )
            if moved:
                self.notice.warn(
                    t("moved: {cameras}", cameras=", ".join(moved)),
                    t("Put the camera back, or calibrate again and remember"),
                )
            elif unclear and not remember:
                self.notice.warn(
                    t("Nobody can tell whether these have moved: {cameras}", cameras=", ".join(unclear)),
                    t("Compare the picture with the room yourself, then press They stand right"),
                )
            else:
                self.notice.done(t("The present pictures are the references") if fresh else t("No camera has moved"))

        self.order(
            lambda station: check_running(station, remember=remember),
            work_done,
            lane=_LANE,
            busy=t("Comparing pictures"),
        )

    # settings -------------------------------------------------------------------------------------------------------

    def _offer(self, overview: Overview) -> None:
        """On the first run, with real devices attached: show the settings they would make, once."""
        if self._offered or not overview.proposal.changed or not is_first_run(self.desk.home):
            return
        self._offered = True
        self._show_proposal(overview)
        self.desk.go(self.name, "")

    def _propose(self) -> None:
        if self._overview is not None:
            self._show_proposal(self._overview)

    def _show_proposal(self, overview: Overview | None) -> None:
        self.proposal.show_proposal(overview.proposal if overview is not None else None)
        self._stack.setCurrentIndex(0 if overview is None else 1)
        (self.proposal.text if overview is not None else self.findings_table).setFocus()

    def _agree(self) -> None:
        home, proposal = self.desk.home, self.proposal.proposal
        if proposal is not None:
            self.ask(_LANE, lambda: write(home, proposal), lambda _kept: self._written())

    def _written(self) -> None:
        self._show_proposal(None)
        self.notice.warn(
            t("The settings are written to station.toml"),
            t("Restart the station to use them (Ctrl+F5, or F5 while it is not running)"),
        )
        self.look()

    def situation(self, base: Situation) -> Situation:
        """Whether there is something to look at or to agree to."""
        live = any(camera.state == "live" for camera in self._cameras)
        looking = self._looking or self._overview is None
        return replace(base, cameras=live, looking=looking, proposal=self.proposal.state)
