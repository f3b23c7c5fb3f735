"""SigLIP (Zhai et al. 2023) as a frozen picture encoder; also SigLIP 2 of a fixed resolution."""

from __future__ import annotations

from models.encoders import ENCODERS, Encoder
from models.vision import Config, Family, PatchEncoder
from workbench.core.registry import Plugin

_FAMILY = Family(
    "siglip",
    "SigLIP",
    (("siglip", "SiglipVisionModel"), ("siglip_vision_model", "SiglipVisionModel")),
    mean=(0.5, 0.5, 0.5),
    spread=(0.5, 0.5, 0.5),
    resized=True,
)


def _build(config: Config) -> Encoder:
    return PatchEncoder(_FAMILY, config)


PLUGIN = ENCODERS.register(
    Plugin(_FAMILY.kind, _FAMILY.title, Config, _build, needs="transformers", install="transformers")
)
