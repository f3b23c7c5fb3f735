"""What the table of claims compares: sizes, and every arm as a change of recipe fields and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from models.recipes import VdVaeRecipe
from workbench.core.errors import NotFoundError
from workbench.services.demo_plan import DemoPlan, demo_plan
from workbench.services.finetune import KNOWLEDGE_MATCHING

Changes = Mapping[str, Any]

SECTIONS = ("alignment", "policy", "transfer", "forgetting", "corrections", "latency")
HEADS = ("rf", "ntp")
GALLERY = 128
FLOW_STEPS = (1, 4, 10)

# A person shows both, no robot ever does: known object and known target never put together, and an unknown object.
HUMAN_ONLY = ("blue_cylinder_to_white_plate", "purple_cylinder_to_cyan_tray")

_NOTHING: Changes = MappingProxyType({})

ALIGNMENT: Mapping[str, Changes] = MappingProxyType(
    {"clap": _NOTHING, **VdVaeRecipe.VARIANTS, "self_target": MappingProxyType({"human_ema": 0.999})}
)

# Transfer: the alignment whose labels the human rows carry, and the changes of both policy recipes.
ORACLE = "oracle"
TRANSFER: Mapping[str, tuple[str, Changes]] = MappingProxyType(
    {
        "robot_only": ("clap", MappingProxyType({"human_share": 0.0})),
        "clap": ("clap", _NOTHING),
        "no_contrast": ("no_contrast", _NOTHING),
        "reconstruction_only": ("reconstruction_only", _NOTHING),
        ORACLE: (ORACLE, _NOTHING),
        "not_by_role": ("clap", MappingProxyType({"by_role": False, "selectors": 16})),
    }
)

_ONE_RATE: Changes = MappingProxyType({"protect_old": False, "selector_lr_factor": 1.0, "tune_lr_factor": 1.0})
_NO_PULL: Changes = MappingProxyType({"km_token_weight": 0.0, "km_velocity_weight": 0.0, "km_regression_weight": 0.0})
_PLAIN: Changes = MappingProxyType({**_NO_PULL, "replay_share": 0.0, **_ONE_RATE})
# Fine-tuning: changes of what the product does (old instructions protected, Knowledge Matching of all heads, replay).
JOINT = "joint"
FORGETTING: Mapping[str, Changes] = MappingProxyType(
    {
        "km": _NOTHING,
        "km_tokens_only": MappingProxyType({"km_velocity_weight": 0.0, "km_regression_weight": 0.0}),
        "km_no_replay": MappingProxyType({"replay_share": 0.0}),
        "km_new_instructions": MappingProxyType({"km_old_instructions": False}),
        "km_new_pictures": MappingProxyType({"km_replayed": False}),
        "km_absolute": MappingProxyType({"km_relative": False}),
        "little_replay": MappingProxyType({"replay_share": 0.25}),
        "one_rate": _ONE_RATE,
        "fast_selectors": MappingProxyType({**_ONE_RATE, "selector_lr_factor": 10.0}),
        "slow_selectors": MappingProxyType({"selector_lr_factor": 3.3}),
        "slow_backbone": MappingProxyType({"protect_old": False}),
        "instruction_only": MappingProxyType(
            {**_PLAIN, "protect_old": True, "selector_lr_factor": 10.0, "tune_lr_factor": 0.0}
        ),
        "plain": _PLAIN,
        "frozen": MappingProxyType({**_PLAIN, "backbone_lr_factor": 0.0}),
        "replay": MappingProxyType({**_PLAIN, "replay_share": KNOWLEDGE_MATCHING["replay_share"]}),
    }
)

# Corrections: what an arm learns from, and changes of what the product does when it fine-tunes.
SITUATION = "low_start"
LEARN_FROM: Mapping[str, str] = MappingProxyType(
    {
        "corrected": "attempts in the situation that the operator corrected",
        "plain": "demonstrations from the usual start",
        "shown": "demonstrations in the situation",
    }
)
CORRECTIONS: Mapping[str, tuple[str, Changes]] = MappingProxyType(
    {
        "corrections": ("corrected", _NOTHING),
        "demonstrations": ("plain", _NOTHING),
        "corrections_replay": ("corrected", _NO_PULL),
        "shown": ("shown", _NOTHING),
    }
)


@dataclass(frozen=True, slots=True)
class LearnPlan:
    """Sizes of one table.

    Attributes:
        story: takes, tasks, trials, recipes; its ``trials`` are per old task, ``new_trials`` per new or human-only one.
        seeds: how often every arm is trained, each time from another seed.
        alignment, transfer, forgetting: names of the arms, the reference arm first.
        corrections: as above; per round, so many ``attempts`` under an onlooker's eyes.
        correction_trials: per task, from the usual start and in the situation each.
        calls: answers per latency.
    """

    story: DemoPlan
    seeds: int
    calls: int
    alignment: tuple[str, ...] = tuple(ALIGNMENT)
    transfer: tuple[str, ...] = tuple(TRANSFER)
    forgetting: tuple[str, ...] = (*FORGETTING, JOINT)
    corrections: tuple[str, ...] = tuple(CORRECTIONS)
    attempts: int = 36
    correction_trials: int = 8


PLANS: Mapping[str, LearnPlan] = MappingProxyType(
    {
        "tiny": LearnPlan(
            replace(demo_plan("tiny"), human_clips=4, trial_s=2.0),
            seeds=1,
            calls=5,
            attempts=2,
            correction_trials=1,
        ),
        "quick": LearnPlan(
            replace(demo_plan("quick"), human_clips=40, new_trials=8),
            seeds=2,
            calls=50,
            attempts=24,
            correction_trials=14,
        ),
        "full": LearnPlan(replace(demo_plan("full"), human_clips=240), seeds=3, calls=200),
    }
)


def learn_plan(name: str) -> LearnPlan:
    """The plan of that size, or NotFoundError with the nearest name."""
    if name not in PLANS:
        raise NotFoundError.of("size of the comparison", name, PLANS)
    return PLANS[name]


def sections(names: str) -> tuple[str, ...]:
    """Sections named with commas between, in the table's order, "" = all; NotFoundError with the nearest name."""
    wanted = [name.strip() for name in names.split(",") if name.strip()] or list(SECTIONS)
    for name in wanted:
        if name not in SECTIONS:
            raise NotFoundError.of("section of the comparison", name, SECTIONS)
    return tuple(name for name in SECTIONS if name in wanted)
