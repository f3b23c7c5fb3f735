"""What is attached, what could be, and what is missing and why: from the registries of device plug-ins."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hardware.arm import ARMS
from hardware.camera import CAMERAS
from hardware.teleop import TELEOPS
from storage.doctor import examine
from storage.layout import Home
from workbench.core.registry import Plugin
from workbench.services.machine import machine, versions
from workbench.services.settings import Settings

LEAST_FREE_BYTES = 5_000_000_000
DRAW_S = 60.0
_DRAW = """
import mujoco
model = mujoco.MjModel.from_xml_string("<mujoco><worldbody><light/><geom size='1'/></worldbody></mujoco>")
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
renderer = mujoco.Renderer(model, 24, 32)
renderer.update_scene(data)
if not renderer.render().max():
    raise SystemExit("the picture is black")
renderer.close()
"""


@dataclass(frozen=True, slots=True)
class Device:
    """One line of the device list.

    Attributes:
        status: ``attached`` (named in the station's settings or found), ``possible`` (the kind works here),
            ``missing`` (something it needs is absent; ``reason`` says what).
    """

    kind: str
    id: str
    status: str
    reason: str

    def to_json(self) -> dict[str, str]:
        return {"kind": self.kind, "id": self.id, "status": self.status, "reason": self.reason}


@dataclass(frozen=True, slots=True)
class DeviceList:
    cameras: tuple[Device, ...]
    arms: tuple[Device, ...]
    teleops: tuple[Device, ...]

    def to_json(self) -> dict[str, list[dict[str, str]]]:
        return {
            "cameras": [device.to_json() for device in self.cameras],
            "arms": [device.to_json() for device in self.arms],
            "teleops": [device.to_json() for device in self.teleops],
        }


def list_devices(settings: Settings) -> DeviceList:
    """The station's own devices first, then every other kind that is registered. Opens nothing."""
    cameras = [(camera.kind, camera.name) for camera in settings.cameras]
    arms = [(settings.arm.kind, str(settings.arm.options.get("address", settings.arm.kind)))] if settings.arm else []
    teleops = [(settings.teleop.kind, settings.teleop.kind)]
    return DeviceList(_listed(CAMERAS.all(), cameras), _listed(ARMS.all(), arms), _listed(TELEOPS.all(), teleops))


def _listed(plugins: dict[str, Plugin[Any]], chosen: list[tuple[str, str]]) -> tuple[Device, ...]:
    devices = []
    for kind, name in chosen:
        reason = plugins[kind].missing_reason() if kind in plugins else "no plug-in of this kind is installed"
        devices.append(Device(kind, name, "missing" if reason else "attached", reason or "in the station's settings"))
    for kind, plugin in plugins.items():
        if kind not in {used for used, _ in chosen}:
            reason = plugin.missing_reason()
            devices.append(Device(kind, "", "missing" if reason else "possible", reason or plugin.title))
    return tuple(devices)


@dataclass(frozen=True, slots=True)
class Check:
    """One finding of the machine examination; ``advice`` says what to do when it is not ok."""

    name: str
    ok: bool
    found: str
    advice: str = ""

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "ok": self.ok, "found": self.found, "advice": "" if self.ok else self.advice}


def check_machine(home: Home) -> tuple[Check, ...]:
    """Python, off-screen rendering, disk space, display and graphics card, without changing anything."""
    free = home.free_bytes()
    display = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") or sys.platform in ("darwin", "win32")
    python = ".".join(str(part) for part in sys.version_info[:3])
    return (
        Check("python", sys.version_info[:2] == (3, 11), python, "Use Python 3.11"),
        Check("data folder", os.access(home.path, os.W_OK), str(home.path), "Choose another folder with --home"),
        Check("free disk", free > LEAST_FREE_BYTES, f"{free / 1e9:.1f} GB", "Free some space before recording"),
        Check("display", bool(display), str(display or "none"), "Only the window needs one; verbs do not"),
        _rendering(),
        Check("nvidia-smi", True, shutil.which("nvidia-smi") or "none (training runs on the processor)"),
    )


def _rendering() -> Check:
    """Whether the simulated cameras can draw without a display: tried in a process of its own, it may well abort."""
    advice = "Install Mesa's EGL (Debian: apt install libegl1 libgl1-mesa-dri) or set MUJOCO_GL"
    backend = os.environ.get("MUJOCO_GL", "native")
    try:
        done = subprocess.run([sys.executable, "-c", _DRAW], capture_output=True, text=True, timeout=DRAW_S)
    except subprocess.TimeoutExpired:
        return Check("rendering", False, f"{backend}: no picture in {DRAW_S:.0f} s", advice)
    words = (done.stderr.strip().splitlines() or ["it ended without a word"])[-1]
    return Check("rendering", done.returncode == 0, backend if done.returncode == 0 else f"{backend}: {words}", advice)


def examine_all(home_path: Path | None, *, fix: bool) -> dict[str, Any]:
    """Machine, versions and every take on disk; with ``fix`` interrupted takes are finished or put aside."""
    home = Home.open(home_path)
    checks = check_machine(home)
    disk = examine(home, fix)
    return {
        "ok": all(check.ok for check in checks if check.name != "display") and disk.clean,
        "home": str(home.path),
        "checks": [check.to_json() for check in checks],
        "takes": {
            "finished": list(disk.finished),
            "truncated": list(disk.truncated),
            "quarantined": list(disk.quarantined),
            "messages": list(disk.messages),
        },
        "machine": machine(),
        "versions": versions(),
    }
