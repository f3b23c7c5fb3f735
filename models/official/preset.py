"""Sizes of the published release, for the command line and machines with a large GPU; the window does not offer them.

The codec and the alignment are as in the released configuration, but for the codebooks, which follow averages and
restart dead codes from fresh latents here. The policies are this program's own and only share the time grid with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from models.recipes import ActVaeRecipe, NtpRecipe, Recipe, RfRecipe, VdVaeRecipe

NAME = "clap-l32"
HORIZON, RATE_HZ = 32, 30
_GRID: dict[str, Any] = {"horizon_s": HORIZON / RATE_HZ, "step_s": 1 / RATE_HZ}

_RECIPES: tuple[Recipe, ...] = (
    ActVaeRecipe(
        **_GRID,
        net="skip",
        tokens=8,
        codes=512,
        code_dim=128,
        width=512,
        layers=15,
        steps=50_000,
        batch=256,
        lr=2e-5,
        warmup=1000,
        lr_floor=0.1,
        weight_decay=1e-2,
        commit=1.0,
        restart_every=2000,
        rotation_weight=1.0,
    ),
    VdVaeRecipe(
        **_GRID,
        net="space_time",
        encoder="dinov3",
        clusters=300,
        width=768,
        layers=12,
        heads=12,
        irrelevant_codes=512,
        steps=50_000,
        batch=32,
        lr=1e-4,
        warmup=1000,
        lr_floor=0.1,
        weight_decay=1e-2,
        clip=0.1,
        commit=1.0,
        contrast_weight=0.1,
        logit_bias=-10.0,
        scalar_lr_factor=1.0,
        decode_weight=0.0,
        token_weight=0.0,
        human_ema=0.999,
        feature_noise=0.0,
        cluster_shuffle=0.0,
        tips=False,
    ),
    NtpRecipe(**_GRID, steps=30_000, batch=256, width=512, layers=4, lr=1e-3),
    RfRecipe(**_GRID, steps=30_000, batch=256, width=512, layers=4, flow_width=384, flow_layers=6, lr=1e-3),
)

PUBLISHED: Mapping[str, Mapping[str, Recipe]] = MappingProxyType(
    {NAME: MappingProxyType({recipe.stage: recipe for recipe in _RECIPES})}
)
