"""Saved calibrations: ``<home>/calibration/<serial>.json``, the newest on top, the older ones under ``history``.

They belong to a camera's serial number, so that ports, names and stations may change without a new one.
"""

from __future__ import annotations

import datetime
import urllib.parse
from pathlib import Path
from typing import Any

import numpy as np

from workbench.core.errors import WorkbenchError
from workbench.core.files import read_json, write_json

FOLDER = "calibration"


class Shelf:
    """The saved calibrations of a data folder."""

    def __init__(self, home: Path) -> None:
        self._folder = home / FOLDER

    def path(self, serial: str) -> Path:
        """The file of a camera, whatever characters its serial has."""
        return self._folder / f"{urllib.parse.quote(serial, safe='')}.json"

    def load(self, serial: str) -> dict[str, Any] | None:
        """The newest calibration of a camera, or None."""
        path = self.path(serial)
        if not serial or not path.exists():
            return None
        try:
            values: dict[str, Any] = read_json(path)
            if np.array(values["pose"], float).shape != (4, 4):
                raise ValueError("its pose is no 4x4 matrix")
        except (ValueError, KeyError, TypeError) as error:
            raise WorkbenchError(f"{path} is damaged ({error})", "Calibrate this camera again") from error
        return values

    def save(self, values: dict[str, Any]) -> None:
        """Put a calibration on top of the camera's older ones."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self.path(values["serial"])
        before = read_json(path) if path.exists() else {}
        older = [{k: v for k, v in before.items() if k != "history"}, *before.get("history", [])] if before else []
        write_json(path, {**values, "history": older})

    def age_days(self, serial: str) -> float | None:
        """How old the calibration is, None if there is none."""
        values = self.load(serial)
        if values is None:
            return None
        then = datetime.datetime.fromisoformat(values["taken_at"])
        return (datetime.datetime.now(datetime.UTC) - then).total_seconds() / 86400

    def apply(self, device: dict[str, Any]) -> dict[str, Any]:
        """A camera's ``CameraInfo`` as plain values, with what is known about its place: for manifests.

        ``pose`` is filled in for cameras that stand still; ``calibration`` says how, when and how well, and holds the
        pose in the tool's frame for cameras at the wrist.
        """
        values = self.load(str(device.get("serial", "")))
        if values is None:
            return device
        short = {name: value for name, value in values.items() if name != "history"}
        pose = values["pose"] if values["mount"] == "base" else device.get("pose")
        return {**device, "pose": pose, "calibration": short}
