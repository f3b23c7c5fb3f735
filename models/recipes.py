"""Recipes: frozen, complete descriptions of training runs. Free of torch, so that anyone may read and choose them."""

from __future__ import annotations

import dataclasses
import importlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Self

from models.language.recipe import Thinking
from models.recipe_values import fitted_to, plain
from workbench.core.errors import NotFoundError, WorkbenchError
from workbench.core.files import hash_bytes


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What every stage states.

    Attributes:
        seed: of every random choice of the run.
        steps, batch: optimiser steps and rows per step.
        lr, warmup, lr_floor: peak learning rate, steps of linear rise, share of it left at the end of the cosine.
        weight_decay, clip: of AdamW; the largest gradient norm.
        weight_ema: decay of the averaged weights that are evaluated and saved; 0 = keep the last weights.
        report_every: steps between lines of the progress file.
        checkpoint_s: seconds between checkpoints.
        cameras: names of the cameras whose pictures are used.
        horizon_s, step_s: length of an action chunk and time between its actions.
        encoder, clusters: kind of the frozen picture encoder and how many tokens it gives per picture.
        encoder_source: where the encoder's network lies, for kinds that need one: a folder, or a hub's id.
        held_out: share of the episodes that are only measured on.
    """

    stage: ClassVar[str] = ""

    seed: int = 0
    steps: int = 1000
    batch: int = 128
    lr: float = 1e-3
    warmup: int = 50
    lr_floor: float = 0.05
    weight_decay: float = 1e-4
    clip: float = 1.0
    weight_ema: float = 0.0
    report_every: int = 20
    checkpoint_s: float = 30.0
    cameras: tuple[str, ...] = ("front", "wrist")
    horizon_s: float = 0.8
    step_s: float = 0.1
    encoder: str = "colour_keypoints"
    clusters: int = 32
    encoder_source: str = ""
    held_out: float = 0.12

    @property
    def encoder_settings(self) -> dict[str, Any]:
        """What a new encoder of this kind is made with."""
        source = {"source": self.encoder_source} if self.encoder_source else {}
        return {"clusters": self.clusters, **source}

    @property
    def horizon(self) -> int:
        """Actions per chunk, H."""
        return round(self.horizon_s / self.step_s)

    def to_json(self) -> dict[str, Any]:
        """Plain values; ``from_json`` inverts it."""
        return {"stage": self.stage, **{k: plain(v) for k, v in dataclasses.asdict(self).items()}}

    def hash(self) -> str:
        """The same for equal recipes and only for those."""
        return hash_bytes(json.dumps(self.to_json(), sort_keys=True).encode())

    def with_(self, **changes: Any) -> Self:
        """A copy with some fields changed; an unknown field is answered with the nearest name."""
        known = {field.name: field for field in dataclasses.fields(self)}
        for name in changes:
            if name not in known:
                raise NotFoundError.of(f"setting of a {self.stage} recipe", name, known)
        fitted = {name: fitted_to(name, value, getattr(self, name)) for name, value in changes.items()}
        return dataclasses.replace(self, **fitted)

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch < 1 or self.step_s <= 0 or self.horizon < 1:
            raise WorkbenchError(f"a {self.stage} recipe needs positive steps, batch, step_s and horizon_s")
        if not self.cameras:
            raise WorkbenchError(f"a {self.stage} recipe names no camera", "Name at least one, for example 'front'")


@dataclass(frozen=True, kw_only=True)
class ActVaeRecipe(Recipe):
    """Robot chunks to tokens of an executable codebook.

    Attributes:
        tokens, codes, code_dim: N tokens per chunk, K codes in the shared book, D numbers per code.
        net: ``mlp``: residual networks on both sides, or ``skip``: the published transformers, see ``official.skip``.
        width, layers, heads: of both sides; ``skip`` wants an odd number of layers, ``mlp`` has no heads.
        prefix_weight: of the error of the chunk that the first few tokens alone decode to, drawn anew every step, so
            that fewer tokens make a rougher chunk (``skip`` only); 0 = off.
        commit: weight of the commitment term.
        code_decay: of the book's moving averages.
        restart_every, restart_below: every so many steps, codes used less than this share of a fair share are
            restarted from recent encoder outputs.
        rotation_weight, gripper_weight: of these parts of the reconstruction error against position's 1.
    """

    stage: ClassVar[str] = "act_vae"

    tokens: int = 6
    codes: int = 64
    code_dim: int = 2
    lr: float = 4e-3
    net: str = "mlp"
    width: int = 192
    layers: int = 1
    heads: int = 4
    prefix_weight: float = 0.0
    commit: float = 0.25
    code_decay: float = 0.98
    restart_every: int = 50
    restart_below: float = 0.1
    rotation_weight: float = 0.5
    gripper_weight: float = 1.0

    NETS: ClassVar[tuple[str, ...]] = ("mlp", "skip")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.net not in self.NETS:
            raise NotFoundError.of("network of an Act-VAE", self.net, self.NETS)
        if self.prefix_weight > 0 and (self.net != "skip" or self.tokens < 2):
            raise WorkbenchError("only the network 'skip' decodes some of several tokens", "Set net=skip")


@dataclass(frozen=True, kw_only=True)
class VdVaeRecipe(Recipe):
    """Pictures at t and t+H to the frozen action book (paper section III-B; learning notes in docs).

    Attributes:
        net: ``ask``: queries over keypoints, or ``space_time``: the published network over patches of one camera, see
            ``official.space_time``.
        width, layers, heads: of the inverse-dynamics encoder and the forward decoder; the heads are ``space_time``'s.
        arms: arms of which tokens are read off a picture (``space_time``); the last one is ours.
        irrelevant_tokens, irrelevant_codes, irrelevant_l1: the second book for what the action does not explain.
        reconstruct_weight, commit: forward prediction of features; commitment to both books.
        contrast_weight, logit_scale, logit_bias, scalar_lr_factor: symmetric sigmoid contrast (alpha, log of the
            start temperature, start bias, learning-rate factor of those two scalars). With alpha 1 it pulls latents
            away from their own actions' codes, because similar actions count as negatives; 0.1 as published does not.
        contrast_on: ``quantised`` (paper) or ``continuous`` latents of the pictures.
        mask_distance: action chunks closer than this (root mean square, normalised) are never negatives.
        decode_weight: error of the actions decoded from the visual codes, robot rows.
        token_weight: cross-entropy over the frozen codes, robot rows.
        human_share: share of human rows in a batch where there are any.
        human_ema, human_ema_from: decay of the averaged encoder that gives human rows their pseudo-positive, and the
            share of the run after which it counts; 0 = off, the default, because it hurt in every comparison so far.
        feature_noise: added to the standardised features of the encoder's input.
        cluster_shuffle: share of rows whose clusters are permuted, so that the colour of an arm or a sleeve matters
            less than how it moves.
        shape_dropout: share of robot rows of which, as of human rows always, only the places of clusters are shown and
            not their size: an arm that reaches into the picture grows where a hand from the other side shrinks.
        tips: use the path of the tip of what reaches into the first camera's picture, where depth tells it (``tips``).
        cluster_dropout: share of robot rows with such a path of which, as of human rows with one always, the clusters
            are hidden: how an arm and a hand look differs, how their tips move does not. With 1 robot rows are read
            without them ever after, too, and a background does not matter.
        tip_noise_m: added to every place of a path in training.
        camera_dropout: share of robot rows whose cameras beyond the first are hidden (always hidden for human rows).
        control: variant trained beside the model and measured the same way: "" or a name in ``VARIANTS``.
    """

    stage: ClassVar[str] = "vd_vae"

    cameras: tuple[str, ...] = ("front",)
    net: str = "ask"
    width: int = 64
    layers: int = 1
    heads: int = 4
    arms: int = 1
    irrelevant_tokens: int = 2
    irrelevant_codes: int = 32
    irrelevant_l1: float = 0.5
    reconstruct_weight: float = 1.0
    commit: float = 0.25
    contrast_weight: float = 0.1
    logit_scale: float = 2.302585
    logit_bias: float = -4.0
    scalar_lr_factor: float = 10.0
    contrast_on: str = "quantised"
    mask_distance: float = 0.1
    decode_weight: float = 1.0
    token_weight: float = 0.1
    human_share: float = 0.4
    human_ema: float = 0.0
    human_ema_from: float = 0.0
    feature_noise: float = 0.02
    cluster_shuffle: float = 0.7
    shape_dropout: float = 0.5
    tips: bool = True
    cluster_dropout: float = 1.0
    tip_noise_m: float = 0.01
    camera_dropout: float = 0.5
    control: str = ""

    VARIANTS: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
        {
            "no_contrast": {"contrast_weight": 0.0},
            "reconstruction_only": {"contrast_weight": 0.0, "decode_weight": 0.0, "token_weight": 0.0},
            "no_human": {"human_share": 0.0},
            "supervised_only": {"contrast_weight": 0.0, "reconstruct_weight": 0.0, "human_share": 0.0},
            "contrast_only": {"decode_weight": 0.0, "token_weight": 0.0},
            "no_tips": {"tips": False},
            "strong_contrast": {"contrast_weight": 1.0},
            "with_clusters": {"cluster_dropout": 0.5},
        }
    )

    NETS: ClassVar[tuple[str, ...]] = ("ask", "space_time")

    @property
    def encoder_settings(self) -> dict[str, Any]:
        return super().encoder_settings | ({"layout": "patches"} if self.net == "space_time" else {})

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.net not in self.NETS:
            raise NotFoundError.of("network of an alignment", self.net, self.NETS)

    def variant(self, name: str) -> VdVaeRecipe:
        """This recipe with one ingredient taken out; NotFoundError for an unknown name."""
        if name not in self.VARIANTS:
            raise NotFoundError.of("variant of the alignment", name, self.VARIANTS)
        return self.with_(control="", **self.VARIANTS[name])


@dataclass(frozen=True, kw_only=True)
class PolicyRecipe(Recipe):
    """What the two policy stages share: the instruction-generated selectors over keypoints and its regularisers.

    Attributes:
        width, layers, selectors: of the backbone; softmax selectors over the clusters of the pictures.
        by_role: half of the selectors hear only which thing is meant, half only which place, and each half gives one
            answer, see ``Backbone``.
        feature_noise, shift_noise: on every keypoint number and, shared by a camera, on the keypoints' places.
        proprio_noise: on the state.
        outside_share: robot rows that are seen as human rows always are: first camera only, no proprioception.
        text_noise: on the instruction's vector, relative to its length; makes unheard wordings less of a jump.
        selector_lr_factor: learning rate of what the instruction selects, against the rest of the backbone; its weight
            decay per step stays the same.
        keyframe_weight: of the hindsight keyframe loss.
        regression_weight: of an auxiliary direct regression of the chunk.
        human_share, human_weight, confidence_min: share of human rows per batch, weight of their pseudo-tokens and
            the confidence below which they are ignored.
        patience, look_every: end the training once the loss of the held-out takes, looked at every so many steps, has
            not fallen for ``patience`` looks in a row, and keep the best weights; 0 = never, train to the last step.
        temperature: at which the token head draws its tokens when it drives; 0 = always the most likely ones.
    """

    width: int = 160
    layers: int = 2
    selectors: int = 16
    by_role: bool = True
    feature_noise: float = 0.02
    shift_noise: float = 0.01
    proprio_noise: float = 0.02
    outside_share: float = 0.05
    text_noise: float = 0.1
    selector_lr_factor: float = 1.0
    keyframe_weight: float = 1.0
    regression_weight: float = 5.0
    human_share: float = 0.3
    human_weight: float = 1.0
    confidence_min: float = 0.0
    patience: int = 0
    look_every: int = 100
    temperature: float = 0.0
    weight_decay: float = 1e-2
    weight_ema: float = 0.995


@dataclass(frozen=True, kw_only=True)
class NtpRecipe(PolicyRecipe, Thinking):
    """Autoregressive policy over action tokens, true for robot rows, pseudo for human rows.

    Attributes:
        token_weight: of the next-token loss.
        label_smoothing: of its cross-entropy.
        the rest: see ``Thinking``.
    """

    stage: ClassVar[str] = "ntp"

    token_weight: float = 1.0
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_thinking()


@dataclass(frozen=True, kw_only=True)
class RfRecipe(PolicyRecipe):
    """Rectified-flow chunk head on the autoregressive policy, with Knowledge Matching against a frozen reference.

    Fine-tuning starts from the base model ``rf``, which is also the frozen reference; all knowledge-matching weights
    and the replay share at 0 is plain fine-tuning.

    Attributes:
        flow_width, flow_layers, heads: of the flow network; self-attention over the steps of the chunk.
        integration_steps, time_draws, beta_a, beta_b: Euler steps; times per row from 0.999 (1 - Beta(a, b)).
        flow_weight, token_weight: of the flow loss and of the next-token loss kept beside it.
        backbone_lr_factor: the learning rate of backbone and token head against the flow head's; 0 freezes them.
        tune_lr_factor: when fine-tuning, the learning rate of everything but the selectors.
        km_token_weight, km_velocity_weight, km_regression_weight: pull towards the reference's token
            distribution (KL(reference || policy)), velocity field and regression.
        km_relative: multiply each of these weights by the weight of the loss it belongs to.
        km_old_instructions: match on the pictures of this run under random old instructions instead of the own one.
        km_replayed: match on the rehearsed pictures too, not on the new ones alone.
        protect_old: when fine-tuning, let the weights that read the instruction (selectors, offset, gates) move only in
            directions no old instruction has, so that those say exactly what they said (``keeping``). All these weights
            then learn at the selectors' rate.
        replay_share: share of rows drawn from old episodes.
    """

    stage: ClassVar[str] = "rf"

    flow_width: int = 96
    flow_layers: int = 2
    heads: int = 4
    integration_steps: int = 4
    time_draws: int = 1
    beta_a: float = 1.5
    beta_b: float = 1.0
    flow_weight: float = 1.0
    token_weight: float = 1.0
    backbone_lr_factor: float = 1.0
    tune_lr_factor: float = 1.0
    km_token_weight: float = 0.0
    km_velocity_weight: float = 0.0
    km_regression_weight: float = 0.0
    km_relative: bool = False
    km_old_instructions: bool = True
    km_replayed: bool = False
    protect_old: bool = False
    replay_share: float = 0.0


RECIPES: Mapping[str, type[Recipe]] = MappingProxyType(
    {cls.stage: cls for cls in (ActVaeRecipe, VdVaeRecipe, NtpRecipe, RfRecipe)}
)


def _stages(*recipes: Recipe) -> Mapping[str, Recipe]:
    return MappingProxyType({recipe.stage: recipe for recipe in recipes})


PRESETS: Mapping[str, Mapping[str, Recipe]] = MappingProxyType(
    {
        "tiny": _stages(
            ActVaeRecipe(steps=200, width=64, codes=32),
            VdVaeRecipe(steps=60, batch=64, width=32),
            NtpRecipe(steps=60, batch=64, width=64, layers=1, lr=5e-3, warmup=10),
            RfRecipe(steps=60, batch=64, width=64, layers=1, flow_width=32, flow_layers=1, lr=5e-3, warmup=10),
        ),
        "quick": _stages(
            ActVaeRecipe(steps=1200),
            VdVaeRecipe(steps=350),
            NtpRecipe(steps=500, batch=128, lr=6e-3),
            RfRecipe(steps=400, batch=128, lr=3e-3),
        ),
        "station": _stages(
            ActVaeRecipe(steps=3500),
            VdVaeRecipe(steps=2000),
            NtpRecipe(steps=2000, batch=192, lr=6e-3),
            RfRecipe(steps=1500, batch=160, lr=3e-3),
        ),
    }
)


def preset(name: str, stage: str, **changes: Any) -> Recipe:
    """The recipe of a preset with some fields changed; a wrong name is answered with the nearest right one."""
    published = importlib.import_module("models.official.preset")  # which is made of the recipes above
    known: dict[str, Mapping[str, Recipe]] = {**PRESETS, **published.PUBLISHED}
    if name not in known:
        raise NotFoundError.of("recipe preset", name, known)
    if stage not in RECIPES:
        raise NotFoundError.of("training stage", stage, RECIPES)
    return known[name][stage].with_(**changes)


def recipe_from_json(value: Mapping[str, Any]) -> Recipe:
    """Invert ``Recipe.to_json``. NotFoundError for an unknown stage or field, with the nearest right name."""
    fields = dict(value)
    stage = str(fields.pop("stage", ""))
    if stage not in RECIPES:
        raise NotFoundError.of("training stage", stage, RECIPES)
    return RECIPES[stage]().with_(**fields)
