"""A disk that fills while a training writes: the last checkpoint stays whole, the reason is told, it goes on later."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest
import torch

from models import checkpoint, train_worker
from models.train import Trainer
from tests.faults.test_full_disk import MIB, fill, small_disk
from tests.models.test_train import Line, _recipe, _state
from workbench.services.finetune_worker import say

__all__ = ["small_disk"]


def test_the_last_checkpoint_survives_and_training_goes_on_to_the_same_end(small_disk: Path, tmp_path: Path) -> None:
    whole = Trainer(Line(_recipe(checkpoint_s=1e9)), tmp_path / "whole")
    whole.run()
    folder = small_disk / "run"
    first = Trainer(Line(_recipe(checkpoint_s=1e9)), folder)
    assert not first.run(lambda: first.step == 11)
    kept, meta = checkpoint.load(folder / "checkpoint", "state")
    ballast = fill(small_disk, 0)
    second = Trainer(Line(_recipe(checkpoint_s=1e9)), folder)
    torch.manual_seed(999)
    with pytest.raises(OSError) as failed:
        assert second.resume()
        second.run()
    assert failed.value.errno == errno.ENOSPC
    again, same = checkpoint.load(folder / "checkpoint", "state")
    assert same == meta and meta["step"] == 11 and all(torch.equal(kept[name], again[name]) for name in kept)
    ballast.unlink()
    third = Trainer(Line(_recipe(checkpoint_s=1e9)), folder)
    torch.manual_seed(999)
    assert third.resume() and third.step == 11 and third.run()
    mine, theirs = _state(third), _state(whole)
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)
    steps = [json.loads(line)["step"] for line in (folder / "progress.jsonl").read_text().splitlines()]
    assert steps == list(range(1, 31))


def test_a_checkpoint_too_large_for_what_is_left_leaves_the_one_before(small_disk: Path) -> None:
    folder = small_disk / "checkpoint"
    checkpoint.save(folder, {"w": torch.ones(MIB // 4)}, {"step": 1}, "state")
    fill(small_disk, MIB // 2)
    with pytest.raises(OSError):
        checkpoint.save(folder, {"w": torch.zeros(MIB // 4)}, {"step": 2}, "state")
    tensors, meta = checkpoint.load(folder, "state")
    assert meta["step"] == 1 and bool((tensors["w"] == 1).all())
    assert not [path for path in folder.iterdir() if path.name.endswith(".tmp")], "nothing half written is left"


def test_the_worker_tells_the_disk_and_never_raises(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(train_worker.RunSpec, "read", refuse)
    folder = small_disk / "run"
    folder.mkdir()
    assert train_worker.run(folder, resume=False) == train_worker.FAILED
    assert "free space, then resume" in json.loads((folder / "status.json").read_text())["message"]
    say(folder, train_worker.JobState.RUNNING, "on it")
    fill(small_disk, 0)
    assert train_worker.run(folder, resume=False) == train_worker.FAILED
    assert "No space left" in capsys.readouterr().err
    assert json.loads((folder / "status.json").read_text())["state"] == "running", "old or new, never half"
