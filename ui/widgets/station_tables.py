"""The tables of the station page: findings, cameras, devices, limits. Words and signs only; nothing can be edited."""

from __future__ import annotations

from dataclasses import dataclass

from ui import words
from ui.theme import Theme
from ui.translate import mark, t
from ui.widgets.rows import Column, RowsModel
from workbench.services.camera_watch import Look
from workbench.services.capture import CameraStatus
from workbench.services.devices import Device, DeviceList
from workbench.services.overview import Finding, Place

_ORDER = ("bad", "warn", "ok")


@dataclass(frozen=True, slots=True)
class CameraRow:
    """One camera: its status, its nominal rate, where it stands and whether it has moved (None: not known yet)."""

    status: CameraStatus
    nominal_hz: float
    place: Place | None = None
    look: Look | None = None


@dataclass(frozen=True, slots=True)
class DeviceRow:
    """One device and what it is for."""

    group: str
    device: Device


def finding_rows(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """The worst first."""
    return tuple(sorted(findings, key=lambda finding: _ORDER.index(finding.level)))


def findings_model(theme: Theme) -> RowsModel[Finding]:
    """What was looked at before the next take."""
    columns: tuple[Column[Finding], ...] = (
        Column("", lambda f: words.level(f.level).symbol, 34, lambda f: words.level(f.level).colour),
        Column(t("Looked at"), lambda f: f.name, 150),
        Column(t("Found"), lambda f: f.found),
    )
    return RowsModel(theme, columns, lambda f: f.name, lambda f: finding_sentence(f))


def finding_sentence(finding: Finding) -> str:
    """The finding with what to do about it."""
    fix = f"\n{finding.fix}." if finding.fix else ""
    return f"{finding.name[:1].upper()}{finding.name[1:]}: {finding.found}.{fix}"


def cameras_model(theme: Theme) -> RowsModel[CameraRow]:
    """Health of the cameras."""
    columns: tuple[Column[CameraRow], ...] = (
        Column(t("Camera"), lambda row: row.status.name, 82),
        Column(t("State"), lambda row: _sign(words.camera_state(row.status.state)), 78,
               lambda row: words.camera_state(row.status.state).colour),
        Column(t("Rate"), _rate, 126, lambda row: "warn" if is_slow(row) else ""),
        Column(t("Lost"), lambda row: str(row.status.drops), 54, lambda row: "warn" if row.status.drops else ""),
        Column(t("Clock"), lambda row: row.status.clock_domain or "–", 70),
        Column(t("USB"), lambda row: (row.status.info.usb if row.status.info else "") or "–", 52),
        Column("°C", lambda row: "–" if row.status.temperature_c is None else f"{row.status.temperature_c:.0f}", 40),
        Column(t("Place"), _stands, 0, _stands_colour),
    )  # fmt: skip
    return RowsModel(theme, columns, lambda row: row.status.name, camera_sentences)


def is_slow(row: CameraRow) -> bool:
    """Delivers, but at less than nine tenths of its rate."""
    return row.status.state == "live" and 0 < row.status.fps < 0.9 * row.nominal_hz


def camera_sentences(row: CameraRow) -> str:
    """Everything about one camera."""
    status, info = row.status, row.status.info
    lines = []
    if info is not None:
        firmware = ", " + t("firmware {version}", version=info.firmware) if info.firmware else ""
        size = f", {status.width} x {status.height}"
        serial = t("serial number {number}", number=info.serial or t("unknown"))
        lines.append(f"{info.title or info.kind}, {serial}{firmware}{size}")
    if status.error:
        lines.append(f"▲ {status.error}")
    lines += [f"▲ {warning}" for warning in status.warnings]
    if row.place is not None:
        lines.append(f"{words.level(row.place.level).symbol} " + t("Place: {words}", words=row.place.found))
        if row.place.fix:
            lines.append(row.place.fix)
    if row.look is not None:
        lines.append(look_sentence(row.look))
    return "\n".join(lines)


def look_sentence(look: Look) -> str:
    """Whether a camera has moved."""
    found = look.comparison
    if look.new:
        return t("✔ This picture is the reference now")
    if found.verdict == "moved":
        return t(
            "▲ It has moved: {px} px, {turn}°. Put it back or calibrate again",
            px=f"{found.distance_px:.1f}",
            turn=f"{found.turn_deg:.2f}",
        )
    if found.verdict == "ok":
        return t("✔ It stands as before")
    return t("? Cannot tell: {reason}", reason=found.reason)


def devices_model(theme: Theme) -> RowsModel[DeviceRow]:
    """What is attached and what could be."""
    columns: tuple[Column[DeviceRow], ...] = (
        Column("", lambda row: words.device_state(row.device.status).symbol, 34,
               lambda row: words.device_state(row.device.status).colour),
        Column(t("Device"), _device, 208),
        Column(t("As"), lambda row: t(row.group), 82),
        Column("", lambda row: f"{words.device_state(row.device.status).word}: {row.device.reason}".rstrip(": ")),
    )  # fmt: skip
    return RowsModel(
        theme, columns, lambda row: f"{row.group}/{row.device.kind}/{row.device.id}", lambda row: row.device.reason
    )


def device_rows(devices: DeviceList) -> tuple[DeviceRow, ...]:
    """What the settings name first, then what else is there, then what could be."""
    groups = ((mark("camera"), devices.cameras), (mark("arm"), devices.arms), (mark("steering"), devices.teleops))
    rows = [DeviceRow(group, device) for group, found in groups for device in found]
    order = {"attached": 1, "missing": 2, "possible": 3}
    return tuple(sorted(rows, key=lambda row: 0 if row.device.chosen else order.get(row.device.status, 4)))


def limits_model(theme: Theme) -> RowsModel[tuple[str, str]]:
    """The guard's limits."""
    columns: tuple[Column[tuple[str, str]], ...] = (
        Column(t("Limit"), lambda row: row[0], 176),
        Column(t("Of the arm"), lambda row: row[1]),
    )
    return RowsModel(theme, columns, lambda row: row[0], lambda row: f"{row[0]}: {row[1]}")


def _device(row: DeviceRow) -> str:
    device = row.device
    title, own = device.title or device.kind, "" if device.id == device.kind else device.id
    return f"{title} {own}".rstrip()


def _rate(row: CameraRow) -> str:
    rate = t("{rate} of {nominal} Hz", rate=f"{row.status.fps:.1f}", nominal=f"{row.nominal_hz:.4g}")
    return f"▲ {rate}" if is_slow(row) else rate


def _stands(row: CameraRow) -> str:
    if row.look is not None and row.look.comparison.verdict == "moved":
        return t("▲ has moved")
    if row.place is None:
        return "–"
    return f"{words.level(row.place.level).symbol} {row.place.found}"


def _stands_colour(row: CameraRow) -> str:
    if row.look is not None and row.look.comparison.verdict == "moved":
        return "warn"
    return words.level(row.place.level).colour if row.place is not None else ""


def _sign(state: words.StateWords) -> str:
    return f"{state.symbol} {state.word}"
