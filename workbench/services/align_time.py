"""How long an alignment will take here: from the pace of earlier trainings on this machine, else a rough guess."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from models.recipes import preset as preset_recipe
from models.stages import RunSpec
from storage.layout import Home
from workbench.core.errors import WorkbenchError
from workbench.services.aligning import TRAININGS
from workbench.services.run_files import read_lines

GUESS_S = {"act_vae": 0.03, "vd_vae": 0.09}  # per step of the usual width and batch on one core of two, measured once
USUAL_BATCH = 128
REPORT_S = 45.0
_LOOK_AT = 12  # newest runs of a data folder


@dataclass(frozen=True, slots=True)
class Estimate:
    """Seconds, and whether the pace of both trainings was measured in this data folder."""

    seconds: float
    measured: bool


def estimate(home: Path, preset: str) -> Estimate:
    """Reads the ends of a few small files. NotFoundError for an unknown preset."""
    total, measured = REPORT_S, True
    for stage in TRAININGS:
        recipe = preset_recipe(preset, stage)
        pace = _pace(Home.open(home).runs, stage, recipe.batch)
        measured &= pace is not None
        total += recipe.steps * (pace if pace is not None else GUESS_S[stage] * recipe.batch / USUAL_BATCH)
    return Estimate(total, measured)


def _pace(runs: Path, stage: str, batch: int) -> float | None:
    """Seconds per step of the newest run of this stage with this batch that got far enough to tell."""
    for path in sorted(runs.glob(f"*-{stage}/progress.jsonl"), reverse=True)[:_LOOK_AT]:
        try:
            same = RunSpec.read(path.parent).recipe.batch == batch
        except (WorkbenchError, OSError):
            continue
        lines = read_lines(path) if same else []
        if len(lines) >= 2 and lines[-1]["step"] > lines[0]["step"]:
            spent = float(lines[-1].get("seconds", 0.0)) - float(lines[0].get("seconds", 0.0))
            if spent > 0:
                return spent / float(lines[-1]["step"] - lines[0]["step"])
    return None
