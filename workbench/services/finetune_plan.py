"""One click: everything a fine-tuning with its check for forgetting needs, decided before it starts, in one file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from hardware.sim.tasks import TASKS
from models.recipes import preset as preset_recipe
from models.split import held_out_ids, place
from models.stages import RunSpec
from storage.layout import Home
from workbench.core.errors import NotFoundError, WorkbenchError
from workbench.core.files import read_json, write_json
from workbench.services.finetune import (
    KNOWLEDGE_MATCHING,
    Candidate,
    Material,
    candidates,
    gather,
    usual_recipe,
)
from workbench.services.finetune_time import Estimate, estimate
from workbench.services.forgetting import Margins
from workbench.services.jobs import Jobs
from workbench.services.runs import plan_run
from workbench.services.settings import load_settings

FILE = "finetune.json"
LADDER: tuple[Mapping[str, Any], ...] = (
    MappingProxyType({}),
    MappingProxyType(
        {
            "km_token_weight": 2.0,
            "km_velocity_weight": 2.0,
            "km_regression_weight": 2.0,
            "replay_share": 0.65,
        }
    ),
    MappingProxyType(
        {
            "km_token_weight": 4.0,
            "km_velocity_weight": 4.0,
            "km_regression_weight": 4.0,
            "replay_share": 0.75,
            "tune_lr_factor": 0.16,
        }
    ),
)
TRIALS = 10  # per task and model, where the station is simulated and nobody says otherwise
STEPS_PER_TAKE, FEWEST_STEPS = 16, 300
_MOST_MEASURED = 12  # held-out takes per task
_FEWEST_TO_HOLD_OUT = 5


@dataclass(frozen=True, slots=True)
class Options:
    """What a person may choose.

    Attributes:
        trials: attempts per task and model on a simulated station, None: ``TRIALS``; a real one is not driven by this.
        workers: attempts at the same time.
        rung: how hard the old is held on to; a place in ``LADDER``.
        retry_of: the run this one tries to better, "" if none.
        changes: recipe fields by name; they outrank the ladder.
        minutes: the training is made shorter to end within this, if the pace of this machine is known; 0 = never.
    """

    preset: str = "station"
    trials: int | None = None
    workers: int = 2
    rung: int = 0
    retry_of: str = ""
    changes: Mapping[str, Any] = field(default_factory=dict)
    margins: Margins = field(default_factory=Margins)
    minutes: float = 30.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What ``finetune.json`` in a run's folder holds beside the ``run.json``.

    Attributes:
        parent: id of the model before. new_tasks, old_tasks: by what the parent was shown.
        measured: ids of the takes neither model learns from, by task. driven: tasks that are driven with both models.
        why_not_driven: reason by task ("" for all of them).
    """

    parent: str
    new_tasks: tuple[str, ...]
    old_tasks: tuple[str, ...]
    measured: Mapping[str, tuple[str, ...]]
    driven: tuple[str, ...]
    why_not_driven: Mapping[str, str]
    trials: int
    workers: int
    rung: int
    retry_of: str
    margins: Margins
    estimate: Estimate
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values; ``from_json`` inverts it."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Plan:
        """Invert ``to_json``; WorkbenchError if something is missing."""
        try:
            fields = dict(value)
            for name in ("new_tasks", "old_tasks", "driven", "warnings"):
                fields[name] = tuple(fields[name])
            fields["measured"] = {task: tuple(ids) for task, ids in fields["measured"].items()}
            fields["margins"] = Margins(**fields["margins"])
            fields["estimate"] = Estimate(**fields["estimate"])
            return cls(**fields)
        except (KeyError, TypeError, AttributeError) as error:
            raise WorkbenchError(f"the plan of a fine-tuning is not readable ({error})", "Start it anew") from None

    @classmethod
    def read(cls, folder: Path) -> Plan:
        """The plan of a run's folder."""
        return cls.from_json(read_json(folder / FILE))

    @property
    def tasks(self) -> tuple[str, ...]:
        """Earlier tasks first."""
        return tuple(dict.fromkeys((*self.old_tasks, *self.new_tasks)))


def one_click(jobs: Jobs, material: Material, options: Options = Options()) -> str:
    """Start fine-tuning, the forgetting receipt and the gate behind it, in a process of its own; returns the run's id.

    WorkbenchError if it cannot be done, before anything is started.
    """
    spec, plan = prepare(jobs.home, material, options)
    spec.write()
    write_json(spec.folder / FILE, plan.to_json())
    jobs.launch(spec.run_id, steps=spec.recipe.steps)
    return spec.run_id


def prepare(home: Home, material: Material, options: Options) -> tuple[RunSpec, Plan]:
    """The run and its plan, nothing written yet."""
    if not 0 <= options.rung < len(LADDER):
        raise NotFoundError.of("rung of the ladder", str(options.rung), map(str, range(len(LADDER))))
    measured = _measured(material)
    trials, driven, why = _driving(home, material, options)
    recipe = _recipe(home, material, options)
    sized = {"batch": preset_recipe(options.preset, "rf").batch, **recipe}
    guess = estimate(home, material, sized, sum(map(len, measured.values())), trials * len(driven), options.workers)
    spec = plan_run(
        home,
        "rf",
        options.preset,
        episodes=material.episodes,
        replay=material.replay,
        base={**material.parent.bases, "rf": material.parent.id},
        hold_out=tuple(i for ids in measured.values() for i in ids),
        unchecked=True,
        **recipe,
    )
    plan = Plan(
        parent=material.parent.id,
        new_tasks=material.new_tasks,
        old_tasks=material.old_tasks,
        measured=measured,
        driven=driven,
        why_not_driven=why,
        trials=trials,
        workers=options.workers,
        rung=options.rung,
        retry_of=options.retry_of,
        margins=options.margins,
        estimate=guess,
        warnings=material.warnings,
    )
    return spec, plan


def retry(jobs: Jobs, run_id: str) -> str:
    """Do a fine-tuning again, one rung higher; returns the new run's id. WorkbenchError on the highest rung."""
    folder = jobs.home.runs / run_id
    plan, spec = Plan.read(folder), RunSpec.read(folder)
    if plan.rung + 1 >= len(LADDER):
        raise WorkbenchError(
            "this was the strongest attempt already", "Record more takes of the new task, or of the one that fell"
        )
    ladder = {name for rung in LADDER for name in rung} | set(KNOWLEDGE_MATCHING)
    usual = preset_recipe(spec.preset or "station", "rf").to_json()
    told = spec.recipe.to_json().items()
    changes = {k: v for k, v in told if k not in ladder and k != "stage" and usual.get(k) != v}
    options = Options(
        preset=spec.preset or "station",
        trials=plan.trials,
        workers=plan.workers,
        rung=plan.rung + 1,
        retry_of=run_id,
        changes=changes,
        margins=plan.margins,
        minutes=0.0,
    )
    return one_click(jobs, gather(jobs.home.path, plan.parent, spec.episodes), options)


def _recipe(home: Home, material: Material, options: Options) -> dict[str, Any]:
    """Recipe fields: Knowledge Matching, the rung, a length that fits takes and machine, what a person changed."""
    recipe: dict[str, Any] = {**usual_recipe(material), **LADDER[options.rung]}
    usual = preset_recipe(options.preset, "rf")
    recipe["steps"] = min(usual.steps, max(FEWEST_STEPS, STEPS_PER_TAKE * len(material.episodes)))
    if options.minutes > 0 and "steps" not in options.changes:
        sized = {"batch": usual.batch, **recipe, **options.changes}
        guess = estimate(home, material, sized, 0, 0, options.workers).parts.get("train")
        if guess is not None and guess > 60 * options.minutes:
            fewer = round(recipe["steps"] * 60 * options.minutes / guess)
            recipe["steps"] = min(recipe["steps"], max(FEWEST_STEPS, fewer))
    recipe |= options.changes
    if not material.replay:
        recipe["replay_share"] = 0.0
    return recipe


def _measured(material: Material) -> dict[str, tuple[str, ...]]:
    """By task the takes that are only measured on: of old ones the parent's own held-out takes, of new ones a share.

    An old take whose hash lies below the share was held out from every model before; a set so small that it has none
    falls back on the one that the parent's own rule held out.
    """
    parent = material.parent
    share = float(parent.recipe.get("held_out", 0.12))
    ruled = held_out_ids([(i, False) for i in material.replay], share)
    old = {i for i in ruled if place(i) < share} or ruled
    new = [i for i in material.episodes if i not in old]
    found: dict[str, list[str]] = {}
    for i in sorted(old):
        found.setdefault(material.tasks[i], []).append(i)
    for task in dict.fromkeys(material.tasks.get(i, "") for i in new):
        ids = sorted((i for i in new if material.tasks.get(i, "") == task), key=place)
        below = [i for i in ids if place(i) < share]
        if len(ids) >= _FEWEST_TO_HOLD_OUT:
            found.setdefault(task, []).extend((below or ids[:1])[: len(ids) // 2])
    return {task: tuple(ids[:_MOST_MEASURED]) for task, ids in found.items()}


def _driving(home: Home, material: Material, options: Options) -> tuple[int, tuple[str, ...], dict[str, str]]:
    """Trials per task, the tasks that are driven, and why the others are not."""
    if not load_settings(home.path).simulated:
        return 0, (), {"": "this station is not simulated: drive the new model yourself, under your eyes"}
    trials = TRIALS if options.trials is None else options.trials
    if trials <= 0:
        return 0, (), {"": "no trials were asked for"}
    tasks = tuple(dict.fromkeys((*material.old_tasks, *material.new_tasks)))
    why = {task: "the simulated station does not know this task" for task in tasks if task not in TASKS}
    return trials, tuple(task for task in tasks if task in TASKS), why


@dataclass(frozen=True, slots=True)
class Offer:
    """What one click would do now, for a person to look at before.

    Attributes:
        candidates: every take the model has not seen, chosen or not.
        steps: of the training.
    """

    material: Material
    candidates: tuple[Candidate, ...]
    plan: Plan
    steps: int


def offer(home: Home, base: str | None, episodes: Sequence[str] | None, options: Options) -> Offer:
    """Look at what there is. WorkbenchError says why nothing can be fine-tuned."""
    material = gather(home.path, base, episodes)
    spec, plan = prepare(home, material, options)
    return Offer(material, candidates(home.path, material.parent.id), plan, spec.recipe.steps)
