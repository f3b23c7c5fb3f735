"""A small data folder with a trained model and new takes, made in this process, for tests of fine-tuning."""

from __future__ import annotations

from models import train_worker
from storage.layout import Home
from tests.services.learnable import write_reach
from workbench.services.runs import plan_run

OLD, NEW = "red_cube_to_white_plate", "purple_cylinder_to_white_plate"


def train_small(home: Home) -> str:
    """Every stage a driving model needs, a few steps each; returns the CLAP-RF model's id."""
    model_id = ""
    for stage in ("act_vae", "ntp", "rf"):
        spec = plan_run(home, stage, "tiny", steps=12, batch=16, report_every=4)
        spec.write()
        assert train_worker.run(spec.folder, resume=False) == train_worker.DONE
        model_id = spec.model_id
    return model_id


def stock(home: Home, old: int = 8, new: int = 6) -> str:
    """``old`` takes of the old task, a model of them, ``new`` takes of a new task; returns the model's id."""
    for seed in range(old):
        write_reach(home, seed, task=OLD)
    model_id = train_small(home)
    for seed in range(new):
        write_reach(home, 100 + seed, task=NEW)
    return model_id
