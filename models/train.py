"""The training loop of every stage: resumable to the bit on a CPU, finite or stopped, watched through small files."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import psutil
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn
from torch.optim import AdamW

from models import checkpoint
from models.early_stop import EarlyStop, quiet
from models.recipes import PolicyRecipe, Recipe
from models.scalar_log import FOLDER, ScalarLog
from workbench.core.errors import WorkbenchError
from workbench.core.files import read_json, write_atomic, write_json
from workbench.core.states import JobState

_CHECKPOINT = "state"
_PAUSE_LOOK_S = 0.05


@dataclass(frozen=True, slots=True)
class Result:
    """Held-out figures of a finished stage (plain numbers, nested dicts allowed) and arrays for its report."""

    metrics: dict[str, Any]
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)


class Stage(Protocol):
    """What a stage offers the loop. Built as ``Stage(spec: RunSpec, home: Home)``; single thread.

    All randomness of ``loss`` comes from the generator it is given or from torch's global generator (dropout); both
    are saved. Everything that changes while training lives in ``module`` (parameters and buffers).
    """

    recipe: Recipe
    module: nn.Module

    def parameters(self) -> list[dict[str, Any]]:
        """AdamW groups: ``params`` and optionally ``lr_factor`` (times the recipe's lr), ``weight_decay`` and
        ``family`` (gradients are clipped per family; a control model trained beside is one of its own)."""

    def loss(self, generator: Generator, step: int) -> tuple[Tensor, dict[str, float]]:
        """One batch's loss (scalar with gradient) and figures for the progress file."""

    def after_step(self, generator: Generator, step: int) -> None:
        """Updates without gradient, such as moving averages; called after every optimiser step."""

    def evaluate(self) -> Result:
        """Held-out figures of the present weights."""

    def save(self, folder: Path, result: Result) -> None:
        """Write the finished model and its registry record into ``models/<id>/``."""


class WeightEma:
    """A moving average of a module's parameters, with the usual warm-up of the decay."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.shadow = {name: p.detach().clone() for name, p in module.named_parameters() if p.requires_grad}

    def update(self, module: nn.Module, step: int) -> None:
        """Move towards the present weights; ``step`` counts from 0."""
        decay = min(self.decay, (1.0 + step) / (10.0 + step))
        with torch.no_grad():
            for name, parameter in module.named_parameters():
                if name in self.shadow:
                    self.shadow[name].lerp_(parameter, 1.0 - decay)

    def copy_to(self, module: nn.Module) -> None:
        """Replace the module's weights by their average."""
        with torch.no_grad():
            for name, parameter in module.named_parameters():
                if name in self.shadow:
                    parameter.copy_(self.shadow[name])


def cosine(recipe: Recipe, step: int) -> float:
    """Share of the peak learning rate at ``step``: linear rise, then a half cosine down to ``lr_floor``."""
    if step < recipe.warmup:
        return (step + 1) / recipe.warmup
    share = min(1.0, (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup))
    return recipe.lr_floor + (1.0 - recipe.lr_floor) * 0.5 * (1.0 + math.cos(math.pi * share))


class Progress:
    """The run folder's ``status.json`` and ``progress.jsonl``."""

    def __init__(self, folder: Path, steps: int, model_id: str = "") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._steps = steps
        self._model_id = model_id

    def status(self, state: JobState, step: int, message: str = "", samples_per_s: float = 0.0, **counts: int) -> None:
        """Replace ``status.json``; a model id is told only once the model exists. ``counts``: ``done`` and ``of``."""
        value = {
            "state": str(state),
            "step": step,
            "steps": self._steps,
            "message": message,
            "model_id": self._model_id if state is JobState.DONE else "",
            "pid": os.getpid(),
            "memory_mb": round(psutil.Process().memory_info().rss / 1e6),
            "samples_per_s": round(samples_per_s, 1),
            **counts,
            "updated_at": time.time(),
        }
        write_json(self._folder / "status.json", value)

    def line(self, step: int, seconds: float, figures: dict[str, float]) -> None:
        """Append one line; figures that are not finite are left out."""
        clean = {key: round(value, 6) for key, value in figures.items() if math.isfinite(value)}
        with open(self._folder / "progress.jsonl", "a") as file:
            file.write(json.dumps({"step": step, "seconds": round(seconds, 3), **clean}) + "\n")

    def cut_after(self, step: int) -> float:
        """Drop lines later than ``step`` (a resumed run writes them again); returns the seconds spent until then."""
        path = self._folder / "progress.jsonl"
        if not path.is_file():
            return 0.0
        kept, seconds = [], 0.0
        for text in path.read_text().splitlines():
            try:
                value = json.loads(text)
            except json.JSONDecodeError:
                continue  # the line that a kill cut short
            if value.get("step", step + 1) <= step:
                kept.append(text)
                seconds = float(value.get("seconds", seconds))
        write_atomic(path, "".join(text + "\n" for text in kept).encode())
        return seconds


class Trainer:
    """Runs one stage from a fresh start or a checkpoint until its last step, a stop request or an error."""

    def __init__(self, stage: Stage, folder: Path, *, model_id: str = "") -> None:
        self.stage = stage
        self.recipe = stage.recipe
        self.folder = folder
        self.step = 0
        self.progress = Progress(folder, self.recipe.steps, model_id)
        self.generator = torch.Generator().manual_seed(self.recipe.seed)
        self._groups = [dict(group) for group in stage.parameters()]
        self._factors = [float(group.pop("lr_factor", 1.0)) for group in self._groups]
        self._families: dict[str, list[nn.Parameter]] = {}
        for group in self._groups:
            group["params"] = list(group["params"])
            self._families.setdefault(str(group.pop("family", "main")), []).extend(group["params"])
        self.optimiser = AdamW(self._groups, lr=self.recipe.lr, weight_decay=self.recipe.weight_decay)
        self.ema = WeightEma(stage.module, self.recipe.weight_ema) if self.recipe.weight_ema > 0 else None
        self.early = _early_stop(self.recipe)
        self._spent_s = 0.0
        self._begun_at = 0
        self._log: ScalarLog | None = None

    def run(self, stop: Callable[[], bool] = lambda: False, pause: Callable[[], bool] = lambda: False) -> bool:
        """Train to the last step, or until held-out takes no longer gain by it.

        Returns False if ``stop`` asked to end earlier; a checkpoint then holds everything. While ``pause`` is true
        nothing is computed; a checkpoint holds everything then, too.

        Raises WorkbenchError, before the weights change, if the loss or a gradient is not finite.
        """
        started = saved = reported = time.monotonic()
        self._begun_at = self.step
        self.stage.module.train()
        while not self._over:
            if pause():
                started += self._rest(stop, pause)
            if stop():
                self.save()
                return False
            figures = self._one_step()
            now = time.monotonic()
            if self.step % self.recipe.report_every == 0 or "held_out_loss" in figures or self._over:
                self._report(figures, now - started)
                if now - reported > 0.5 or self._over:
                    reported = now
                    self.progress.status(JobState.RUNNING, self.step, self._words(), self._pace(now - started))
            if now - saved > self.recipe.checkpoint_s or self._over:
                saved = now
                self.save()
        self._spent_s += time.monotonic() - started
        return True

    def finish(self) -> Result:
        """Put the best or the averaged weights in place, if any, and measure on held-out episodes."""
        if self.early is not None and self.early.weights:
            self.stage.module.load_state_dict(self.early.weights)
        elif self.ema is not None:
            self.ema.copy_to(self.stage.module)
        self.stage.module.eval()
        with torch.no_grad():
            result = self.stage.evaluate()
        spent = max(self._spent_s, 1e-9)
        result.metrics["training"] = {
            "steps": self.step,
            "batch": self.recipe.batch,
            "seconds": round(self._spent_s, 3),
            "samples_per_s": round(self.step * self.recipe.batch / spent, 1),
            "stopped_early": self.step < self.recipe.steps,
        }
        return result

    @property
    def _over(self) -> bool:
        return self.step >= self.recipe.steps or (self.early is not None and self.early.over)

    def _words(self) -> str:
        if self.early is not None and self.early.over:
            return f"the held-out loss no longer falls ({self.early.best:.4g} at best)"
        return f"training {self.recipe.stage}"

    def _pace(self, spent_s: float) -> float:
        return (self.step - self._begun_at) * self.recipe.batch / max(spent_s, 1e-9)

    def _report(self, figures: dict[str, float], spent_s: float) -> None:
        self.progress.line(self.step, self._spent_s + spent_s, figures)
        if self._log is None:
            self._log = ScalarLog(self.folder / FOLDER)
        self._log.add(self.step, figures)

    def _rest(self, stop: Callable[[], bool], pause: Callable[[], bool]) -> float:
        """Do nothing until told to go on or to stop; returns the seconds."""
        begun = time.monotonic()
        self.save()
        self.progress.status(JobState.PAUSED, self.step, "paused; its memory stays in use")
        while pause() and not stop():
            time.sleep(_PAUSE_LOOK_S)
        self.progress.status(JobState.RUNNING, self.step, self._words())
        return time.monotonic() - begun

    def _held_out_loss(self) -> float:
        look = getattr(self.stage, "held_out_loss", None)
        if self.early is None or look is None:
            raise WorkbenchError(f"the stage {self.recipe.stage} cannot be ended by its held-out loss")
        with quiet(self.stage.module), torch.no_grad():
            if self.ema is not None:
                self.ema.copy_to(self.stage.module)
            loss = float(look())
            self.early.look(loss, self.stage.module)
        return loss

    def _one_step(self) -> dict[str, float]:
        share = cosine(self.recipe, self.step)
        for group, factor in zip(self.optimiser.param_groups, self._factors, strict=True):
            group["lr"] = self.recipe.lr * factor * share
        self.optimiser.zero_grad(set_to_none=True)
        loss, figures = self.stage.loss(self.generator, self.step)
        if not bool(torch.isfinite(loss.detach())):
            raise self._not_finite("loss")
        loss.backward()  # type: ignore[no-untyped-call]
        norms = [float(nn.utils.clip_grad_norm_(part, self.recipe.clip)) for part in self._families.values()]
        if not all(math.isfinite(norm) for norm in norms):
            raise self._not_finite("gradient")
        self.optimiser.step()
        with torch.no_grad():
            self.stage.after_step(self.generator, self.step)
        if self.ema is not None:
            self.ema.update(self.stage.module, self.step)
        self.step += 1
        if self.early is not None and self.early.due(self.step):
            figures = {**figures, "held_out_loss": self._held_out_loss()}
        return {"loss": float(loss.detach()), "grad": norms[0], **figures}

    def _not_finite(self, noun: str) -> WorkbenchError:
        return WorkbenchError(
            f"the {noun} of {self.recipe.stage} is not finite at step {self.step}",
            "The weights were not changed by it; lower the learning rate or look at the takes for wrong numbers",
        )

    def save(self) -> None:
        """Write module, optimiser, averages, generators and step as one atomic checkpoint."""
        tensors = checkpoint.with_prefix("module", self.stage.module.state_dict())
        tensors |= checkpoint.with_prefix("optimiser", _optimiser_tensors(self.optimiser))
        if self.ema is not None:
            tensors |= checkpoint.with_prefix("ema", self.ema.shadow)
        tensors["rng.own"] = self.generator.get_state()
        tensors["rng.global"] = torch.get_rng_state()
        meta: dict[str, Any] = {"step": self.step, "recipe": self.recipe.hash()}
        if self.early is not None:
            tensors |= checkpoint.with_prefix("best", self.early.weights)
            meta["early"] = self.early.to_json()
        checkpoint.save(self.folder / "checkpoint", tensors, meta, _CHECKPOINT)

    def resume(self) -> bool:
        """Go on from the checkpoint, if there is one. WorkbenchError if it is broken or of another recipe."""
        if not checkpoint.exists(self.folder / "checkpoint", _CHECKPOINT):
            return False
        tensors, meta = checkpoint.load(self.folder / "checkpoint", _CHECKPOINT)
        if meta.get("recipe") != self.recipe.hash():
            raise WorkbenchError("the checkpoint belongs to another recipe", "Start a new run")
        checkpoint.load_into(self.stage.module, checkpoint.part(tensors, "module"))
        _fill_optimiser(self.optimiser, checkpoint.part(tensors, "optimiser"))
        if self.ema is not None:
            for name, value in checkpoint.part(tensors, "ema").items():
                self.ema.shadow[name].copy_(value)
        if self.early is not None:
            self.early.fill(meta.get("early", {}), checkpoint.part(tensors, "best"))
        self.generator.set_state(tensors["rng.own"])
        torch.set_rng_state(tensors["rng.global"])
        self.step = int(meta["step"])
        self._spent_s = self.progress.cut_after(self.step)
        return True


def write_result(folder: Path, result: Result) -> None:
    """``metrics.json`` and one ``.npz`` of the report's arrays in the run folder."""
    write_json(folder / "metrics.json", plain(result.metrics))
    if result.arrays:
        np.savez(folder / "report.npz", **result.arrays)  # type: ignore[arg-type]


def plain(value: Any) -> Any:
    """Numbers that JSON can hold: numpy scalars unpacked, NaN and infinity as None."""
    if isinstance(value, dict):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def read_status(folder: Path) -> dict[str, Any]:
    """The run's ``status.json``, or an empty dict while there is none."""
    path = folder / "status.json"
    return dict(read_json(path)) if path.is_file() else {}


def _early_stop(recipe: Recipe) -> EarlyStop | None:
    if not isinstance(recipe, PolicyRecipe) or recipe.patience <= 0:
        return None
    return EarlyStop(recipe.patience, recipe.look_every)


def _optimiser_tensors(optimiser: AdamW) -> dict[str, Tensor]:
    state = optimiser.state_dict()["state"]
    return {f"{index}.{key}": torch.as_tensor(value) for index, part in state.items() for key, value in part.items()}


def _fill_optimiser(optimiser: AdamW, tensors: dict[str, Tensor]) -> None:
    whole = optimiser.state_dict()
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = value
    whole["state"] = state
    optimiser.load_state_dict(whole)
