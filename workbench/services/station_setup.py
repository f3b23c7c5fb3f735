"""Proposes a station's settings from what is attached, and writes them when a person agrees.

What the present settings say is kept. Limits are never filled in: the arm's maker's figures are written as a comment,
because only a person who knows the table, the people and the tool can say how far and how fast this arm may move.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hardware.arm import ARMS, Limits
from workbench.core.errors import WorkbenchError
from workbench.core.files import write_atomic
from workbench.services.devices import Device, DeviceList
from workbench.services.settings import FILE_NAME, ArmSettings, CameraSettings, Settings, load_settings

_NAMES = ("front", "wrist", "side", "top")
_BARE = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Proposal:
    """Settings as they could be.

    Attributes:
        text: the whole ``station.toml``, comments included.
        notes: what was found, changed or left out, one sentence each.
        changed: whether it differs from the present settings.
    """

    settings: Settings
    text: str
    notes: tuple[str, ...]
    changed: bool


def propose(present: Settings, found: DeviceList) -> Proposal:
    """The present settings with what is attached and not yet named. The simulated station gives way to real devices.

    A camera whose serial number is gone is replaced by an unnamed one of its kind, under the same name.
    """
    notes: list[str] = []
    base = present
    real = [device for device in (*found.cameras, *found.arms) if _is_free(device)]
    if present.simulated and real:
        base = Settings(station="my-station", operator=present.operator, teleop=present.teleop)
        notes.append("real devices are attached: they take the place of the simulated station")
    cameras = tuple(_cameras(base, found.cameras, notes))
    arm = _arm(base, found.arms, notes)
    settings = base.model_copy(update={"cameras": cameras, "arm": arm})
    if not real:
        notes.append("nothing is attached that the settings do not name already")
    if arm is not None and settings.limits is None:
        notes.append("the arm stays parked until [limits] are written; the maker's figures stand there as a comment")
    if not settings.tasks and not settings.simulated:
        notes.append("there is no task yet: add [[tasks]] with the sentences that people would say")
    return Proposal(settings, to_toml(settings), tuple(notes), settings != present)


def write(home: Path, proposal: Proposal) -> Path | None:
    """Write ``station.toml``; returns where the file that was there before is kept, None if there was none.

    WorkbenchError if the text would not be read back as the same settings, or the disk refuses.
    """
    path = home / FILE_NAME
    kept = None
    try:
        if path.exists():
            stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
            kept = path.with_name(f"{FILE_NAME}.before-{stamp}")
            write_atomic(kept, path.read_bytes())
        write_atomic(path, proposal.text.encode())
        if load_settings(home) != proposal.settings:
            raise WorkbenchError("the settings would be read back differently", "Write station.toml by hand")
    except (OSError, WorkbenchError) as error:
        if kept is not None and kept.exists():
            write_atomic(path, kept.read_bytes())
        raise WorkbenchError(f"{path} could not be written ({error})", "Check the data folder") from error
    return kept


def to_toml(settings: Settings) -> str:
    """The settings as TOML, defaults left out; ``load_settings`` reads the same back."""
    plain = settings.model_dump(mode="json", exclude_defaults=True)
    return "\n".join([*_table(plain, ""), *(_limits_comment(settings) if settings.limits is None else ())]) + "\n"


def _is_free(device: Device) -> bool:
    return device.status == "attached" and not device.chosen and bool(device.options)


def _cameras(base: Settings, found: Sequence[Device], notes: list[str]) -> Iterator[CameraSettings]:
    free = [device for device in found if _is_free(device)]
    gone = {device.id for device in found if device.chosen and device.status == "missing"}
    for camera in base.cameras:
        same = next((device for device in free if device.kind == camera.kind), None)
        if camera.name in gone and same is not None:
            free.remove(same)
            notes.append(
                f"camera '{camera.name}' is gone: {same.title} {same.id} takes its place and wants calibrating"
            )
            yield camera.model_copy(update={"options": {**camera.options, **same.options}})
        else:
            yield camera
    taken = {camera.name for camera in base.cameras}
    for device in free:
        name = next((name for name in _NAMES if name not in taken), f"camera{len(taken) + 1}")
        taken.add(name)
        notes.append(f"{device.title} {device.id} becomes camera '{name}'; rename it as you like before recording")
        yield CameraSettings(name=name, kind=device.kind, options=device.options)


def _arm(base: Settings, found: Sequence[Device], notes: list[str]) -> ArmSettings | None:
    free = [device for device in found if _is_free(device)]
    if base.arm is not None or not free:
        return base.arm
    notes.append(f"{free[0].title} {free[0].id} becomes the arm")
    notes += [f"{device.title} {device.id} is left out: a station has one arm" for device in free[1:]]
    return ArmSettings(kind=free[0].kind, options=free[0].options)


def _table(values: Mapping[str, Any], path: str) -> Iterator[str]:
    """A TOML table's lines: plain values first, then its tables and lists of tables."""
    later = {key: value for key, value in values.items() if _is_table(value) and key != "options"}
    for key, value in values.items():
        if key not in later and value is not None:
            yield f"{_key(key)} = {_value(value)}"
    for key, value in later.items():
        where = f"{path}{_key(key)}"
        for entry in value if isinstance(value, list) else [value]:
            yield ""
            yield f"[[{where}]]" if isinstance(value, list) else f"[{where}]"
            yield from _table(entry, f"{where}.")


def _is_table(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and bool(value) and isinstance(value[0], dict))


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(k)} = {_value(v)}" for k, v in value.items() if v is not None) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    return _text(value)


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _text(key)


def _text(value: Any) -> str:
    """A text, number or truth value: TOML writes them as JSON does, but for one character."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _limits_comment(settings: Settings) -> Iterator[str]:
    """The maker's figures, commented out."""
    if settings.arm is None:
        return
    yield "\n# Without limits the arm stays parked. Below are figures of its maker, not of your table: correct them,"
    yield "# above all the workspace, then remove the marks in front."
    try:
        limits: Limits = ARMS.build(settings.arm.kind, **settings.arm.options).suggested_limits()
    except WorkbenchError as error:
        yield f"# (no figures: {error})".replace("\n", " ")
        return
    yield "# [limits]"
    for name in limits.__dataclass_fields__:
        value = getattr(limits, name)
        if value is not None:
            yield f"# {name} = {_value(value)}"
