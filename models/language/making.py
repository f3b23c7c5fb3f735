"""A policy on a language model: made new for a recipe, described in a checkpoint, made again from that."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models import checkpoint, text
from models.backbone import BackboneSize, InputNoise
from models.language import base
from models.language.brain import LARGEST_RANK, Brain
from models.language.net import LanguageBackbone, LanguageNet
from models.language.pictures import LARGEST_PX
from models.language.sentence import letters
from models.recipes import NtpRecipe, PolicyRecipe

# What was learned from the web changes this much slower than layers that start from nothing.
SLOWER: Mapping[str, float] = {"lora": 0.05, "full": 0.005}


def embedding(recipe: PolicyRecipe) -> Callable[[str], NDArray[np.float32]]:
    """How a new policy of this recipe takes in an instruction."""
    if isinstance(recipe, NtpRecipe) and recipe.in_language:
        return letters
    return text.embed_roles if recipe.by_role else text.embed


def new_brain(recipe: NtpRecipe, home: Path, cameras: Sequence[str]) -> Brain:
    """The recipe's base with a fresh adapter; may fetch it if the recipe says so. WorkbenchError as ``open_base``."""
    found = base.open_base(base.wanted(recipe.backbone_folder, home), recipe.backbone)
    return Brain(found, cameras, recipe.picture_px, recipe.tuning, recipe.lora_rank)


def new_net(brain: Brain, size: BackboneSize, noise: InputNoise, tokens: int, codes: int) -> LanguageNet:
    """Everything around the base, new."""
    return LanguageNet(LanguageBackbone(size, noise, brain), tokens, codes)


def described(net: LanguageNet) -> dict[str, Any]:
    """For a checkpoint's meta: which base, and what was tuned of it."""
    brain = net.backbone.brain
    return {
        "kind": brain.base.kind,
        "name": brain.base.name,
        "folder": str(brain.base.folder.resolve()),
        "sha256": brain.base.sha256,
        "px": brain.px,
        "tuning": brain.tuning,
        "rank": brain.rank,
    }


def brain_again(told: Mapping[str, Any], cameras: Sequence[str], near: Path | None) -> Brain:
    """Invert ``described``; ``near`` is the data folder the policy lies in. WorkbenchError as ``find_again``."""
    px, rank = checkpoint.whole(told["px"], LARGEST_PX), checkpoint.whole(told["rank"], LARGEST_RANK)
    tuning = str(told["tuning"])
    if tuning not in NtpRecipe.TUNINGS:
        raise ValueError(f"{tuning[:20]} is no way to tune a model")
    return Brain(base.find_again(told, near), cameras, px, tuning, rank)
