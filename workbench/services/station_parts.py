"""What the running station looks up before it starts a part of itself."""

from __future__ import annotations

from models.registry import read_record
from storage.layout import Home
from workbench.services.settings import Settings

SIMULATED = "simulated"


def addressed(settings: Settings, address: str) -> Settings:
    """The simulated station's devices told where their world is; cameras of another kind look elsewhere."""
    cameras = tuple(
        camera.model_copy(update={"options": {**camera.options, "address": address}})
        if camera.kind == SIMULATED
        else camera
        for camera in settings.cameras
    )
    arm = settings.arm and settings.arm.model_copy(update={"options": {"address": address}})
    return settings.model_copy(update={"cameras": cameras, "arm": arm})


def chunk_steps(home: Home, model_id: str) -> int:
    """How many actions one chunk of a model has."""
    recipe = read_record(home, model_id).recipe
    return round(float(recipe["horizon_s"]) / float(recipe["step_s"]))
