"""How big the unattended demonstration is: every number of it in one frozen object, in three sizes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from hardware.sim.tasks import DEMONSTRATED, NEW_TASK
from workbench.core.errors import NotFoundError


def _no_changes() -> Mapping[str, Mapping[str, Any]]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class DemoPlan:
    """Sizes of the story.

    Attributes:
        demonstrations, human_clips: takes over all ``tasks`` together.
        randomised_share: share of the demonstrations with random colours of arm, table and light.
        new_demonstrations: takes of ``new_task`` for fine-tuning.
        trials: trials per old task before and after fine-tuning, with the flow head.
        new_trials: trials of the new task before and after.
        ntp_trials: trials per old task with the token head, before.
        trial_s: longest simulated time of a trial.
        preset: of the recipes.
        changes: recipe fields by stage (and ``finetune``) that differ from the preset.
    """

    name: str
    demonstrations: int
    human_clips: int
    new_demonstrations: int
    trials: int
    new_trials: int
    ntp_trials: int
    preset: str
    trial_s: float = 14.0
    randomised_share: float = 0.35
    tasks: tuple[str, ...] = DEMONSTRATED
    new_task: str = NEW_TASK
    workers: int = 2
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=_no_changes)


PLANS: Mapping[str, DemoPlan] = MappingProxyType(
    {
        "tiny": DemoPlan(
            "tiny",
            demonstrations=6,
            human_clips=3,
            new_demonstrations=3,
            trials=1,
            new_trials=1,
            ntp_trials=1,
            preset="tiny",
            trial_s=4.0,
            tasks=DEMONSTRATED[:2],
        ),
        "quick": DemoPlan(
            "quick",
            demonstrations=75,
            human_clips=20,
            new_demonstrations=15,
            trials=4,
            new_trials=4,
            ntp_trials=1,
            trial_s=10.0,
            randomised_share=0.1,
            tasks=(DEMONSTRATED[0], DEMONSTRATED[2], DEMONSTRATED[5]),
            preset="quick",
            changes=MappingProxyType({"finetune": MappingProxyType({"steps": 150})}),
        ),
        "full": DemoPlan(
            "full",
            demonstrations=450,
            human_clips=120,
            new_demonstrations=30,
            trials=12,
            new_trials=20,
            ntp_trials=5,
            preset="station",
            changes=MappingProxyType({"finetune": MappingProxyType({"steps": 500})}),
        ),
    }
)


def demo_plan(name: str) -> DemoPlan:
    """The plan of that size, or NotFoundError with the nearest name."""
    if name not in PLANS:
        raise NotFoundError.of("size of the demonstration", name, PLANS)
    return PLANS[name]
