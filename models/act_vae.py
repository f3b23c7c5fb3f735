"""Act-VAE: robot chunks to a few tokens of an executable codebook and back (CLAP stage 1).

Deterministic encoder, nearest-neighbour quantisation with one book shared by all token positions (van den Oord et al.
2017), the book kept as moving averages of what it stands for (ibid., appendix A.1), decoder back to the chunk.
Letters: B rows, H steps, A = 7 action numbers, N tokens, K codes, D numbers per code, W width.
"""

# ruff: noqa: N815  (axis letters belong to the names)

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn
from torch.nn import functional

from models import bundle, checkpoint, normalize
from models.data import Batch, Kind, Rows, Windows
from models.normalize import ActionScaler
from models.official.skip import SkipDecoder, SkipEncoder
from models.recipes import ActVaeRecipe, recipe_from_json
from models.stages import RunSpec
from models.takes import STATION, load_takes
from models.train import Result
from storage.layout import Home
from workbench.core.errors import WorkbenchError

_ACTION = 7
_MOST = 4096
_DEEPEST = 64


class Residual(nn.Module):
    """x + MLP(norm(x))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.enter = nn.Linear(width, 2 * width)
        self.leave = nn.Linear(2 * width, width)

    def forward(self, hidden: Tensor) -> Tensor:
        out: Tensor = hidden + self.leave(functional.gelu(self.enter(self.norm(hidden))))
        return out


def tower(inputs: int, width: int, outputs: int, layers: int) -> nn.Sequential:
    """Linear, residual blocks, norm, linear."""
    blocks = [Residual(width) for _ in range(layers)]
    return nn.Sequential(nn.Linear(inputs, width), *blocks, nn.LayerNorm(width), nn.Linear(width, outputs))


class Codebook(nn.Module):
    """K codes of D numbers, moved by averages and not by gradients; buffers only."""

    codes_KD: Tensor
    mass_K: Tensor
    total_KD: Tensor
    started: Tensor

    def __init__(self, codes: int, code_dim: int) -> None:
        super().__init__()
        self.register_buffer("codes_KD", torch.randn(codes, code_dim))
        self.register_buffer("mass_K", torch.ones(codes))
        self.register_buffer("total_KD", torch.zeros(codes, code_dim))
        self.register_buffer("started", torch.zeros((), dtype=torch.bool))

    def distance(self, latent_BND: Tensor) -> Tensor:
        """Squared distance to every code, (B, N, K)."""
        square = latent_BND.square().sum(-1, keepdim=True) + self.codes_KD.square().sum(-1)
        return square - 2.0 * latent_BND @ self.codes_KD.T

    def quantise(self, latent_BND: Tensor) -> tuple[Tensor, Tensor]:
        """Nearest codes (B, N, D), with the gradient passed straight through, and their numbers (B, N)."""
        tokens_BN = self.distance(latent_BND.detach()).argmin(-1)
        return latent_BND + (self.codes_KD[tokens_BN] - latent_BND).detach(), tokens_BN

    @torch.no_grad()
    def start(self, latent_BND: Tensor, generator: Generator) -> None:
        """Before the first use: codes are random encoder outputs."""
        if bool(self.started):
            return
        self.codes_KD.copy_(_draw(latent_BND.flatten(0, -2), len(self.codes_KD), generator))
        self.total_KD.copy_(self.codes_KD)
        self.started.fill_(True)

    @torch.no_grad()
    def follow(self, latent_BND: Tensor, tokens_BN: Tensor, decay: float) -> None:
        """Move every code towards the mean of the latents it stood for in this batch."""
        flat, tokens = latent_BND.flatten(0, -2), tokens_BN.flatten()
        mass = torch.bincount(tokens, minlength=len(self.mass_K)).to(flat.dtype)
        total = torch.zeros_like(self.total_KD).index_add_(0, tokens, flat)
        self.mass_K.lerp_(mass, 1.0 - decay)
        self.total_KD.lerp_(total, 1.0 - decay)
        # A code that stands for nothing stays where it is until it is restarted.
        alive = (self.mass_K > 1e-3)[:, None]
        self.codes_KD.copy_(torch.where(alive, self.total_KD / self.mass_K.clamp_min(1e-3)[:, None], self.codes_KD))

    @torch.no_grad()
    def restart(self, latent_BND: Tensor, below: float, generator: Generator) -> int:
        """Put codes with less than ``below`` of a fair share onto recent encoder outputs; returns how many."""
        share = self.mass_K / self.mass_K.sum().clamp_min(1e-6)
        weak = share < below / len(share)
        count = int(weak.sum())
        if count:
            mean_mass = self.mass_K.mean()
            fresh = _draw(latent_BND.flatten(0, -2), count, generator)
            self.codes_KD[weak] = fresh
            self.mass_K[weak] = mean_mass
            self.total_KD[weak] = fresh * mean_mass
        return count


class ActVae(nn.Module):
    """The codec. Actions are normalised chunk-relative, see ``normalize``."""

    def __init__(self, recipe: ActVaeRecipe) -> None:
        super().__init__()
        self.horizon, self.tokens, self.code_dim = recipe.horizon, recipe.tokens, recipe.code_dim
        self.encoder, self.decoder = _sides(recipe)
        self.book = Codebook(recipe.codes, recipe.code_dim)

    @property
    def codebook(self) -> Tensor:
        """(K, D) codes."""
        return self.book.codes_KD

    def latents(self, actions_BHA: Tensor) -> Tensor:
        """Encoder outputs before quantisation, (B, N, D)."""
        latent: Tensor = self.encoder(actions_BHA.flatten(1))
        return latent.view(-1, self.tokens, self.code_dim)

    def encode(self, actions_BHA: Tensor) -> tuple[Tensor, Tensor]:
        """Codes (B, N, D) and tokens (B, N) of chunks."""
        return self.book.quantise(self.latents(actions_BHA))

    def decode(self, tokens_BN: Tensor) -> Tensor:
        """All H actions of tokens, (B, H, A)."""
        return self.decode_codes(self.codebook[tokens_BN])

    def decode_codes(self, codes_BND: Tensor) -> Tensor:
        """All H actions of codes (or latents near them), differentiable, (B, H, A).

        A ``skip`` network also takes the first few codes of a chunk alone.
        """
        actions: Tensor = self.decoder(codes_BND.flatten(1))
        return actions.view(-1, self.horizon, _ACTION)


def _sides(recipe: ActVaeRecipe) -> tuple[nn.Module, nn.Module]:
    """Flat chunks to flat latents, and flat codes to flat chunks."""
    chunk, latent = recipe.horizon * _ACTION, recipe.tokens * recipe.code_dim
    if recipe.net == "skip":
        sizes = recipe.horizon, recipe.tokens, recipe.code_dim, recipe.width, recipe.layers, recipe.heads
        return SkipEncoder(*sizes), SkipDecoder(*sizes)
    return tower(chunk, recipe.width, latent, recipe.layers), tower(latent, recipe.width, chunk, recipe.layers)


@dataclass(frozen=True, slots=True)
class ActVaeModel:
    """A trained codec with everything needed to use it."""

    net: ActVae
    scalers: dict[str, ActionScaler]
    recipe: ActVaeRecipe

    @property
    def scaler(self) -> ActionScaler:
        """The station's scale, else the first one."""
        return self.scalers.get(STATION) or next(iter(self.scalers.values()))


def load_act_vae(home: Home, model_id: str) -> ActVaeModel:
    """A trained Act-VAE, frozen and in evaluation mode."""
    return act_vae_from(*bundle.load_model(home, model_id, "act_vae"))


def act_vae_from(tensors: dict[str, Tensor], meta: dict[str, Any]) -> ActVaeModel:
    """The codec inside a checkpoint (tensors below ``net.``, scales in the meta's ``scalers``)."""
    with checkpoint.described():
        recipe = recipe_from_json(meta["recipe"] if meta.get("stage") == "act_vae" else meta["act_vae_recipe"])
        if not isinstance(recipe, ActVaeRecipe):
            raise WorkbenchError("the checkpoint holds no Act-VAE", "Choose another model")
        checkpoint.whole(recipe.layers, _DEEPEST)
        net = checkpoint.build(lambda: ActVae(recipe), checkpoint.part(tensors, "net"))
        scalers = {str(name): ActionScaler.from_json(value) for name, value in meta["scalers"].items()}
        if not scalers or not all(scaler.fits(recipe.horizon) for scaler in scalers.values()):
            raise WorkbenchError("the checkpoint's scales do not fit its chunks", "Copy it or train it anew")
    net.eval().requires_grad_(False)
    return ActVaeModel(net, scalers, recipe)


class ActVaeStage:
    """Trains the codec on every robot take it is given, with or without pictures."""

    recipe: ActVaeRecipe

    def __init__(self, spec: RunSpec, home: Home) -> None:
        if not isinstance(spec.recipe, ActVaeRecipe):
            raise WorkbenchError("the Act-VAE needs an act_vae recipe")
        self.spec, self.home, self.recipe = spec, home, spec.recipe
        torch.manual_seed(self.recipe.seed)
        self.takes = load_takes(home, spec.episodes, None, self.recipe.cameras, self.recipe.step_s)
        self.windows = Windows(self.takes, self.recipe.horizon, pictures=False, held_out=self.recipe.held_out)
        self.net = ActVae(self.recipe)
        self.module: nn.Module = self.net
        self._latent = torch.zeros(0)
        self._tokens = torch.zeros(0, dtype=torch.long)

    def parameters(self) -> list[dict[str, Any]]:
        return [{"params": list(self.net.parameters())}]

    def loss(self, generator: Generator, step: int) -> tuple[Tensor, dict[str, float]]:
        actions = self.windows.train.sample(generator, self.recipe.batch, "robot").actions_BHA
        latent = self.net.latents(actions)
        self.net.book.start(latent.detach(), generator)
        codes, tokens = self.net.book.quantise(latent)
        self._latent, self._tokens = latent.detach(), tokens
        error = self._error(self.net.decode_codes(codes), actions)
        commit = (latent - self.net.codebook[tokens]).square().mean()
        figures = {"error": float(error.detach()), "commit": float(commit.detach())}
        total = error + self.recipe.commit * commit
        if self.recipe.prefix_weight > 0:
            some = int(torch.randint(1, self.recipe.tokens, (), generator=generator))
            rough = self._error(self.net.decode_codes(codes[:, :some]), actions)
            total = total + self.recipe.prefix_weight * rough
            figures["prefix_error"] = float(rough.detach())
        return total, figures | watch_codes(tokens, self.recipe.codes)

    def after_step(self, generator: Generator, step: int) -> None:
        self.net.book.follow(self._latent, self._tokens, self.recipe.code_decay)
        late = step > 0.8 * self.recipe.steps  # the last part only settles
        if not late and (step + 1) % self.recipe.restart_every == 0:
            self.net.book.restart(self._latent, self.recipe.restart_below, generator)

    def evaluate(self) -> Result:
        rows, held_out = measured_on(self.windows, "robot")
        every = rows.all("robot", _MOST)
        sources = dict.fromkeys(take.source for take in self.windows.takes)
        by_source: dict[str, Any] = {}
        arrays: dict[str, NDArray[Any]] = {}
        for source in sources:
            mine = torch.tensor([self.windows.takes[int(t)].source == source for t in every.take_B], dtype=torch.bool)
            if bool(mine.any()):
                by_source[source], found = self._figures(every.where(mine), source)
                arrays |= {f"{source}.{key}": value for key, value in found.items()}
        tokens = self.net.encode(every.actions_BHA)[1]
        arrays["code_counts"] = torch.bincount(tokens.flatten(), minlength=self.recipe.codes).numpy()
        main = by_source.get(STATION) or next(iter(by_source.values()))
        metrics = {
            **main,
            **code_figures(tokens, self.recipe.codes),
            "held_out": held_out,
            "by_source": by_source,
            "skipped": dict(self.takes.skipped),
        }
        return Result(metrics, arrays)

    def save(self, folder: Path, result: Result) -> None:
        meta = {"scalers": {name: scaler.to_json() for name, scaler in self.windows.scalers.items()}}
        tensors = checkpoint.with_prefix("net", self.net.state_dict())
        bundle.save_model(self.spec, self.home, tensors, meta, result, self.takes)

    def _error(self, decoded_BHA: Tensor, actions_BHA: Tensor) -> Tensor:
        square = (decoded_BHA - actions_BHA).square().mean(dim=(0, 1))
        recipe = self.recipe
        weights = torch.tensor([1.0] * 3 + [recipe.rotation_weight] * 3 + [recipe.gripper_weight])
        return (square * weights).sum() / weights.sum()

    def _figures(self, batch: Batch, source: str) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        scaler = self.windows.scalers[source]
        true = scaler.invert(batch.actions_BHA.numpy())
        decoded = scaler.invert(self.net.decode(self.net.encode(batch.actions_BHA)[1]).numpy())
        mean_BH7 = np.broadcast_to(true.mean(axis=0), true.shape)
        figures = chunk_errors(decoded, true)
        figures["mean_chunk_rmse_mm"] = chunk_errors(mean_BH7, true)["rmse_mm"]
        figures["windows"] = len(batch)
        if self.recipe.prefix_weight > 0:
            codes = self.net.encode(batch.actions_BHA)[0]
            some = [scaler.invert(self.net.decode_codes(codes[:, :n]).numpy()) for n in range(1, codes.shape[1])]
            figures["prefix_rmse_mm"] = [round(chunk_errors(rough, true)["rmse_mm"], 3) for rough in some]
        shown = np.linspace(0, len(true) - 1, min(6, len(true))).round().astype(int)
        arrays = {"per_step_mm": np.array(figures["per_step_mm"]), "true": true[shown], "decoded": decoded[shown]}
        return figures, arrays


def measured_on(windows: Windows, kind: Kind) -> tuple[Rows, bool]:
    """The held-out rows and True, or, where no episode could be held out, the training rows and False."""
    return (windows.held_out, True) if windows.held_out.count(kind) else (windows.train, False)


def chunk_errors(decoded_BH7: NDArray[np.float64], true_BH7: NDArray[np.float64]) -> dict[str, Any]:
    """Errors of physical chunks: root mean square of distance (mm) and angle (deg), share of right gripper signs."""
    square_BH = ((decoded_BH7 - true_BH7)[..., :3] ** 2).sum(axis=-1)
    turn = normalize.multiply(
        normalize.from_rotation_vector(decoded_BH7[..., 3:6]),
        normalize.conjugate(normalize.from_rotation_vector(true_BH7[..., 3:6])),
    )
    angle_BH = np.linalg.norm(normalize.rotation_vector(turn), axis=-1)
    per_step = 1000.0 * np.sqrt(square_BH.mean(axis=0))
    return {
        "rmse_mm": float(1000.0 * np.sqrt(square_BH.mean())),
        "rmse_deg": float(np.degrees(np.sqrt((angle_BH**2).mean()))),
        "final_mm": float(per_step[-1]),
        "per_step_mm": [round(float(value), 3) for value in per_step],
        "gripper_accuracy": float(((decoded_BH7[..., 6] > 0) == (true_BH7[..., 6] > 0)).mean()),
    }


def code_use(tokens_BN: Tensor, codes: int) -> dict[str, Any]:
    """Perplexity of the codes, how many and what share of the book is used, share of distinct token strings."""
    counts = torch.bincount(tokens_BN.flatten(), minlength=codes).double()
    share = counts / counts.sum()
    entropy = -(share[share > 0] * share[share > 0].log()).sum()
    used = int((counts > 0).sum())
    return {
        "perplexity": float(entropy.exp()),
        "used": used,
        "codes": codes,
        "used_share": used / codes,
        "unique_share": len(torch.unique(tokens_BN, dim=0)) / max(1, len(tokens_BN)),
    }


def code_figures(tokens_BN: Tensor, codes: int) -> dict[str, Any]:
    """``code_use`` of the whole book, and codes used and perplexity of every token position apart."""
    positions = [code_use(tokens_BN[:, place : place + 1], codes) for place in range(tokens_BN.shape[1])]
    whole = code_use(tokens_BN, codes)
    short = [{name: round(float(part[name]), 3) for name in ("used", "perplexity")} for part in positions]
    return {**whole, "dead": codes - int(whole["used"]), "positions": short, "n": len(tokens_BN)}


def watch_codes(tokens_BN: Tensor, codes: int, suffix: str = "") -> dict[str, float]:
    """How much of the book one batch uses, for the progress file: ``used_share``, ``perplexity`` and, without a
    suffix, ``perplexity_p1`` .. of every token position. Nothing for an empty batch."""
    if not len(tokens_BN):
        return {}
    places = codes * torch.arange(tokens_BN.shape[1])
    counts_NK = torch.bincount((tokens_BN + places).flatten(), minlength=codes * tokens_BN.shape[1])
    counts_NK = counts_NK.view(-1, codes).double()
    share = torch.cat([counts_NK.sum(0, keepdim=True), counts_NK])
    share = share / share.sum(1, keepdim=True)
    perplexity = torch.special.entr(share).sum(1).exp().tolist()
    used = float((counts_NK.sum(0) > 0).double().mean())
    figures = {f"used_share{suffix}": used, f"perplexity{suffix}": perplexity[0]}
    if not suffix:
        figures |= {f"perplexity_p{place}": value for place, value in enumerate(perplexity[1:], 1)}
    return figures


def _draw(flat: Tensor, count: int, generator: Generator) -> Tensor:
    index = torch.randint(len(flat), (count,), generator=generator)
    jitter = 0.01 * flat.std() * torch.randn(count, flat.shape[1], generator=generator)
    return flat[index] + jitter
