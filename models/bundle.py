"""Finished models as folders: weights, meta and record written together, and the frozen encoder that travels along."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from models import checkpoint
from models.encoders import ENCODERS, Encoder
from models.registry import PENDING, ModelRecord, model_folder, read_record, write_record
from models.stages import RunSpec
from models.takes import Takes, fit_encoder
from models.train import Result, plain
from storage.layout import Home
from workbench.core.errors import WorkbenchError

_ENCODER = "encoder"
_ENCODER_FROM = ("rf", "ntp", "vd_vae")


def save_model(
    spec: RunSpec,
    home: Home,
    tensors: Mapping[str, Tensor],
    meta: Mapping[str, Any],
    result: Result,
    takes: Takes,
    *,
    encoder: Encoder | None = None,
    parent: str = "",
) -> None:
    """Write ``models/<id>/``: weights and meta first, the record last, so that a model is there whole or not at all.

    The meta of ``checkpoint.load`` gets the keys ``stage``, ``recipe`` and, with an encoder, ``encoder``.
    """
    folder = model_folder(home, spec.model_id)
    everything = dict(tensors)
    more = {**meta, "stage": spec.stage, "recipe": spec.recipe.to_json()}
    if encoder is not None:
        state = {key: torch.from_numpy(value.copy()) for key, value in encoder.state().items()}
        everything |= checkpoint.with_prefix(_ENCODER, state)
        more["encoder"] = {"kind": encoder.kind, "settings": encoder.settings()}
    checkpoint.save(folder, everything, plain(more))
    record = ModelRecord(
        id=spec.model_id,
        stage=spec.stage,
        recipe=spec.recipe.to_json(),
        recipe_hash=spec.recipe.hash(),
        parent=parent,
        bases=dict(spec.bases),
        tasks=tuple(sorted({take.task for take in takes if take.task})),
        metrics=plain(result.metrics),
        data=takes.snapshot(),
        run_id=spec.run_id,
        preset=spec.preset,
        gate=PENDING if spec.unchecked else {},
    )
    write_record(home, record)


def load_model(home: Home, model_id: str, stage: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and meta of a finished model. NotFoundError for a wrong id, WorkbenchError for another stage's."""
    record = read_record(home, model_id)
    if record.stage != stage:
        raise WorkbenchError(
            f"the model {model_id} is of the stage {record.stage}, not {stage}", "Choose another model"
        )
    return checkpoint.load(model_folder(home, model_id))


def encoder_from(tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> Encoder:
    """The encoder saved in a model. WorkbenchError if it has none."""
    description = meta.get("encoder")
    if not isinstance(description, Mapping):
        raise WorkbenchError("the model holds no picture encoder", "Train the model anew")
    encoder = ENCODERS.build(description["kind"], **description["settings"])
    encoder.load_state({key: value.numpy() for key, value in checkpoint.part(tensors, _ENCODER).items()})
    return encoder


def encoder_for(spec: RunSpec, home: Home) -> Encoder:
    """The encoder of the models this run builds on, else a new one fitted on the run's takes (deterministic).

    An alignment that reads patches keeps its encoder to itself: policies look at keypoints.
    """
    for role in _ENCODER_FROM:
        if model_id := spec.bases.get(role):
            encoder = encoder_from(*checkpoint.load(model_folder(home, model_id)))
            if encoder.layout == "keypoints":
                return encoder
    return fit_encoder(home, (*spec.episodes, *spec.replay), spec.recipe)
