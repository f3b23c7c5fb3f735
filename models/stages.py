"""The training stages by name and what a run folder says about its run. Free of torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from models.recipes import Recipe, recipe_from_json
from workbench.core.errors import NotFoundError, WorkbenchError
from workbench.core.files import new_id, read_json, write_json

STAGES: tuple[str, ...] = ("act_vae", "vd_vae", "ntp", "rf")

TITLES: Mapping[str, str] = MappingProxyType(
    {"act_vae": "Act-VAE", "vd_vae": "Alignment (VD-VAE)", "ntp": "CLAP-NTP", "rf": "CLAP-RF"}
)

PAUSED = "paused"  # a file in a run's folder: while it is there, whoever works on the run rests

DISPATCH: Mapping[str, str] = MappingProxyType(
    {
        "act_vae": "models.act_vae:ActVaeStage",
        "vd_vae": "models.vd_vae:VdVaeStage",
        "ntp": "models.ntp:NtpStage",
        "rf": "models.rf:RfStage",
    }
)

NEEDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"act_vae": (), "vd_vae": ("act_vae",), "ntp": ("act_vae",), "rf": ("act_vae", "ntp")}
)


@dataclass(frozen=True, slots=True)
class RunSpec:
    """What ``run.json`` holds: everything a worker needs to do, or go on with, a run.

    Attributes:
        stage: one of ``STAGES``.
        recipe: the complete recipe.
        episodes: ids of the takes to learn from.
        home: the data root.
        bases: model ids by role: ``act_vae``, ``vd_vae`` (pseudo-labels and encoder), ``ntp``, ``rf`` (for
            fine-tuning: start and frozen reference).
        replay: ids of old takes from which some rows are drawn while fine-tuning.
        run_id: name of the run's folder.
        model_id: id the finished model gets; fixed here, so that a resumed run ends in the same model.
        preset: name of the preset the recipe came from, for people.
        hold_out: ids of takes that are only measured on, beside those that the recipe's share chooses.
        unchecked: the model may not be used before a check for forgetting has passed it.
    """

    stage: str
    recipe: Recipe
    episodes: tuple[str, ...]
    home: Path
    bases: Mapping[str, str] = field(default_factory=dict)
    replay: tuple[str, ...] = ()
    run_id: str = field(default_factory=new_id)
    model_id: str = field(default_factory=new_id)
    preset: str = ""
    hold_out: tuple[str, ...] = ()
    unchecked: bool = False

    def __post_init__(self) -> None:
        if self.stage not in STAGES:
            raise NotFoundError.of("training stage", self.stage, STAGES)
        if self.recipe.stage != self.stage:
            raise WorkbenchError(f"a {self.recipe.stage} recipe cannot train the stage {self.stage}")
        for role in NEEDS[self.stage]:
            if not self.bases.get(role):
                raise WorkbenchError(
                    f"{TITLES[self.stage]} needs a trained {TITLES[role]} model", f"Train the stage '{role}' first"
                )

    @property
    def folder(self) -> Path:
        """``runs/<run id>`` below the data root."""
        return self.home / "runs" / self.run_id

    def to_json(self) -> dict[str, Any]:
        """Plain values; ``from_json`` inverts it."""
        return {
            "stage": self.stage,
            "recipe": self.recipe.to_json(),
            "episodes": list(self.episodes),
            "home": str(self.home),
            "bases": dict(self.bases),
            "replay": list(self.replay),
            "run_id": self.run_id,
            "model_id": self.model_id,
            "preset": self.preset,
            "hold_out": list(self.hold_out),
            "unchecked": self.unchecked,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> RunSpec:
        """Invert ``to_json``."""
        return cls(
            stage=value["stage"],
            recipe=recipe_from_json(value["recipe"]),
            episodes=tuple(value["episodes"]),
            home=Path(value["home"]),
            bases=dict(value.get("bases", {})),
            replay=tuple(value.get("replay", ())),
            run_id=value["run_id"],
            model_id=value["model_id"],
            preset=value.get("preset", ""),
            hold_out=tuple(value.get("hold_out", ())),
            unchecked=bool(value.get("unchecked", False)),
        )

    def write(self) -> Path:
        """Make the run's folder with its ``run.json``; returns the folder."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self.folder / "run.json", self.to_json())
        return self.folder

    @classmethod
    def read(cls, folder: Path) -> RunSpec:
        """The spec of a run folder; WorkbenchError if it has none or a broken one."""
        value = read_json(folder / "run.json")
        try:
            return cls.from_json(value)
        except KeyError as error:
            raise WorkbenchError(f"{folder / 'run.json'} lacks {error}", "Start the run anew") from None
