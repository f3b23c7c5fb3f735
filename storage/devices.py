"""Which devices takes were recorded with, and how they were calibrated then."""

from __future__ import annotations

import datetime

from sqlalchemy import Label, func, select
from sqlalchemy.orm import Session

from storage.records import CalibrationRecord, DeviceRecord
from storage.tables import CalibrationRow, DeviceRow, EpisodeRow, TakeDeviceRow


def devices(session: Session) -> tuple[DeviceRecord, ...]:
    """Every device that a take knows, by kind and serial number."""
    seen = TakeDeviceRow
    names: dict[int, set[str]] = {}
    for key, name in session.execute(select(seen.device_key, seen.name).distinct()):
        names.setdefault(key, set()).add(name)
    query = (
        select(DeviceRow, func.count(seen.episode_id.distinct()), *_first_and_last())
        .join(seen, seen.device_key == DeviceRow.key)
        .join(EpisodeRow, EpisodeRow.id == seen.episode_id)
        .group_by(DeviceRow.key)
        .order_by(DeviceRow.kind, DeviceRow.serial)
    )
    return tuple(
        DeviceRecord(row.kind, row.serial, tuple(sorted(names[row.key])), takes, _text(first), _text(last))
        for row, takes, first, last in session.execute(query)
    )


def calibrations(session: Session, serial: str | None) -> tuple[CalibrationRecord, ...]:
    """Every calibration that a take carries, of devices with this serial number or of all, oldest first."""
    seen = TakeDeviceRow
    counted = (
        select(seen.calibration_key, func.count(seen.episode_id.distinct()).label("takes"), *_first_and_last())
        .join(EpisodeRow, EpisodeRow.id == seen.episode_id)
        .group_by(seen.calibration_key)
        .subquery()
    )
    query = (
        select(CalibrationRow, DeviceRow, counted.c.takes, counted.c.first)
        .join(DeviceRow, DeviceRow.key == CalibrationRow.device_key)
        .join(counted, counted.c.calibration_key == CalibrationRow.key)
        .order_by(counted.c.first, CalibrationRow.key)
    )
    if serial is not None:
        query = query.where(DeviceRow.serial == serial)
    return tuple(
        CalibrationRecord(device.kind, device.serial, row.intrinsics, row.pose, _text(first), takes)
        for row, device, takes, first in session.execute(query)
    )


def _first_and_last() -> tuple[Label[datetime.datetime], Label[datetime.datetime]]:
    return func.min(EpisodeRow.started_at).label("first"), func.max(EpisodeRow.started_at).label("last")


def _text(at: datetime.datetime) -> str:
    return at.isoformat()
