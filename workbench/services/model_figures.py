"""Held-out figures of a model as a flat list, with a count and an interval where they are rates."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from models.registry import ModelRecord
from workbench.services.evaluation import wilson

RATES = frozenset(
    {
        "token_accuracy",
        "gripper_accuracy",
        "decode_gripper_accuracy",
        "retrieval_top1",
        "retrieval_top5",
    }
)
_COUNTS = ("n", "windows")
_LEFT_OUT = frozenset({"latency_ms", "skipped", "per_step_mm", "imported", *_COUNTS})
Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Figure:
    """One number.

    Attributes:
        name: dotted path into the model's metrics.
        n: how many windows it was measured on, 0 where that is not known.
        interval: 95 % Wilson interval of a rate, else None. Windows that follow one another share most of their
            actions, so only every H-th is counted as a measurement of its own, H being the actions of a chunk.
    """

    name: str
    value: float
    n: int = 0
    interval: Interval | None = None

    def to_json(self) -> dict[str, Any]:
        found: dict[str, Any] = {"value": self.value, "n": self.n}
        return found | ({"interval": [round(edge, 4) for edge in self.interval]} if self.interval else {})


def figures(record: ModelRecord) -> tuple[Figure, ...]:
    """Every finite number among the held-out figures, in the order in which they were written."""
    return tuple(_walk(record.metrics, "", 0, _horizon(record.recipe)))


def _walk(metrics: Mapping[str, Any], above: str, n: int, horizon: int) -> Iterator[Figure]:
    n = next((int(metrics[name]) for name in _COUNTS if _is_number(metrics.get(name))), n)
    for key, value in metrics.items():
        name = f"{above}.{key}" if above else str(key)
        if key in _LEFT_OUT:
            continue
        if isinstance(value, Mapping):
            yield from _walk(value, name, n, horizon)
        elif _is_number(value):
            is_rate = not RATES.isdisjoint(name.split(".")) and 0 <= value <= 1
            yield Figure(name, float(value), n, _interval(float(value), n // horizon) if is_rate else None)


def _interval(rate: float, n: int) -> Interval | None:
    return wilson(round(rate * n), n) if n > 0 else None


def _horizon(recipe: Mapping[str, Any]) -> int:
    """Actions per chunk, at least 1."""
    length, step = recipe.get("horizon_s"), recipe.get("step_s")
    return max(1, round(length / step)) if _is_number(length) and _is_number(step) and step else 1


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
