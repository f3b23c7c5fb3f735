"""How good a sealed take is: figures, flags and sentences, found by reading it once.

Nothing here changes a take or throws one away; ``workbench.services.upkeep`` stores the answer in the manifest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from storage.codecs import is_picture
from storage.quality_hands import HandWatch
from storage.quality_judge import Remark, judge, key
from storage.quality_motion import Motion, Signal, even, find_motion, idleness, lag, smoothness
from storage.quality_pictures import Looked, look
from storage.quality_thresholds import Flag, Thresholds
from storage.quality_times import Figures, coverage, timing
from storage.reader import Episode
from workbench.core.errors import CorruptTakeError
from workbench.core.types import EpisodeKind, StreamSpec

__all__ = [
    "KEY",
    "VERSION",
    "Flag",
    "Quality",
    "Reference",
    "Remark",
    "Thresholds",
    "assess",
    "assess_at",
    "is_current",
]

VERSION = 2  # 2: hands of people are looked for
KEY = "quality"  # where the manifest's ``extra`` holds it
_LEAST_OTHERS = 5
_LEAST_SPREAD = 0.05
_NORMAL_MAD = 0.6745
_DEFAULTS = Thresholds()


@dataclass(frozen=True, slots=True)
class Reference:
    """What other takes of the same task and kind are like: their durations in seconds, without the take itself."""

    durations_s: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Quality:
    """What was found.

    Attributes:
        version: of the algorithm.
        figures: finite numbers, or None where there is nothing to tell; ``<stream>/<figure>`` or a figure of the take.
        remarks: one per flag and cause.
        limits: the thresholds that were asked for.
    """

    version: int
    figures: Figures
    remarks: tuple[Remark, ...] = ()
    limits: Thresholds = _DEFAULTS

    @property
    def flags(self) -> tuple[Flag, ...]:
        """Every flag once, in the order of ``Flag``."""
        found = {remark.flag for remark in self.remarks}
        return tuple(flag for flag in Flag if flag in found)

    def to_json(self) -> dict[str, Any]:
        """Plain values without NaN, for the manifest."""
        return {
            "version": self.version,
            "flags": [str(flag) for flag in self.flags],
            "figures": dict(self.figures),
            "remarks": [{"flag": str(remark.flag), "sentence": remark.sentence} for remark in self.remarks],
            "thresholds": self.limits.changes(),
        }


def is_current(stored: Any, limits: Thresholds = _DEFAULTS) -> bool:
    """True if what a manifest holds was found by this version with these thresholds."""
    return (
        isinstance(stored, Mapping)
        and stored.get("version") == VERSION
        and stored.get("thresholds") == limits.changes()
        and isinstance(stored.get("flags"), list)
        and isinstance(stored.get("figures"), Mapping)
    )


def assess_at(
    folder: Path,
    reference: Reference | None = None,
    limits: Thresholds = _DEFAULTS,
    *,
    between: Callable[[], None] = lambda: None,
) -> Quality:
    """``assess`` of the take in a folder; one that cannot even be opened is ``unreadable``."""
    try:
        with Episode.at(folder) as episode:
            return assess(episode, reference, limits, between=between)
    except CorruptTakeError as error:
        return Quality(VERSION, {}, (Remark(Flag.UNREADABLE, str(error)),), limits)


def assess(
    episode: Episode,
    reference: Reference | None = None,
    limits: Thresholds = _DEFAULTS,
    *,
    between: Callable[[], None] = lambda: None,
) -> Quality:
    """Look at a whole take. Never raises for what the take holds: a damaged part is flagged ``unreadable``.

    Reads every time and vector once and about five pictures a second of each camera (``quality_pictures.every``).

    Args:
        reference: other takes of its task, for ``length_outlier``.
        between: called before each picture, for whoever has to pause or to stop; what it raises ends the assessment.
    """
    work = _Assessment(episode, between)
    with np.errstate(all="ignore"):
        work.read_streams()
        work.read_motion()
        work.read_pictures()
        work.read_grid(reference)
    specs = [spec for spec in episode.manifest.streams.values() if spec.name not in work.broken]
    figures = {name: _finite(value) for name, value in work.figures.items()}
    return Quality(VERSION, figures, (*work.remarks, *judge(figures, specs, limits)), limits)


class _Assessment:
    """One look at one take; each part collects figures and passes what it found on to the next."""

    def __init__(self, episode: Episode, between: Callable[[], None]) -> None:
        self.figures: Figures = {}
        self.remarks: list[Remark] = []
        self.broken: set[str] = set()
        self._episode = episode
        self._between = between
        self._signals: dict[str, Signal] = {}
        self._motion: Motion | None = None
        self._hands: list[float] = []

    def read_streams(self) -> None:
        """Times of every stream, and the vectors that the motion is found in."""
        for spec in self._episode.manifest.streams.values():
            self._guarded(spec, self._read_times)
            if spec.name in ("observation.state", "action"):
                self._guarded(spec, self._read_vectors)

    def read_motion(self) -> None:
        """Idleness, smoothness and lag of the arm; nothing for takes without one."""
        state, sent = self._signals.get("observation.state"), self._signals.get("action")
        if state is None:
            return
        self._motion = find_motion(state)
        self.figures |= idleness(self._motion) | smoothness(state, self._motion)
        if sent is not None:
            self.figures |= lag(state, sent)

    def read_pictures(self) -> None:
        """Exposure, sharpness and stillness of every camera; motion too where no arm tells it."""
        looked: list[Looked] = []
        for spec in self._episode.manifest.streams.values():
            if is_picture(spec) and spec.name not in self.broken:
                self._guarded(spec, lambda spec: looked.append(self._look(spec)))
        seen = [one for one in looked if len(one.seconds) > 1]
        if self._hands:
            self.figures["hand_share"] = max(self._hands)  # one camera that sees them will do
        if self._motion is None and seen:
            self.figures |= idleness(_seen_motion(seen))

    def read_grid(self, reference: Reference | None) -> None:
        """Length and rows."""
        manifest = self._episode.manifest
        self.figures |= {"duration_s": manifest.duration_s, "coverage": None, **_length(manifest.duration_s, reference)}
        try:
            self.figures["coverage"] = coverage(self._episode.rows(), manifest.streams)
        except CorruptTakeError as error:
            self._unreadable(error)

    def _read_times(self, spec: StreamSpec) -> None:
        device_ns, host_ns = self._episode.times(spec.name)
        gaps = self._episode.manifest.gap_positions[spec.name]
        self._keep(spec, timing(spec, device_ns, host_ns, gaps))

    def _read_vectors(self, spec: StreamSpec) -> None:
        if is_picture(spec) or spec.name in self.broken:
            return
        values = self._episode.vectors(spec.name).astype(np.float64)
        bad = np.count_nonzero(~np.isfinite(values).all(axis=1))
        self._keep(spec, {"not_finite": float(bad)})
        axes = spec.axes if len(spec.axes) == values.shape[1] else tuple(map(str, range(values.shape[1])))
        signal = even(self._episode.times(spec.name)[1], values, axes)
        if signal is not None:
            self._signals[spec.name] = signal

    def _look(self, spec: StreamSpec) -> Looked:
        is_colour = len(spec.shape) == 3 and spec.dtype == "uint8"
        hands = HandWatch() if is_colour and self._episode.manifest.kind is EpisodeKind.HUMAN else None
        host_ns = self._episode.times(spec.name)[1]
        found = look(self._episode, spec, host_ns, self._motion, self._between, hands)
        self._keep(spec, found.figures)
        if hands is not None and hands.share is not None:
            self._hands.append(hands.share)
        return found

    def _keep(self, spec: StreamSpec, found: Figures) -> None:
        self.figures |= {key(spec.name, name): value for name, value in found.items()}

    def _guarded(self, spec: StreamSpec, work: Callable[[StreamSpec], None]) -> None:
        try:
            work(spec)
        except CorruptTakeError as error:
            self.broken.add(spec.name)
            self._unreadable(error)

    def _unreadable(self, error: CorruptTakeError) -> None:
        self.remarks.append(Remark(Flag.UNREADABLE, error.what))


def _seen_motion(looked: list[Looked]) -> Motion:
    """Motion as the cameras together show it: moving where any of them changed."""
    longest = max(looked, key=lambda one: len(one.seconds))
    seconds = longest.seconds
    moving = np.zeros(len(seconds), dtype=np.bool_)
    for one in looked:
        place = np.searchsorted(seconds, one.seconds[one.moved]).clip(0, len(seconds) - 1)
        moving[place] = True
    return Motion(seconds, moving, np.zeros(len(seconds)))


def _length(duration_s: float, reference: Reference | None) -> Figures:
    """Distance from the usual length in robust standard deviations (median and its absolute deviation)."""
    others = np.array(reference.durations_s if reference is not None else (), dtype=np.float64)
    if len(others) < _LEAST_OTHERS:
        return {"length_z": None, "usual_length_s": None}
    usual = float(np.median(others))
    spread = max(float(np.median(np.abs(others - usual))), _LEAST_SPREAD * usual, 1e-3)
    return {"length_z": _NORMAL_MAD * (duration_s - usual) / spread, "usual_length_s": usual}


def _finite(value: float | None) -> float | None:
    """A JSON number of six digits, or None."""
    return float(f"{value:.6g}") if value is not None and math.isfinite(value) else None
