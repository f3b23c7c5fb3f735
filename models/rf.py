"""CLAP-RF: trains the flow head on the NTP's features, and fine-tunes with Knowledge Matching against a frozen copy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn

from models import bundle, familiarity, km
from models.backbone import Seen
from models.data import Batch, Rows
from models.flow_head import RfNet, draw_times, flow_loss
from models.ntp import decayed, ntp_loss, policy_groups
from models.policy_data import PolicyData, join
from models.policy_metrics import measure
from models.policy_model import PolicyModel, input_noise, load_policy_model
from models.recipes import RfRecipe
from models.registry import model_folder
from models.stages import RunSpec
from models.train import Result
from storage.layout import Home
from workbench.core.errors import WorkbenchError


class RfStage:
    """Trains backbone, token head and flow head together; a ``Stage``.

    From base ``ntp`` the flow head is new. From base ``rf`` the run is a fine-tuning: ``episodes`` are the new takes,
    ``replay`` some that the base knew, and the base itself is the frozen reference.
    """

    recipe: RfRecipe

    def __init__(self, spec: RunSpec, home: Home) -> None:
        if not isinstance(spec.recipe, RfRecipe):
            raise WorkbenchError("CLAP-RF needs an rf recipe")
        self.spec, self.home, self.recipe = spec, home, spec.recipe
        torch.manual_seed(self.recipe.seed)
        self.parent = spec.bases.get("rf") or spec.bases["ntp"]
        base = load_policy_model(model_folder(home, self.parent))
        self._tuning = base.rf is not None
        self.data = PolicyData(spec, home, self.recipe, base.codec, base.encoder, base.cameras, base.ntp.embed)
        self.net = self._network(base)
        self.module: nn.Module = self.net
        names = (*base.instructions, *self.data.windows.instructions)
        self.model = PolicyModel(
            base.encoder,
            base.codec,
            self.net.ntp,
            self.net,
            self.recipe,
            base.cameras,
            tuple(dict.fromkeys(names)),
            base.binary_gripper and self.data.binary_gripper(),
        )
        self.reference = km.freeze(base.rf) if base.rf is not None and self._matches() else None
        self._old_IE = torch.from_numpy(np.stack([base.ntp.embed(name) for name in base.instructions]))
        train = self.data.windows.train
        self._new: Rows = train.of(spec.episodes)
        self._old: Rows = train.of(spec.replay)
        if not self._new.count("robot"):
            raise WorkbenchError("none of the new takes has a robot window to learn from", "Record demonstrations")

    def parameters(self) -> list[dict[str, Any]]:
        backbone = self.recipe.backbone_lr_factor
        share = self.recipe.tune_lr_factor if self._tuning else 1.0
        groups = decayed(self.net.flow, share)
        if backbone > 0:
            groups += policy_groups(self.net.ntp, self.recipe, backbone * share, backbone)
        return groups

    def loss(self, generator: Generator, step: int) -> tuple[Tensor, dict[str, float]]:
        batch, new = self._draw(generator)
        seen = self.net.ntp.see(batch.features_BCKF, batch.state_BS, batch.text_BE, batch.has_action_B)
        total, figures = ntp_loss(self.net.ntp, self.recipe, seen, batch, self.recipe.token_weight)
        flow = self._flow(seen, batch)
        total = total + self.recipe.flow_weight * flow
        figures["flow"] = float(flow.detach())
        if self.reference is not None:
            matching, more = self._match(self.reference, new)
            return total + matching, figures | more
        return total, figures

    def held_out_loss(self) -> float:
        """The loss without input noise and without matching on takes, new and old, that are only measured on."""
        batch = self.data.held_out_batch()
        seen = self.net.ntp.see(batch.features_BCKF, batch.state_BS, batch.text_BE, batch.has_action_B)
        total, _ = ntp_loss(self.net.ntp, self.recipe, seen, batch, self.recipe.token_weight)
        return float(total + self.recipe.flow_weight * self._flow(seen, batch))

    def after_step(self, generator: Generator, step: int) -> None:
        """Nothing moves without gradient here."""

    def evaluate(self) -> Result:
        return measure(self.model, self.data)

    def save(self, folder: Path, result: Result) -> None:
        familiarity.fit_and_save(self.data.windows.train, model_folder(self.home, self.spec.model_id))
        model = self.model
        bundle.save_model(
            self.spec,
            self.home,
            model.tensors(),
            model.meta(),
            result,
            self.data.takes,
            encoder=model.encoder,
            parent=self.parent,
        )

    def _network(self, base: PolicyModel) -> RfNet:
        """The base's networks, with a new flow head if it has none, and this run's noise."""
        recipe = self.recipe
        net = base.rf or RfNet(base.ntp, width=recipe.flow_width, depth=recipe.flow_layers, heads=recipe.heads)
        net.ntp.backbone.noise = input_noise(recipe)
        net.ntp.requires_grad_(recipe.backbone_lr_factor > 0)
        return net

    def _matches(self) -> bool:
        recipe = self.recipe
        return max(recipe.km_token_weight, recipe.km_velocity_weight, recipe.km_regression_weight) > 0

    def _draw(self, generator: Generator) -> tuple[Batch, Batch]:
        """A training batch of new and, by the replay share, old rows; and the new rows alone."""
        size = self.recipe.batch
        old = round(size * self.recipe.replay_share) if self._old.count("robot") else 0
        new = self.data.sample(generator, self._new, size - old)
        if not old:
            return new, new
        return join(new, self._old.sample(generator, old, "robot")), new

    def _flow(self, seen: Seen, batch: Batch) -> Tensor:
        """Flow loss of robot rows, each with ``time_draws`` times and noises."""
        draws, robot = self.recipe.time_draws, batch.has_action_B
        index = torch.nonzero(robot)[:, 0].repeat(draws)
        rows = Seen(seen.feature_BD[index], seen.state_BS[index], seen.keyframe_BG[index], seen.regression_BHA[index])
        actions = batch.actions_BHA[index]
        times = draw_times(len(index), self.recipe.beta_a, self.recipe.beta_b)
        return flow_loss(self.net.flow, rows, actions, torch.ones(len(index)), times, torch.randn_like(actions))

    def _match(self, reference: RfNet, new: Batch) -> tuple[Tensor, dict[str, float]]:
        """Weighted distance to the reference on the new pictures, under old instructions unless told otherwise."""
        recipe = self.recipe
        rows = new.where(new.has_action_B)
        said = km.old_instructions(self._old_IE, len(rows)) if recipe.km_old_instructions else rows.text_BE
        asked = km.Asked(rows.features_BCKF, rows.state_BS, said, rows.has_action_B)
        found = km.mismatch(reference, self.net, asked, draw_times(len(rows), recipe.beta_a, recipe.beta_b))
        of_loss = (recipe.token_weight, recipe.flow_weight, recipe.regression_weight)
        token, velocity, regression = of_loss if recipe.km_relative else (1.0, 1.0, 1.0)
        total = (
            recipe.km_token_weight * token * found.token_kl
            + recipe.km_velocity_weight * velocity * found.velocity
            + recipe.km_regression_weight * regression * found.regression
        )
        parts = {"km_token": found.token_kl, "km_velocity": found.velocity, "km_regression": found.regression}
        return total, {name: float(value.detach()) for name, value in parts.items()}
