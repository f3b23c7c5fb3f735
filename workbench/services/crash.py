"""Reports of what nobody expected: one text file per failure in ``<home>/logs``, fit to be sent to somebody.

A report holds versions, machine, traceback, the newest notices and the settings; nothing secret. Hooks that catch the
failures belong to the program that installs them (``ui.crash``).
"""

from __future__ import annotations

import json
import os
import re
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import psutil

from workbench.core.files import write_atomic
from workbench.services.machine import command_line, machine, versions
from workbench.services.notices import FOLDER, NoticeLog
from workbench.services.settings import Settings
from workbench.services.station_core import StationStatus

_KEPT_REPORTS = 20
_QUOTED = 30
_AGAIN_S = 60.0
_MASK = "***"
_NAMED = re.compile(
    r"(?i)\b([\w-]*(?:token|password|passwd|secret|api[_-]?key)[\w-]*[\"']?\s*[=:]\s*)([\"']?)[^\s\"',}\]]+"
)
_IN_ADDRESS = re.compile(r"(\b\w[\w+.-]*://)[^/\s@\"']+@")
_QUERY = re.compile(r"(\b\w[\w+.-]*://[^\s\"'?]+\?)[^\s\"']+")


def without_secrets(text: str, settings: Settings | None = None) -> str:
    """``text`` with tokens, passwords and what stands before @ in addresses masked."""
    secret = settings.policy.token.get_secret_value() if settings is not None else ""
    if secret:
        text = text.replace(secret, _MASK)
    text = _QUERY.sub(rf"\1{_MASK}", _IN_ADDRESS.sub(rf"\1{_MASK}@", text))
    return _NAMED.sub(rf"\1\2{_MASK}", text)


def about_station(home: Path, settings: Settings | None = None, status: StationStatus | None = None) -> str:
    """Versions, machine, devices and settings as text without secrets, for a report. Takes a tenth of a second."""
    parts = [
        _part("CLAP Workbench", {"command": command_line(), "data folder": str(home), **versions()}),
        _part("Machine", machine()),
        _part("Devices", _devices(status)),
    ]
    if settings is not None:
        parts.append("Settings\n" + json.dumps(settings.plain(), indent=2, ensure_ascii=False))
    return without_secrets("\n\n".join(part for part in parts if part), settings)


class CrashReports:
    """Writes reports, the same failure at most once a minute. Any thread.

    Attributes:
        settings: those of the running station, once they are known.
    """

    def __init__(self, home: Path, notices: NoticeLog) -> None:
        self.folder = home / FOLDER
        self.settings: Settings | None = None
        self._home, self._notices = home, notices
        self._lock = threading.Lock()
        self._written_s: dict[str, float] = {}

    def is_new(self, place: str) -> bool:
        """False for a failure at the same place within a minute: a slot that fails ten times a second is one report."""
        now_s = time.monotonic()
        with self._lock:
            if now_s - self._written_s.get(place, -_AGAIN_S) < _AGAIN_S:
                return False
            self._written_s[place] = now_s
            return True

    def write(self, what: str, details: str) -> Path:
        """Write one report; returns where it lies. OSError where the disk refuses.

        Args:
            what: one line: the failure.
            details: the traceback.
        """
        quoted = "\n\n".join(notice.words() for notice in self._notices.newest()[:_QUOTED])
        about = about_station(self._home, self.settings)
        text = f"{what}\n\n{details.strip()}\n\nNewest notices\n\n{quoted or 'none'}\n\n{about}\n"
        with self._lock:
            path = self._free_name()
            write_atomic(path, without_secrets(text, self.settings).encode(errors="replace"))
            self._forget_old()
        return path

    def open_faults(self) -> IO[str]:
        """A file for ``faulthandler``: what it holds when this process is gone becomes a report of the next start."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return open(self.folder / f"faults-{os.getpid()}.txt", "w", encoding="utf-8")

    def collect_faults(self) -> tuple[Path, ...]:
        """Turn what dead processes left into reports; returns them."""
        found = []
        for path in sorted(self.folder.glob("faults-*.txt")):
            pid = path.stem.removeprefix("faults-")
            if pid.isdigit() and (int(pid) == os.getpid() or not psutil.pid_exists(int(pid))):
                words = path.read_text(encoding="utf-8", errors="replace").strip()
                if words:
                    found.append(self.write("the window's process ended abruptly", words))
                path.unlink(missing_ok=True)
        return tuple(found)

    def _free_name(self) -> Path:
        while (path := self.folder / f"crash-{datetime.now(UTC):%Y%m%dT%H%M%S-%f}.txt").exists():
            pass  # a microsecond later it is free
        return path

    def _forget_old(self) -> None:
        reports = sorted(self.folder.glob("crash-*.txt"), key=lambda path: (path.stat().st_mtime_ns, path.name))
        for path in reports[:-_KEPT_REPORTS]:
            path.unlink(missing_ok=True)


def _devices(status: StationStatus | None) -> dict[str, object]:
    if status is None:
        return {}
    found: dict[str, object] = {}
    for camera in status.cameras:
        info = camera.info
        who = f"{info.title or info.kind} {info.serial} {info.firmware} {info.usb}" if info is not None else "unknown"
        trouble = f" {camera.error}" if camera.error else ""
        found[f"camera {camera.name}"] = f"{camera.state} {camera.fps:.1f} fps, {camera.drops} dropped, {who}{trouble}"
    found["arm"] = f"{status.driver.state} {status.driver.reason} {status.driver.device}".strip()
    found["free disk"] = f"{status.free_bytes / 1e9:.1f} GB"
    return found


def _part(title: str, values: dict[str, object]) -> str:
    return "\n".join([title, *(f"  {name}: {value}" for name, value in values.items())]) if values else ""
