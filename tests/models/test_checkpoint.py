"""Checkpoints: exact when whole, refused in words when not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from models import checkpoint
from workbench.core.errors import WorkbenchError


def _tensors() -> dict[str, torch.Tensor]:
    return {
        "a": torch.randn(3, 4),
        "view": torch.arange(12).view(3, 4).T,
        "flag": torch.tensor(True),
        "bytes": torch.arange(5, dtype=torch.uint8),
    }


def test_tensors_and_meta_come_back_exactly(tmp_path: Path) -> None:
    tensors = _tensors()
    checkpoint.save(tmp_path, tensors, {"step": 3, "scalers": {"x": [0.1, 0.2]}})
    again, meta = checkpoint.load(tmp_path)
    assert meta == {"step": 3, "scalers": {"x": [0.1, 0.2]}}
    assert all(torch.equal(again[k], v) and again[k].dtype == v.dtype for k, v in tensors.items())


def test_saving_again_leaves_one_pair(tmp_path: Path) -> None:
    for step in range(3):
        checkpoint.save(tmp_path, {"a": torch.full((2,), float(step))}, {"step": step}, "state")
    assert len(list(tmp_path.iterdir())) == 2
    assert checkpoint.load(tmp_path, "state")[1] == {"step": 2}


def test_a_crash_between_the_two_files_leaves_the_old_pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint.save(tmp_path, {"a": torch.zeros(2)}, {"step": 1})

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "write_json", crash)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save(tmp_path, {"a": torch.ones(2)}, {"step": 2})
    tensors, meta = checkpoint.load(tmp_path)
    assert meta == {"step": 1} and torch.equal(tensors["a"], torch.zeros(2))


@pytest.mark.parametrize("harm", ["flip", "cut", "gone", "json", "key", "elsewhere"])
def test_harm_is_noticed(tmp_path: Path, harm: str) -> None:
    checkpoint.save(tmp_path, _tensors(), {})
    weights = next(tmp_path.glob("*.safetensors"))
    data = bytearray(weights.read_bytes())
    record = json.loads((tmp_path / "weights.json").read_text())
    if harm == "flip":
        data[-1] ^= 1
        weights.write_bytes(data)
    elif harm == "cut":
        weights.write_bytes(data[:-8])
    elif harm == "gone":
        weights.unlink()
    elif harm == "json":
        (tmp_path / "weights.json").write_text("{")
    elif harm == "key":
        del record["sha256"]
        (tmp_path / "weights.json").write_text(json.dumps(record))
    else:
        record["file"] = "../../etc/passwd"
        (tmp_path / "weights.json").write_text(json.dumps(record))
    with pytest.raises(WorkbenchError):
        checkpoint.load(tmp_path)


def test_a_module_takes_only_what_fits() -> None:
    net = nn.Linear(3, 2)
    good = {name: value.clone() for name, value in net.state_dict().items()}
    checkpoint.load_into(net, good)
    for wrong in (
        {"weight": good["weight"]},
        good | {"more": torch.zeros(1)},
        good | {"weight": torch.zeros(2, 4)},
        good | {"bias": torch.tensor([0.0, float("nan")])},
    ):
        with pytest.raises(WorkbenchError):
            checkpoint.load_into(net, wrong)


def test_parts_are_the_inverse_of_prefixes() -> None:
    tensors = {"x": torch.zeros(1), "y.z": torch.ones(1)}
    both = checkpoint.with_prefix("net", tensors) | checkpoint.with_prefix("network", {"x": torch.ones(1)})
    assert checkpoint.part(both, "net").keys() == tensors.keys()
