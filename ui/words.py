"""Numbers and states in words a person reads at a glance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

_RECORDER = {
    "idle": ("Ready", "○", "idle"),
    "armed": ("Waiting for pictures", "◔", "busy"),
    "recording": ("REC", "●", "bad"),
    "sealing": ("Saving", "◔", "busy"),
    "faulted": ("Fault", "▲", "warn"),
}
_DRIVER = {
    "parked": ("Parked", "○", "idle"),
    "ready": ("Ready", "◇", "busy"),
    "driving": ("Driving", "▶", "good"),
    "holding": ("Holding", "❚❚", "warn"),
    "correcting": ("Correcting", "✋", "busy"),
    "stopped": ("Stopped", "■", "bad"),
}
_JOB = {
    "queued": ("Queued", "◔", "idle"),
    "running": ("Running", "▶", "busy"),
    "done": ("Done", "✔", "good"),
    "failed": ("Failed", "▲", "bad"),
    "cancelled": ("Cancelled", "■", "warn"),
}
_OUTCOME = {"success": ("Success", "✔", "good"), "failure": ("Failure", "✘", "bad"), "unlabelled": ("–", "", "idle")}
_AUTHORITY = {"nobody": "Nobody commands the arm", "operator": "You command the arm", "policy": "The policy drives"}
_KIND = {"human": "Human", "teleop": "Robot", "rollout": "Rollout", "imported": "Imported"}
_CAMERA = {"live": ("live", "●", "good"), "waiting": ("waiting", "◔", "warn"), "offline": ("offline", "▲", "bad")}


@dataclass(frozen=True, slots=True)
class StateWords:
    """A state for people: a word, a symbol and the name of a colour of the theme."""

    word: str
    symbol: str
    colour: str


def _look_up(table: dict[str, tuple[str, str, str]], state: str) -> StateWords:
    return StateWords(*table.get(state, (state.capitalize(), "?", "idle")))


def recorder_state(state: str) -> StateWords:
    """The recorder's state."""
    return _look_up(_RECORDER, state)


def driver_state(state: str) -> StateWords:
    """The driver's state."""
    return _look_up(_DRIVER, state)


STARTING = StateWords("Starting", "◔", "idle")
NOT_RUNNING = StateWords("Not running", "▲", "warn")


def job_state(state: str) -> StateWords:
    """A job's state."""
    return _look_up(_JOB, state)


def camera_state(state: str) -> StateWords:
    """A camera's state."""
    return _look_up(_CAMERA, state)


def outcome(value: str) -> StateWords:
    """A take's label."""
    return _look_up(_OUTCOME, value)


def authority(value: str) -> str:
    """Who commands the arm, as a sentence."""
    return _AUTHORITY.get(value, value)


def kind(value: str) -> str:
    """Where a take came from."""
    return _KIND.get(value, value.capitalize())


def stream(name: str) -> str:
    """A recorded stream."""
    for prefix, noun in (("observation.images.", "camera"), ("observation.depth.", "the depth of camera")):
        if name.startswith(prefix):
            return f"{noun} {name.removeprefix(prefix)}"
    return "the arm" if name == "observation.state" else name


def task(name: str) -> str:
    """``red_cube_to_white_plate`` as a person would write it."""
    return name.replace("_", " ") if name else "no task"


def duration(seconds: float) -> str:
    """``4.2 s``, ``1:05``, ``2:03:10``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def clock_time(seconds: float) -> str:
    """``00:04.2``, for a running counter."""
    minutes, rest = divmod(max(seconds, 0.0), 60)
    return f"{int(minutes):02}:{rest:04.1f}"


def left(seconds: float | None) -> str:
    """How long something will still take, honestly rounded."""
    if seconds is None:
        return "time left unknown"
    if seconds < 90:
        return f"about {max(1, round(seconds))} s left"
    if seconds < 5400:
        return f"about {round(seconds / 60)} min left"
    return f"about {seconds / 3600:.1f} h left"


def size(count: float) -> str:
    """Bytes in the unit that keeps the number short."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def when(started_at: str) -> str:
    """An ISO time in the local time zone: ``22 Nov 14:03``."""
    try:
        moment = datetime.fromisoformat(started_at)
    except ValueError:
        return started_at
    return moment.astimezone().strftime("%d %b %H:%M")


def figure(value: object) -> str:
    """A number with the digits worth reading; anything else as it is."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int) or (float(value).is_integer() and abs(value) < 1e6):
        return f"{int(value)}"
    return f"{value:.3g}"


_LEVEL = {"ok": ("Fine", "✔", "good"), "warn": ("Look at it", "▲", "warn"), "bad": ("Takes would be lost", "✘", "bad")}
_PREFLIGHT = {
    "ok": ("Ready to record", "✔", "good"),
    "warn": ("Ready, but look", "▲", "warn"),
    "bad": ("Do not record", "✘", "bad"),
}
_DEVICE = {
    "attached": ("Attached", "●", "good"),
    "possible": ("Possible", "○", "idle"),
    "missing": ("Missing", "▲", "warn"),
}
LOOKING = StateWords("Looking", "◔", "idle")
_FLAG = {
    "unreadable": "cannot be read",
    "empty": "a stream is empty",
    "slow": "too slow",
    "gaps": "gaps",
    "jitter": "uneven rate",
    "clock_drift": "clock drifts",
    "frozen": "frozen picture",
    "over_exposed": "too bright",
    "under_exposed": "too dark",
    "blurred": "blurred",
    "depth_empty": "hardly any depth",
    "not_finite": "bad numbers",
    "no_motion": "no motion",
    "idle_head": "idle start",
    "idle_tail": "idle end",
    "mostly_still": "mostly still",
    "jerky": "jerky",
    "lag": "lags",
    "short": "very short",
    "length_outlier": "odd length",
    "uncovered": "rows incomplete",
}
_GRAVE = frozenset({"unreadable", "empty", "frozen", "not_finite", "no_motion"})
NOT_CHECKED = StateWords("Not checked", "?", "idle")


_LIMITS = {
    "workspace_min_m": ("Workspace from", "m"),
    "workspace_max_m": ("Workspace to", "m"),
    "tool_speed_m_s": ("Tool speed", "m/s"),
    "gripper_speed_s": ("Gripper speed", "ways/s"),
    "jump_rad": ("Largest jump", "rad"),
    "state_age_s": ("Oldest state", "s"),
    "table_z_m": ("Table height", "m"),
    "self_clearance_m": ("Room between its links", "m"),
    "obstacle_spheres_m": ("Spheres to keep out of", "m"),
    "obstacle_boxes_m": ("Boxes to keep out of", "m"),
    "effort_max": ("Largest effort", ""),
}
_PER_JOINT = ("joint_min_rad", "joint_max_rad", "joint_speed_rad_s", "joint_acceleration_rad_s2")


def limits(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The guard's limits as (what, how much): joint by joint in degrees, then the rest."""
    joints = zip(*(values.get(name) or () for name in _PER_JOINT), strict=False)
    found = [(f"Joint {number}", _joint(*map(float, joint))) for number, joint in enumerate(joints, 1)]
    for name, value in values.items():
        if name not in _PER_JOINT and value is not None:
            title, unit = _LIMITS.get(name, (name.replace("_", " "), ""))
            found.append((title, f"{_plain(value)} {unit}".rstrip()))
    return found


def _joint(low: float, high: float, speed: float, acceleration: float) -> str:
    low, high, speed, acceleration = (math.degrees(value) for value in (low, high, speed, acceleration))
    return f"{low:.0f}° to {high:.0f}°, {speed:.0f} °/s, {acceleration:.0f} °/s²"


def _plain(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(f"({_plain(item)})" if isinstance(item, list | tuple) else _plain(item) for item in value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def level(value: str) -> StateWords:
    """How bad a finding is."""
    return _look_up(_LEVEL, value)


def preflight_state(value: str) -> StateWords:
    """What the worst finding means for the next take."""
    return _look_up(_PREFLIGHT, value)


def device_state(value: str) -> StateWords:
    """Whether a device is there."""
    return _look_up(_DEVICE, value)


def flag(name: str) -> str:
    """A quality flag."""
    return _FLAG.get(name, name.replace("_", " "))


def quality(flags: Sequence[str], checked: bool) -> StateWords:
    """What the quality check says of a take, in one cell."""
    if not flags:
        return StateWords("Fine", "✔", "good") if checked else NOT_CHECKED
    grave = [name for name in flags if name in _GRAVE]
    worst = (grave or list(flags))[0]
    more = f" +{len(flags) - 1}" if len(flags) > 1 else ""
    return StateWords(flag(worst).capitalize() + more, "✘" if grave else "▲", "bad" if grave else "warn")


def count(number: int, noun: str) -> str:
    """``1 take``, ``1 200 takes``."""
    return f"{number:,} {noun}".replace(",", "\u2009") + ("" if number == 1 else "s")


@dataclass(frozen=True, slots=True)
class StageWords:
    """A training stage for people: its name, what it is for, which kinds of takes it learns from."""

    title: str
    purpose: str
    kinds: tuple[str, ...]


STAGES: dict[str, StageWords] = {
    "act_vae": StageWords("Act-VAE", "Learns the vocabulary of movements from robot takes.", ("teleop", "imported")),
    "vd_vae": StageWords(
        "Alignment", "Learns to read those movements from video, people's hands included.", ("teleop", "human")
    ),
    "ntp": StageWords("CLAP-NTP", "Learns which movement follows, from robot and human takes.", ("teleop", "human")),
    "rf": StageWords("CLAP-RF", "Learns to move smoothly and in real time; this one drives.", ("teleop", "human")),
}
FINETUNE = "finetune"
PRESETS: dict[str, str] = {
    "station": "Full training for this machine",
    "quick": "A few minutes, to see where it goes",
    "tiny": "Seconds, only to try the steps",
}


def stage(name: str) -> str:
    """A training stage's name."""
    return STAGES[name].title if name in STAGES else "Fine-tuning" if name == FINETUNE else name
