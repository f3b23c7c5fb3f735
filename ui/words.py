"""Numbers and states in words a person reads at a glance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from ui.translate import forms, mark, t, tn

_RECORDER = {
    "idle": (mark("Ready"), "○", "idle"),
    "armed": (mark("Waiting for pictures"), "◔", "busy"),
    "recording": (mark("REC"), "●", "bad"),
    "sealing": (mark("Saving"), "◔", "busy"),
    "faulted": (mark("Fault"), "▲", "warn"),
}
_DRIVER = {
    "parked": (mark("Parked"), "○", "idle"),
    "ready": (mark("Ready"), "◇", "busy"),
    "driving": (mark("Driving"), "▶", "good"),
    "holding": (mark("Holding"), "❚❚", "warn"),
    "correcting": (mark("Correcting"), "✋", "busy"),
    "stopped": (mark("Stopped"), "■", "bad"),
}
_JOB = {
    "queued": (mark("Queued"), "◔", "idle"),
    "running": (mark("Running"), "▶", "busy"),
    "paused": (mark("Paused"), "❚❚", "warn"),
    "done": (mark("Done"), "✔", "good"),
    "failed": (mark("Failed"), "▲", "bad"),
    "cancelled": (mark("Cancelled"), "■", "warn"),
}
_OUTCOME = {
    "success": (mark("Success"), "✔", "good"),
    "failure": (mark("Failure"), "✘", "bad"),
    "unlabelled": (mark("–"), "", "idle"),
}
_AUTHORITY = {
    "nobody": mark("Nobody commands the arm"),
    "operator": mark("You command the arm"),
    "policy": mark("The policy drives"),
}
_KIND = {"human": mark("Human"), "teleop": mark("Robot"), "rollout": mark("Rollout"), "imported": mark("Imported")}
_STREAMS = (
    ("observation.images.", mark("camera {camera}")),
    ("observation.depth.", mark("the depth of camera {camera}")),
)
_CAMERA = {
    "live": (mark("live"), "●", "good"),
    "waiting": (mark("waiting"), "◔", "warn"),
    "offline": (mark("offline"), "▲", "bad"),
}


@dataclass(frozen=True, slots=True)
class StateWords:
    """A state for people: a word, a symbol and the name of a colour of the theme."""

    word: str
    symbol: str
    colour: str

    def translated(self) -> StateWords:
        """The same with its word in the window's language."""
        return replace(self, word=t(self.word))


def _look_up(table: dict[str, tuple[str, str, str]], state: str) -> StateWords:
    return StateWords(*table.get(state, (state.capitalize(), "?", "idle"))).translated()


def recorder_state(state: str) -> StateWords:
    """The recorder's state."""
    return _look_up(_RECORDER, state)


def driver_state(state: str) -> StateWords:
    """The driver's state."""
    return _look_up(_DRIVER, state)


STARTING = StateWords(mark("Starting"), "◔", "idle")
GET_READY = StateWords(mark("Get ready"), "◔", "busy")
NOT_RUNNING = StateWords(mark("Not running"), "▲", "warn")


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
    return t(_AUTHORITY.get(value, value))


def kind(value: str) -> str:
    """Where a take came from."""
    return t(_KIND.get(value, value.capitalize()))


def stream(name: str) -> str:
    """A recorded stream."""
    for prefix, noun in _STREAMS:
        if name.startswith(prefix):
            return t(noun, camera=name.removeprefix(prefix))
    return t("the arm") if name == "observation.state" else name


def task(name: str) -> str:
    """``red_cube_to_white_plate`` as a person would write it."""
    return name.replace("_", " ") if name else t("no task")


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
        return t("time left unknown")
    if seconds < 90:
        return t("about {n} s left", n=max(1, round(seconds)))
    if seconds < 5400:
        return t("about {n} min left", n=round(seconds / 60))
    return t("about {n} h left", n=f"{seconds / 3600:.1f}")


def size(count: float) -> str:
    """Bytes in the unit that keeps the number short."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


_MONTHS = (
    mark("Jan"), mark("Feb"), mark("Mar"), mark("Apr"), mark("May"), mark("Jun"),
    mark("Jul"), mark("Aug"), mark("Sep"), mark("Oct"), mark("Nov"), mark("Dec"),
)  # fmt: skip


def when(started_at: str) -> str:
    """An ISO time in the local time zone: ``22 Nov 14:03``."""
    try:
        moment = datetime.fromisoformat(started_at)
    except ValueError:
        return started_at
    local = moment.astimezone()
    month = t(_MONTHS[local.month - 1])
    return t("{day} {month} {time}", day=f"{local.day:02}", month=month, time=f"{local:%H:%M}")


def figure(value: object) -> str:
    """A number with the digits worth reading; anything else as it is."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int) or (float(value).is_integer() and abs(value) < 1e6):
        return f"{int(value)}"
    return f"{value:.3g}"


_LEVEL = {
    "ok": (mark("Fine"), "✔", "good"),
    "warn": (mark("Look at it"), "▲", "warn"),
    "bad": (mark("Takes would be lost"), "✘", "bad"),
}
_PREFLIGHT = {
    "ok": (mark("Ready to record"), "✔", "good"),
    "warn": (mark("Ready, but look"), "▲", "warn"),
    "bad": (mark("Do not record"), "✘", "bad"),
}
_DEVICE = {
    "attached": (mark("Attached"), "●", "good"),
    "possible": (mark("Possible"), "○", "idle"),
    "missing": (mark("Missing"), "▲", "warn"),
}
LOOKING = StateWords(mark("Looking"), "◔", "idle")
_FLAG = {
    "unreadable": mark("cannot be read"),
    "empty": mark("a stream is empty"),
    "slow": mark("too slow"),
    "gaps": mark("gaps"),
    "jitter": mark("uneven rate"),
    "clock_drift": mark("clock drifts"),
    "frozen": mark("frozen picture"),
    "over_exposed": mark("too bright"),
    "under_exposed": mark("too dark"),
    "blurred": mark("blurred"),
    "depth_empty": mark("hardly any depth"),
    "not_finite": mark("bad numbers"),
    "no_motion": mark("no motion"),
    "idle_head": mark("idle start"),
    "idle_tail": mark("idle end"),
    "mostly_still": mark("mostly still"),
    "jerky": mark("jerky"),
    "lag": mark("lags"),
    "short": mark("very short"),
    "length_outlier": mark("odd length"),
    "uncovered": mark("rows incomplete"),
    "no_hand": mark("no hand seen"),
}
_GRAVE = frozenset({"unreadable", "empty", "frozen", "not_finite", "no_motion"})
NOT_CHECKED = StateWords(mark("Not checked"), "?", "idle")


_LIMITS = {
    "workspace_min_m": (mark("Workspace from"), "m"),
    "workspace_max_m": (mark("Workspace to"), "m"),
    "tool_speed_m_s": (mark("Tool speed"), "m/s"),
    "gripper_speed_s": (mark("Gripper speed"), mark("full strokes/s")),
    "jump_rad": (mark("Largest jump"), "rad"),
    "state_age_s": (mark("Oldest state"), "s"),
    "table_z_m": (mark("Table height"), "m"),
    "self_clearance_m": (mark("Room between its links"), "m"),
    "obstacle_spheres_m": (mark("Spheres to keep out of"), "m"),
    "obstacle_boxes_m": (mark("Boxes to keep out of"), "m"),
    "effort_max": (mark("Largest effort"), ""),
}
_PER_JOINT = ("joint_min_rad", "joint_max_rad", "joint_speed_rad_s", "joint_acceleration_rad_s2")


def limits(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The guard's limits as (what, how much): joint by joint in degrees, then the rest."""
    joints = zip(*(values.get(name) or () for name in _PER_JOINT), strict=False)
    found = [(t("Joint {n}", n=number), _joint(*map(float, joint))) for number, joint in enumerate(joints, 1)]
    for name, value in values.items():
        if name not in _PER_JOINT and value is not None:
            title, unit = _LIMITS.get(name, (name.replace("_", " "), ""))
            found.append((t(title), f"{_plain(value)} {t(unit)}".rstrip()))
    return found


_GUARD = (
    mark("no command"), mark("command expired"), mark("command is not a number"), mark("arm state is too old"),
    mark("arm state is not a number"), mark("command jumps away from the arm"), mark("joint range"),
    mark("joint speed"), mark("joint acceleration"), mark("workspace"), mark("tool speed"), mark("gripper speed"),
    mark("the arm would touch the table"), mark("the arm would touch a thing or itself"),
    mark("something is in the way"),
)  # fmt: skip


def guard_reason(value: str) -> str:
    """Why the guard changed or refused a command."""
    return t(value) if value in _GUARD else value.replace("_", " ")


def _joint(low: float, high: float, speed: float, acceleration: float) -> str:
    low, high, speed, acceleration = (math.degrees(value) for value in (low, high, speed, acceleration))
    return t("{low}° to {high}°", low=f"{low:.0f}", high=f"{high:.0f}") + f", {speed:.0f} °/s, {acceleration:.0f} °/s²"


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
    return t(_FLAG.get(name, name.replace("_", " ")))


def quality(flags: Sequence[str], checked: bool) -> StateWords:
    """What the quality check says of a take, in one cell."""
    if not flags:
        return (StateWords(mark("Fine"), "✔", "good") if checked else NOT_CHECKED).translated()
    grave = [name for name in flags if name in _GRAVE]
    worst = (grave or list(flags))[0]
    more = f" +{len(flags) - 1}" if len(flags) > 1 else ""
    return StateWords(flag(worst).capitalize() + more, "✘" if grave else "▲", "bad" if grave else "warn")


NOUNS: dict[str, tuple[str, str]] = {
    "take": forms("{n} take", "{n} takes"),
    "model": forms("{n} model", "{n} models"),
    "remark": forms("{n} remark", "{n} remarks"),
    "task": forms("{n} task", "{n} tasks"),
    "picture": forms("{n} picture", "{n} pictures"),
}


def count(number: int, noun: str) -> str:
    """``1 take``, ``1 200 takes``; ``noun`` is one of ``NOUNS``."""
    return tn(*NOUNS[noun], number)


@dataclass(frozen=True, slots=True)
class StageWords:
    """A training stage for people: its name, what it is for, which kinds of takes it learns from."""

    title: str
    purpose: str
    kinds: tuple[str, ...]


STAGES: dict[str, StageWords] = {
    "act_vae": StageWords(
        mark("Act-VAE"), mark("Learns the vocabulary of movements from robot takes."), ("teleop", "imported")
    ),
    "vd_vae": StageWords(
        mark("Alignment"),
        mark("Learns to read those movements from video, people's hands included."),
        ("teleop", "human"),
    ),
    "ntp": StageWords(
        mark("CLAP-NTP"), mark("Learns which movement follows, from robot and human takes."), ("teleop", "human")
    ),
    "rf": StageWords(
        mark("CLAP-RF"), mark("Learns to move smoothly and in real time; this one drives."), ("teleop", "human")
    ),
}
FINETUNE = "finetune"
PRESETS: dict[str, str] = {
    "station": mark("Full training for this machine"),
    "quick": mark("A few minutes, to see where it goes"),
    "tiny": mark("Seconds, only to try the steps"),
}


def stage(name: str) -> str:
    """A training stage's name."""
    return t(STAGES[name].title) if name in STAGES else t("Fine-tuning") if name == FINETUNE else name
