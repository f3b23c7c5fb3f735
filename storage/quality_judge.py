"""From figures to flags: what crosses its threshold, and the sentence that tells a person."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from storage.codecs import is_picture
from storage.quality_thresholds import Flag, Thresholds
from storage.quality_times import Figures
from workbench.core.types import StreamSpec

_COLOUR, _DEPTH = "observation.images.", "observation.depth."


@dataclass(frozen=True, slots=True)
class Remark:
    """One flag and why it is set, as a sentence."""

    flag: Flag
    sentence: str


def judge(figures: Figures, specs: Iterable[StreamSpec], limits: Thresholds) -> tuple[Remark, ...]:
    """Everything that crosses a threshold, streams first. A figure that is missing or None says nothing."""
    remarks: list[Remark] = []
    for spec in specs:
        own = {name: figures.get(key(spec.name, name)) for name in _STREAM_FIGURES}
        remarks += _timely(_call(spec), own, limits)
        if is_picture(spec):
            remarks += _seen(_call(spec), own, limits)
    return (*remarks, *_whole(figures, limits))


def key(stream: str, figure: str) -> str:
    """How a stream's figure is called among the figures of a take."""
    return f"{stream}/{figure}"


_STREAM_FIGURES = (
    *("items", "nominal_hz", "rate_hz", "missing", "longest_gap_s", "interval_p50_ms", "interval_p99_ms"),
    *("drift_ppm", "drift_ms", "not_finite"),
    *("frozen_s", "frozen_travel_m", "over_share", "under_share", "sharpness", "valid_share"),
)


def _call(spec: StreamSpec) -> str:
    """What people call a stream."""
    for prefix, noun in ((_COLOUR, "camera"), (_DEPTH, "the depth of camera")):
        if spec.name.startswith(prefix):
            return f"{noun} '{spec.name.removeprefix(prefix)}'"
    return f"'{spec.name}'"


def _timely(name: str, own: Figures, limits: Thresholds) -> Iterator[Remark]:
    items, missing, gap_s = own["items"] or 0.0, own["missing"] or 0.0, own["longest_gap_s"]
    if items == 0:
        yield Remark(Flag.EMPTY, f"{name} recorded nothing")
        return
    rate, nominal = own["rate_hz"], own["nominal_hz"]
    if rate is not None and nominal is not None and rate < limits.slow_ratio * nominal:
        yield Remark(Flag.SLOW, f"{name} ran at {rate:.1f} instead of {nominal:.4g} Hz")
    period_s = 1.0 / nominal if nominal else 0.0
    if missing > limits.gap_share * (items + missing):
        yield Remark(Flag.GAPS, f"{name} misses {missing:.0f} of {items + missing:.0f} items")
    elif gap_s is not None and gap_s > max(limits.gap_s, 3 * period_s):
        yield Remark(Flag.GAPS, f"{name} was silent for {gap_s:.2f} s")
    usual, late = own["interval_p50_ms"], own["interval_p99_ms"]
    if usual is not None and late is not None and late > limits.jitter_ratio * usual:
        yield Remark(Flag.JITTER, f"{name} is uneven: usually {usual:.1f} ms apart, every hundredth {late:.1f} ms")
    drift = own["drift_ms"]
    if drift is not None and abs(drift) > limits.drift_ms:
        ppm = own["drift_ppm"] or 0.0
        yield Remark(Flag.CLOCK_DRIFT, f"the clock of {name} drifted by {drift:+.1f} ms in the take ({ppm:+.0f} ppm)")
    if own["not_finite"]:
        yield Remark(Flag.NOT_FINITE, f"{name} holds {own['not_finite']:.0f} items that are not numbers")


def _seen(name: str, own: Figures, limits: Thresholds) -> Iterator[Remark]:
    still_s, travel = own["frozen_s"] or 0.0, own["frozen_travel_m"] or 0.0
    if travel > limits.frozen_travel_m:
        yield Remark(Flag.FROZEN, f"{name} showed one picture while the tool moved {100 * travel:.0f} cm")
    elif still_s > limits.frozen_s:
        yield Remark(Flag.FROZEN, f"{name} showed one picture for {still_s:.1f} s")
    over, under = own["over_share"] or 0.0, own["under_share"] or 0.0
    if over > limits.over_share:
        yield Remark(Flag.OVER_EXPOSED, f"{name} is over-exposed: {100 * over:.0f} % of the picture is white")
    if under > limits.under_share:
        yield Remark(Flag.UNDER_EXPOSED, f"{name} is under-exposed: {100 * under:.0f} % of the picture is black")
    sharp = own["sharpness"]
    if sharp is not None and sharp < limits.blur_variance:
        yield Remark(Flag.BLURRED, f"{name} may be out of focus (no edges: {sharp:.1f})")
    valid = own["valid_share"]
    if valid is not None and valid < limits.depth_share:
        yield Remark(Flag.DEPTH_EMPTY, f"{name} has a reading in only {100 * valid:.0f} % of the picture")


def _whole(figures: Figures, limits: Thresholds) -> Iterator[Remark]:
    """Flags of the take as a whole."""
    if figures.get("still_share") == 1.0:
        yield Remark(Flag.NO_MOTION, "nothing moved in the whole take")
    else:
        yield from _compare(figures, limits, _MOTION)
    yield from _compare(figures, limits, _TAKE)
    yield from _length(figures, limits)


Sentence = Callable[[float], str]
_MOTION: tuple[tuple[str, str, Flag, Sentence], ...] = (
    ("idle_head_s", "idle_s", Flag.IDLE_HEAD, lambda v: f"nothing moves in the first {v:.1f} s"),
    ("idle_tail_s", "idle_s", Flag.IDLE_TAIL, lambda v: f"nothing moves in the last {v:.1f} s"),
    ("still_share", "still_share", Flag.MOSTLY_STILL, lambda v: f"nothing moves in {100 * v:.0f} % of the take"),
)
_TAKE: tuple[tuple[str, str, Flag, Sentence], ...] = (
    ("jerk_m_s3", "jerk_m_s3", Flag.JERKY, lambda v: f"the tool moves jerkily ({v:.0f} m/s\u00b3)"),
    ("joint_jerk_rad_s3", "joint_jerk_rad_s3", Flag.JERKY, lambda v: f"a joint moves jerkily ({v:.0f} rad/s\u00b3)"),
    ("lag_s", "lag_s", Flag.LAG, lambda v: f"the arm follows its commands {1000 * v:.0f} ms late"),
)


def _compare(
    figures: Figures, limits: Thresholds, rules: Iterable[tuple[str, str, Flag, Sentence]]
) -> Iterator[Remark]:
    for figure, limit, flag, sentence in rules:
        value = figures.get(figure)
        if value is not None and value > float(getattr(limits, limit)):
            yield Remark(flag, sentence(value))


def _length(figures: Figures, limits: Thresholds) -> Iterator[Remark]:
    duration, distance, covered = (figures.get(name) for name in ("duration_s", "length_z", "coverage"))
    if duration is not None and duration < limits.shortest_s:
        yield Remark(Flag.SHORT, f"the take lasts only {duration:.2f} s")
    if distance is not None and abs(distance) > limits.length_z:
        usual = figures.get("usual_length_s") or 0.0
        word = "longer" if distance > 0 else "shorter"
        yield Remark(Flag.LENGTH_OUTLIER, f"the take is much {word} than others of its task (usually {usual:.1f} s)")
    seen = figures.get("hand_share")
    if seen is not None and seen < limits.hand_share:
        yield Remark(Flag.NO_HAND, f"no bare hand seems to move in {100 * (1 - seen):.0f} % of the pictures")
    if covered is not None and covered < limits.coverage:
        yield Remark(Flag.UNCOVERED, f"only {100 * covered:.0f} % of the rows have a fresh item of every stream")
