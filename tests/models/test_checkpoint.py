"""Checkpoints: exact when whole, refused in words when not."""

from __future__ import annotations

import hashlib
import json
import pickle
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


def _rewrite(folder: Path, data: bytes, **changes: object) -> None:
    """Put other weights into a checkpoint and make size and hash fit, as somebody would who wants it to be read."""
    record = json.loads((folder / "weights.json").read_text())
    (folder / record["file"]).write_bytes(data)
    fitting = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (folder / "weights.json").write_text(json.dumps(record | fitting | changes))


class Trap:
    """Unpickling this would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def _header(header: bytes) -> bytes:
    return len(header).to_bytes(8, "little") + header


HUGE = b'{"a":{"dtype":"F32","shape":[1000000000000,1000000000000],"data_offsets":[0,8]}}'
PAST = b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,800000000]}}'
ODD = b'{"a":{"dtype":"PICKLE","shape":[2],"data_offsets":[0,8]}}'


@pytest.mark.parametrize(
    "make", ["pickle", "torch", "huge header", "huge shape", "past the end", "odd kind", "one byte"]
)
def test_what_is_no_safetensors_is_never_run_nor_believed(tmp_path: Path, make: str) -> None:
    checkpoint.save(tmp_path / "m", _tensors(), {})
    trap = tmp_path / "sprung"
    if make == "torch":
        torch.save({"a": Trap(trap)}, tmp_path / "torch.pt")
        data = (tmp_path / "torch.pt").read_bytes()
    else:
        data = {
            "pickle": pickle.dumps(Trap(trap)),
            "huge header": (1 << 62).to_bytes(8, "little") + b"{}",
            "huge shape": _header(HUGE) + bytes(8),
            "past the end": _header(PAST) + bytes(8),
            "odd kind": _header(ODD) + bytes(8),
            "one byte": b"\0",
        }[make]
    _rewrite(tmp_path / "m", data)
    with pytest.raises(WorkbenchError, match=r"broken"):
        checkpoint.load(tmp_path / "m")
    assert not trap.exists()


def test_a_wrong_hash_is_refused_though_the_file_is_fine(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, _tensors(), {})
    record = json.loads((tmp_path / "weights.json").read_text())
    (tmp_path / "weights.json").write_text(json.dumps(record | {"sha256": "0" * 64}))
    with pytest.raises(WorkbenchError, match="not those that were written"):
        checkpoint.load(tmp_path)


@pytest.mark.parametrize("which", ["weights", "record"])
def test_links_are_not_followed(tmp_path: Path, which: str) -> None:
    checkpoint.save(tmp_path / "m", _tensors(), {})
    path = next((tmp_path / "m").glob("*.safetensors" if which == "weights" else "*.json"))
    path.rename(tmp_path / path.name)
    path.symlink_to(tmp_path / path.name)
    with pytest.raises(WorkbenchError, match="broken"):
        checkpoint.load(tmp_path / "m")


@pytest.mark.parametrize("name", ["../weights.safetensors", "/etc/passwd", "weights.pkl", "..", ""])
def test_a_record_names_no_file_but_its_own(tmp_path: Path, name: str) -> None:
    checkpoint.save(tmp_path / "m", _tensors(), {})
    weights = next((tmp_path / "m").glob("*.safetensors"))
    (tmp_path / "weights.safetensors").write_bytes(weights.read_bytes())
    (tmp_path / "m" / "weights.pkl").write_bytes(weights.read_bytes())
    _rewrite(tmp_path / "m", weights.read_bytes(), file=name)
    with pytest.raises(WorkbenchError, match="not its own"):
        checkpoint.load(tmp_path / "m")


@pytest.mark.parametrize("changes", [{"meta": 5}, {"shapes": []}, {"file": 3}, {"bytes": "9"}, {"bytes": 1 << 60}])
def test_a_record_of_the_wrong_kind_is_refused(tmp_path: Path, changes: dict[str, object]) -> None:
    checkpoint.save(tmp_path, _tensors(), {})
    _rewrite(tmp_path, next(tmp_path.glob("*.safetensors")).read_bytes(), **changes)
    with pytest.raises(WorkbenchError, match="broken"):
        checkpoint.load(tmp_path)


def test_sizes_out_of_a_file_take_no_memory_before_they_are_compared() -> None:
    with pytest.raises(WorkbenchError, match="shape"):
        checkpoint.build(lambda: nn.Linear(1 << 24, 1 << 24), {"weight": torch.zeros(2, 2), "bias": torch.zeros(2)})
    tensors = {"weight": torch.ones(2, 3), "bias": torch.ones(2)}
    made = checkpoint.build(lambda: nn.Linear(3, 2), tensors)
    assert torch.equal(made.weight, tensors["weight"]) and made.weight.device.type == "cpu"
