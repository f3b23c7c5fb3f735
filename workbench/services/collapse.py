"""The collapse alarm: does a training use less and less of its codebook? Read from the run's progress file.

A collapsed book says the same few things whatever is seen; retrieval and every policy trained on it fail with it.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

USED_SHARE = 0.25
FALLEN_TO = 0.5
RECENT = 5  # reports whose median counts, so that one odd batch raises no alarm
WARM_UP = 0.1  # of the steps: a young book is uneven

Curve = Mapping[str, tuple[Sequence[float], Sequence[float]]]
_WHOSE = {"": "", "_human": " for people's clips"}


@dataclass(frozen=True, slots=True)
class Alarm:
    """What is wrong with a codebook.

    Attributes:
        kind: ``few`` codes in use, or perplexity ``falling``.
        human: of the tokens of people's clips alone.
        value: share of codes in use now, or perplexity now; before: the best perplexity so far (``falling``).
        step: at which step of the training.
    """

    kind: str
    human: bool
    value: float
    before: float
    step: int

    @property
    def what(self) -> str:
        """One sentence."""
        whose = _WHOSE["_human" if self.human else ""]
        if self.kind == "few":
            return f"only {100 * self.value:.0f} % of the codes are in use{whose}"
        return f"the perplexity{whose} fell from {self.before:.0f} to {self.value:.0f}"


ADVICE = "Cancel, and train with a smaller learning rate or more varied takes; see the page on aligning in the docs"


def collapse(curve: Curve, steps: int) -> Alarm | None:
    """The worst that the newest reports say, or None. ``curve`` as ``Jobs.curve`` gives it, of ``steps`` in all."""
    for kind in ("", "_human"):
        for judge in (_few, _falling):
            alarm = judge(curve, kind, steps)
            if alarm is not None:
                return alarm
    return None


def positions(curve: Curve) -> tuple[float, ...]:
    """The newest perplexity of every token position, in order; empty for a run that does not report it."""
    found: list[float] = []
    while values := curve.get(f"perplexity_p{len(found) + 1}", ((), ()))[1]:
        found.append(float(values[-1]))
    return tuple(found)


def _few(curve: Curve, kind: str, steps: int) -> Alarm | None:
    at, values = _after_warm_up(curve, f"used_share{kind}", steps)
    if len(values) < RECENT:
        return None
    now = statistics.median(values[-RECENT:])
    return Alarm("few", bool(kind), now, 0.0, int(at[-1])) if now < USED_SHARE else None


def _falling(curve: Curve, kind: str, steps: int) -> Alarm | None:
    at, values = _after_warm_up(curve, f"perplexity{kind}", steps)
    if len(values) < 2 * RECENT:
        return None
    smooth = [statistics.median(values[end - RECENT : end]) for end in range(RECENT, len(values) + 1)]
    best, now = max(smooth), smooth[-1]
    return Alarm("falling", bool(kind), now, best, int(at[-1])) if now < FALLEN_TO * best else None


def _after_warm_up(curve: Curve, name: str, steps: int) -> tuple[list[float], list[float]]:
    at, values = curve.get(name, ((), ()))
    kept = [(step, value) for step, value in zip(at, values, strict=True) if step >= WARM_UP * steps]
    return [step for step, _ in kept], [value for _, value in kept]
