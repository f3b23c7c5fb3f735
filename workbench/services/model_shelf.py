"""Which trained model is in use: the window's door to the registry."""

from __future__ import annotations

from pathlib import Path

from models import registry
from models.registry import ModelRecord
from storage.layout import Home


def promote(home: Path, model_id: str) -> ModelRecord:
    """Put a model into use for its stage; NotFoundError with the nearest id."""
    return registry.promote(Home.open(home), model_id)


def rollback(home: Path, stage: str = "rf") -> ModelRecord:
    """Bring back the model that was in use before; WorkbenchError if there is none."""
    return registry.rollback(Home.open(home), stage)
