"""The loop: bit-equal after being killed, finite or stopped, honest about its state."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Generator, Tensor, nn

from models import checkpoint, train_worker
from models.recipes import ActVaeRecipe, Recipe, preset
from models.registry import model_folder, read_record
from models.stages import RunSpec
from models.train import Result, Trainer, WeightEma, cosine, read_status
from tests.models.conftest import Set
from workbench.core.errors import WorkbenchError

ROOT = Path(__file__).parents[2]


class Line:
    """Fits a line with noise and dropout, so that every generator matters."""

    def __init__(self, recipe: Recipe, spoil_at: int = -1) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe = recipe
        self.module: nn.Module = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.2), nn.Linear(8, 1))
        self.module.register_buffer("seen", torch.zeros(()))
        self.spoil_at = spoil_at

    def parameters(self) -> list[dict[str, Any]]:
        first, _, last = self.module.children()
        return [{"params": first.parameters()}, {"params": last.parameters(), "lr_factor": 3.0, "weight_decay": 0.0}]

    def loss(self, generator: Generator, step: int) -> tuple[Tensor, dict[str, float]]:
        x = torch.randn(self.recipe.batch, 3, generator=generator)
        loss = (self.module(x)[:, 0] - x.sum(1)).square().mean()
        if step == self.spoil_at:
            loss = loss * float("nan")
        return loss, {"error": float(loss.detach())}

    def after_step(self, generator: Generator, step: int) -> None:
        self.module.seen += torch.rand((), generator=generator)

    def evaluate(self) -> Result:
        return Result({"rmse": 0.5, "bad": float("nan")})

    def save(self, folder: Path, result: Result) -> None:
        raise NotImplementedError


def _recipe(**changes: Any) -> Recipe:
    return ActVaeRecipe(steps=30, batch=16, weight_ema=0.9, checkpoint_s=0.0, report_every=1).with_(**changes)


def _state(trainer: Trainer) -> dict[str, Tensor]:
    assert trainer.ema is not None
    return {**trainer.stage.module.state_dict(), **{"ema." + k: v for k, v in trainer.ema.shadow.items()}}


def test_stopping_anywhere_and_going_on_changes_nothing(tmp_path: Path) -> None:
    whole = Trainer(Line(_recipe()), tmp_path / "a")
    assert whole.run()
    counts: Iterator[int] = iter(range(100))
    for turn in range(4):
        part = Trainer(Line(_recipe()), tmp_path / "b")
        if turn:
            torch.manual_seed(999)
            assert part.resume()
        done = part.run(lambda: next(counts) % 9 == 8)
    assert done and part.step == whole.step
    mine, theirs = _state(part), _state(whole)
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)
    steps = [json.loads(line)["step"] for line in (tmp_path / "b" / "progress.jsonl").read_text().splitlines()]
    assert steps == list(range(1, 31))


def test_a_loss_that_is_not_finite_leaves_the_weights_alone(tmp_path: Path) -> None:
    good, bad = Line(_recipe(steps=5)), Line(_recipe(steps=30), spoil_at=5)
    Trainer(good, tmp_path / "a").run()
    bad.recipe = good.recipe.with_(steps=6)
    trainer = Trainer(bad, tmp_path / "b")
    trainer.recipe = bad.recipe
    with pytest.raises(WorkbenchError, match="not finite at step 5"):
        trainer.run()
    assert all(bool(torch.isfinite(value).all()) for value in bad.module.state_dict().values())


def test_a_checkpoint_of_another_recipe_is_refused(tmp_path: Path) -> None:
    Trainer(Line(_recipe(steps=3)), tmp_path).run()
    with pytest.raises(WorkbenchError, match="another recipe"):
        Trainer(Line(_recipe(steps=4)), tmp_path).resume()
    assert not Trainer(Line(_recipe()), tmp_path / "nothing").resume()


def test_families_are_clipped_apart(tmp_path: Path) -> None:
    class Two(Line):
        def parameters(self) -> list[dict[str, Any]]:
            first, _, last = self.module.children()
            return [{"params": first.parameters()}, {"params": last.parameters(), "family": "control"}]

        def loss(self, generator: Generator, step: int) -> tuple[Tensor, dict[str, float]]:
            first, _, last = self.module.children()
            return 1e3 * last.weight.sum() + 1e-3 * first.weight.sum(), {}

    stage = Two(_recipe(steps=1))
    Trainer(stage, tmp_path).run()
    first, _, last = stage.module.children()
    assert float(last.weight.grad.norm()) == pytest.approx(1.0, rel=1e-3)
    assert float(first.weight.grad[0, 0]) == pytest.approx(1e-3, rel=1e-3)


def test_the_learning_rate_rises_and_falls() -> None:
    recipe = ActVaeRecipe(steps=100, warmup=10, lr_floor=0.1)
    rates = [cosine(recipe, step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1) and max(rates) == rates[10] == 1.0
    assert rates[10:] == sorted(rates[10:], reverse=True) and 0.1 <= rates[-1] < 0.11


def test_averaged_weights_lag_behind_and_are_put_back() -> None:
    net = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(net.weight)
    ema = WeightEma(net, 0.5)
    nn.init.ones_(net.weight)
    for step in range(100, 103):
        ema.update(net, step)
    ema.copy_to(net)
    assert float(net.weight.detach()) == pytest.approx(1 - 0.5**3)


def test_results_become_plain_files(tmp_path: Path) -> None:
    train_worker.write_result(tmp_path, Result({"a": float("inf"), "b": {"c": torch.ones(1).numpy()[0]}}))
    assert json.loads((tmp_path / "metrics.json").read_text()) == {"a": None, "b": {"c": 1.0}}


def _spec(small_set: Set, **changes: Any) -> RunSpec:
    recipe = preset("tiny", "act_vae", **{"steps": 40, "report_every": 1, "checkpoint_s": 0.0, **changes})
    return RunSpec("act_vae", recipe, small_set.robot, small_set.home.path)


def _start(folder: Path, *more: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "models.train_worker", str(folder), *more]
    return subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.DEVNULL)


def _wait_for_step(folder: Path, step: int) -> None:
    deadline = time.monotonic() + 120
    path = folder / "progress.jsonl"
    while time.monotonic() < deadline:
        if path.is_file() and len(path.read_text().splitlines()) >= step:
            return
        time.sleep(0.01)
    pytest.fail("the training did not move")


def _weights(spec: RunSpec, small_set: Set) -> dict[str, Tensor]:
    return checkpoint.load(model_folder(small_set.home, spec.model_id))[0]


@pytest.fixture(scope="module")
def undisturbed(small_set: Set) -> dict[str, Tensor]:
    torch.set_num_threads(1)
    spec = _spec(small_set)
    assert train_worker.run(spec.write(), resume=False) == train_worker.DONE
    return _weights(spec, small_set)


@pytest.mark.parametrize("how", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_killed_worker_goes_on_to_the_same_weights(
    small_set: Set, undisturbed: dict[str, Tensor], how: signal.Signals
) -> None:
    spec = _spec(small_set)
    folder = spec.write()
    worker = _start(folder)
    _wait_for_step(folder, 8)
    worker.send_signal(how)
    code = worker.wait(60)
    if how is signal.SIGTERM:
        assert code == train_worker.STOPPED and read_status(folder)["state"] == "cancelled"
    assert checkpoint.load(folder / "checkpoint", "state")[1]["step"] < 40
    assert _start(folder, "--resume").wait(120) == train_worker.DONE
    again = _weights(spec, small_set)
    assert again.keys() == undisturbed.keys()
    assert all(torch.equal(again[name], value) for name, value in undisturbed.items())
    status = read_status(folder)
    assert (status["state"], status["step"], status["model_id"]) == ("done", 40, spec.model_id)


def test_the_record_tells_what_the_model_was_made_from(small_set: Set) -> None:
    spec = _spec(small_set, steps=3)
    folder = spec.write()
    assert train_worker.run(folder, resume=False) == train_worker.DONE
    record = read_record(small_set.home, spec.model_id)
    assert record.recipe == spec.recipe.to_json() and record.run_id == spec.run_id
    assert [episode for episode, _ in record.data] == sorted(small_set.robot)
    assert all(len(digest) == 64 for _, digest in record.data)
    assert "red_to_white" in record.tasks and record.metrics == json.loads((folder / "metrics.json").read_text())


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"episodes": ()}, "no take has a window"), ({"bases": {"act_vae": "nothing"}}, "no model named")],
)
def test_a_run_that_cannot_work_says_why(small_set: Set, changes: dict[str, Any], message: str) -> None:
    stage = "vd_vae" if "bases" in changes else "act_vae"
    fields = {"episodes": small_set.robot, "home": small_set.home.path, **changes}
    spec = RunSpec(stage, preset("tiny", stage), **fields)
    assert train_worker.run(spec.write(), resume=False) == train_worker.FAILED
    status = read_status(spec.folder)
    assert status["state"] == "failed" and message in status["message"]
