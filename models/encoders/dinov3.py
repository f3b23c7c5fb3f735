"""DINOv3 (Siméoni et al. 2025) as a frozen picture encoder; CLAP looks through its ViT-B/16."""

from __future__ import annotations

from models.encoders import ENCODERS, Encoder
from models.vision import Config, Family, PatchEncoder
from workbench.core.registry import Plugin

_FAMILY = Family("dinov3", "DINOv3", (("dinov3_vit", "DINOv3ViTModel"),))


def _build(config: Config) -> Encoder:
    return PatchEncoder(_FAMILY, config)


PLUGIN = ENCODERS.register(
    Plugin(_FAMILY.kind, _FAMILY.title, Config, _build, needs="transformers", install="transformers")
)
