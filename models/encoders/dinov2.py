"""DINOv2 (Oquab et al. 2023) as a frozen picture encoder: patches of 14 pixels, without class token and registers."""

from __future__ import annotations

from models.encoders import ENCODERS, Encoder
from models.vision import Config, Family, PatchEncoder
from workbench.core.registry import Plugin

_FAMILY = Family(
    "dinov2",
    "DINOv2",
    (("dinov2", "Dinov2Model"), ("dinov2_with_registers", "Dinov2WithRegistersModel")),
)


def _build(config: Config) -> Encoder:
    return PatchEncoder(_FAMILY, config)


PLUGIN = ENCODERS.register(
    Plugin(_FAMILY.kind, _FAMILY.title, Config, _build, needs="transformers", install="transformers")
)
