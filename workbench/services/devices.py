"""What is attached, what could be, and what is missing and why: from the registries of device plug-ins."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hardware.arm import ARMS
from hardware.camera import CAMERAS
from hardware.teleop import TELEOPS
from storage.doctor import examine
from storage.layout import Home
from workbench.core.registry import Found, Plugin, look_all
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
        title: what a person reads.
        options: for a device that was found: the options that choose it, ready for the station's settings.
        chosen: True if the station's settings name it.
    """

    kind: str
    id: str
    status: str
    reason: str
    title: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    chosen: bool = False

    def to_json(self) -> dict[str, Any]:
        plain = {"kind": self.kind, "id": self.id, "status": self.status, "reason": self.reason}
        return {**plain, "title": self.title, "options": self.options, "chosen": self.chosen}


@dataclass(frozen=True, slots=True)
class DeviceList:
    cameras: tuple[Device, ...]
    arms: tuple[Device, ...]
    teleops: tuple[Device, ...]

    def to_json(self) -> dict[str, list[dict[str, Any]]]:
        return {
            "cameras": [device.to_json() for device in self.cameras],
            "arms": [device.to_json() for device in self.arms],
            "teleops": [device.to_json() for device in self.teleops],
        }


@dataclass(frozen=True, slots=True)
class _Entry:
    """A device of the station's settings."""

    kind: str
    id: str
    options: dict[str, Any]


def list_devices(settings: Settings) -> DeviceList:
    """The station's own devices first, then what else is attached, then every kind that works here.

    Searches the buses for at most about two seconds (never on the window's own thread); opens and moves nothing.
    """
    cameras = [_Entry(camera.kind, camera.name, camera.options) for camera in settings.cameras]
    arm, teleop = settings.arm, settings.teleop
    arms = [_Entry(arm.kind, str(arm.options.get("address", arm.kind)), arm.options)] if arm else []
    teleops = [_Entry(teleop.kind, teleop.kind, teleop.options)]
    groups = ((CAMERAS.all(), cameras), (ARMS.all(), arms), (TELEOPS.all(), teleops))
    every = [plugin for plugins, _ in groups for plugin in plugins.values()]
    found = look_all(every)
    return DeviceList(*(_listed(plugins, chosen, found) for plugins, chosen in groups))


def _listed(
    plugins: dict[str, Plugin[Any]], chosen: list[_Entry], found: dict[str, tuple[Found, ...] | None]
) -> tuple[Device, ...]:
    devices = [_chosen(plugins.get(entry.kind), entry, found.get(entry.kind)) for entry in chosen]
    for kind, plugin in plugins.items():
        mine = [entry for entry in chosen if entry.kind == kind]
        free = [one for one in found.get(kind) or () if not any(_is_same(one, entry) for entry in mine)]
        devices += [Device(kind, one.id, "attached", one.reason or "found", one.title, one.options) for one in free]
        if not mine and not free:
            reason = plugin.missing_reason()
            status = "missing" if reason else "possible"
            devices.append(Device(kind, "", status, reason or plugin.title, plugin.title))
    return tuple(devices)


def _chosen(plugin: Plugin[Any] | None, entry: _Entry, found: tuple[Found, ...] | None) -> Device:
    """A device of the settings: missing when its package is, or when a complete search did not see it."""
    if plugin is None:
        return Device(entry.kind, entry.id, "missing", "no plug-in of this kind is installed", chosen=True)
    reason = plugin.missing_reason() or _absence(plugin, entry, found)
    said = reason or next(
        (f"in the station's settings; {one.reason or 'found'}" for one in found or () if _is_same(one, entry)),
        "in the station's settings",
    )
    return Device(entry.kind, entry.id, "missing" if reason else "attached", said, plugin.title, entry.options, True)


def _absence(plugin: Plugin[Any], entry: _Entry, found: tuple[Found, ...] | None) -> str:
    """Why a device that the settings name by its identity is known not to be there, or ""."""
    wanted = str(entry.options.get(plugin.identity, "")) if plugin.identity else ""
    if found is None or not wanted or any(_is_same(one, entry) for one in found):
        return ""
    others = ", ".join(f"{one.title} {one.id}" for one in found)
    return f"no {plugin.title} with {plugin.identity} {wanted} is attached; attached: {others or 'none'}"


def _is_same(one: Found, entry: _Entry) -> bool:
    """Whether a found device is the one of the settings: every option that both name is equal, and there is one."""
    shared = one.options.keys() & entry.options.keys()
    return bool(shared) and all(str(one.options[key]) == str(entry.options[key]) for key in shared)


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
            "mended": list(disk.mended),
            "damaged": list(disk.damaged),
            "untreated": list(disk.untreated),
            "messages": list(disk.messages),
        },
        "machine": machine(),
        "versions": versions(),
    }
