"""Decides what a training run is given: its recipe, its takes and the models it builds on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from models.recipes import Recipe
from models.recipes import preset as preset_recipe
from models.registry import ModelRecord, newest, read_record
from models.stages import NEEDS, TITLES, RunSpec
from storage.layout import Home
from workbench.core.errors import NotFoundError, WorkbenchError
from workbench.core.files import new_id
from workbench.core.types import EpisodeKind, Outcome
from workbench.services.library import Library

KINDS: Mapping[str, tuple[EpisodeKind, ...]] = MappingProxyType(
    {
        "act_vae": (EpisodeKind.TELEOP, EpisodeKind.IMPORTED),
        "vd_vae": (EpisodeKind.TELEOP, EpisodeKind.HUMAN),
        "ntp": (EpisodeKind.TELEOP, EpisodeKind.HUMAN),
        "rf": (EpisodeKind.TELEOP, EpisodeKind.HUMAN),
    }
)
_USED_WHEN_THERE: Mapping[str, tuple[str, ...]] = MappingProxyType({"ntp": ("vd_vae",), "rf": ("vd_vae",)})
_TIME_GRID = ("horizon_s", "step_s")
_LATEST_FIRST = ("rf", "ntp", "vd_vae", "act_vae")


def plan_run(
    home: Home,
    stage: str,
    preset: str = "station",
    *,
    episodes: Sequence[str] | None = None,
    base: Mapping[str, str] | None = None,
    replay: Sequence[str] = (),
    hold_out: Sequence[str] = (),
    unchecked: bool = False,
    **changes: Any,
) -> RunSpec:
    """Everything a trainer needs, checked before a process is started. See ``RunSpec`` for the arguments.

    Raises NotFoundError for an unknown stage, preset, recipe field, take or model, with the nearest right name, and
    WorkbenchError when there is nothing to learn from or an earlier stage is not trained yet.
    """
    recipe = preset_recipe(preset, stage, **changes)
    bases = choose_bases(home, stage, base or {}, recipe)
    chosen = tuple(episodes) if episodes is not None else suitable_episodes(home.path, stage)
    if not chosen:
        raise WorkbenchError(f"there is no take that {TITLES[stage]} could learn from", "Record or import some first")
    _check_exist(home, (*chosen, *replay))
    run_id = f"{new_id()[:12]}-{stage}"
    spec = RunSpec(stage, recipe, chosen, home.path, bases, tuple(replay), run_id=run_id, preset=preset)
    return replace(spec, hold_out=tuple(hold_out), unchecked=unchecked)


def suitable_episodes(home: Path, stage: str, tasks: Sequence[str] | None = None) -> tuple[str, ...]:
    """Ids of the takes a stage learns from by default: its kinds, not labelled as failures, of some tasks or all."""
    with Library(home) as library:
        records = library.episodes()
    wanted = [r for r in records if r.kind in KINDS[stage] and r.outcome != Outcome.FAILURE]
    return tuple(sorted(record.id for record in wanted if tasks is None or record.task in tasks))


def choose_bases(home: Home, stage: str, given: Mapping[str, str], recipe: Recipe | None = None) -> dict[str, str]:
    """Model ids by role: those given, the ones they were built on, and the promoted or newest for what is missing.

    With a recipe, models on its time grid go before others, such as imported ones.
    """

    def fits(record: ModelRecord) -> bool:
        return recipe is None or all(record.recipe.get(name) == getattr(recipe, name) for name in _TIME_GRID)

    bases = dict(given)
    for model_id in given.values():
        read_record(home, model_id)
    needed, useful = NEEDS[stage], _USED_WHEN_THERE.get(stage, ())
    for role in _LATEST_FIRST:
        if role not in bases and role in (*needed, *useful):
            try:
                bases[role] = newest(home, role, fits).id
            except NotFoundError:
                if role in needed:
                    raise
        if role in bases:
            for older, model_id in read_record(home, bases[role]).bases.items():
                bases.setdefault(older, model_id)
    return bases


def _check_exist(home: Home, episodes: Sequence[str]) -> None:
    with Library(home.path) as library:
        known = {record.id for record in library.episodes()}
    for episode_id in episodes:
        if episode_id not in known:
            raise NotFoundError.of("take", episode_id, known)
