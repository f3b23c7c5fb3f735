"""Ending early: after so many looks without betterment, with the best weights, the same after a kill; and pausing."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Generator, Tensor, nn

from models.early_stop import EarlyStop, quiet
from models.recipes import NtpRecipe, Recipe
from models.train import Result, Trainer, read_status
from workbench.core.errors import WorkbenchError


class Overfit:
    """Learns happily while its held-out loss falls for a while and then rises."""

    def __init__(self, recipe: Recipe) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe = recipe
        self.module: nn.Module = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.2), nn.Linear(4, 1))
        self.module.register_buffer("steps", torch.zeros(()))
        self.best_at = 20.0

    def parameters(self) -> list[dict[str, Any]]:
        return [{"params": self.module.parameters()}]

    def loss(self, generator: Generator, step: int) -> tuple[Tensor, dict[str, float]]:
        x = torch.randn(self.recipe.batch, 3, generator=generator)
        return (self.module(x)[:, 0] - x.sum(1)).square().mean(), {}

    def after_step(self, generator: Generator, step: int) -> None:
        self.module.steps += 1

    def held_out_loss(self) -> float:
        torch.rand(7)  # a careless stage: it must not disturb what comes after
        return abs(float(self.module.steps) - self.best_at) + 1.0

    def evaluate(self) -> Result:
        return Result({"steps": float(self.module.steps)})

    def save(self, folder: Path, result: Result) -> None:
        raise NotImplementedError


def recipe(**changes: Any) -> NtpRecipe:
    return NtpRecipe(steps=200, batch=8, checkpoint_s=1e9, report_every=1, patience=3, look_every=5).with_(**changes)


def test_it_ends_after_the_patience_and_keeps_the_best_weights(tmp_path: Path) -> None:
    trainer = Trainer(Overfit(recipe()), tmp_path)
    assert trainer.run() and trainer.step == 35, "best at 20, looks at 25, 30 and 35 were worse"
    result = trainer.finish()
    assert result.metrics["steps"] == 20.0 and result.metrics["training"]["stopped_early"]
    assert "no longer falls" in read_status(tmp_path)["message"]
    lines = [json.loads(line) for line in (tmp_path / "progress.jsonl").read_text().splitlines()]
    assert [(line["step"], line["held_out_loss"]) for line in lines if "held_out_loss" in line][:2] == [
        (5, 16),
        (10, 11),
    ]


def test_looking_changes_nothing_of_the_training(tmp_path: Path) -> None:
    looked, blind = (Trainer(Overfit(recipe(steps=30, patience=p)), tmp_path / str(p)) for p in (100, 0))
    for trainer in (looked, blind):
        torch.manual_seed(5)
        trainer.run()
    mine, theirs = looked.stage.module.state_dict(), blind.stage.module.state_dict()
    assert blind.early is None and all(torch.equal(mine[name], theirs[name]) for name in theirs)


def test_a_killed_run_ends_where_an_unbroken_one_would(tmp_path: Path) -> None:
    whole = Trainer(Overfit(recipe()), tmp_path / "a")
    whole.run()
    asked: Iterator[int] = itertools.count()
    for turn in range(9):
        part = Trainer(Overfit(recipe()), tmp_path / "b")
        if turn:
            torch.manual_seed(999)
            assert part.resume()
        if part.run(lambda: next(asked) % 8 == 7):
            break
    assert part.step == whole.step == 35
    mine, theirs = (trainer.finish() and trainer.stage.module.state_dict() for trainer in (part, whole))
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


def test_a_stage_that_cannot_look_says_so(tmp_path: Path) -> None:
    class Blind(Overfit):
        held_out_loss = None  # type: ignore[assignment]

    with pytest.raises(WorkbenchError, match="cannot be ended by its held-out loss"):
        Trainer(Blind(recipe()), tmp_path).run()


def test_a_loss_that_is_no_number_is_no_betterment() -> None:
    module, stop = nn.Linear(1, 1), EarlyStop(2, 1)
    for loss in (1.0, float("nan"), float("nan")):
        stop.look(loss, module)
    assert stop.over and stop.best == 1.0


def test_quiet_puts_everything_back() -> None:
    module = nn.Sequential(nn.Linear(2, 2), nn.Dropout())
    before, state = {k: v.clone() for k, v in module.state_dict().items()}, torch.get_rng_state()
    with quiet(module):
        assert not module.training
        torch.rand(3)
        with torch.no_grad():
            module[0].weight.zero_()
    assert module.training and torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_a_pause_rests_at_a_checkpoint_and_changes_nothing(tmp_path: Path) -> None:
    whole = Trainer(Overfit(recipe(steps=12, patience=0)), tmp_path / "a")
    whole.run()
    seen: list[str] = []
    turns: Iterator[int] = itertools.count()

    def pause() -> bool:
        wanted = next(turns) % 5 in (2, 3)
        if wanted:
            seen.append(str(read_status(tmp_path / "b").get("state")))
        return wanted

    paused = Trainer(Overfit(recipe(steps=12, patience=0)), tmp_path / "b")
    assert paused.run(pause=pause) and "paused" in seen
    mine, theirs = paused.stage.module.state_dict(), whole.stage.module.state_dict()
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)
    assert read_status(tmp_path / "b")["state"] == "running"


def test_stopping_ends_a_pause(tmp_path: Path) -> None:
    asked: Iterator[int] = itertools.count()
    trainer = Trainer(Overfit(recipe(patience=0)), tmp_path)
    assert not trainer.run(lambda: next(asked) > 6, lambda: True)
    assert trainer.step == 0 and Trainer(Overfit(recipe(patience=0)), tmp_path).resume()
