"""Exported models: whole or not there, the same when read again, and ONNX graphs that answer as the policy does."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from models import checkpoint, export, export_onnx
from models.export import export_model, partial_folder
from models.policy import Policy
from models.registry import list_models, model_folder, read_record
from storage.layout import Home
from tests.models.conftest import Set
from workbench.core.errors import WorkbenchError


@pytest.fixture
def home(small_set: Set, small_policy: Path) -> Home:
    assert small_policy.is_dir()
    return small_set.home


def by_stage(home: Home, stage: str) -> str:
    return list_models(home, stage)[-1].id


@pytest.mark.parametrize("stage", ["act_vae", "ntp", "rf"])
def test_an_export_is_the_model_again(home: Home, tmp_path: Path, stage: str) -> None:
    model_id, said = by_stage(home, stage), []
    found = export_model(home, model_id, tmp_path / "out", "# card\n", tell=lambda *step: said.append(step))
    folder = tmp_path / "out"
    assert found["verified"] and json.loads((folder / "export.json").read_text()) == found
    assert all((folder / name).stat().st_size == size for name, size in found["files"].items())
    assert (folder / "README.md").read_text() == "# card\n" and said[-1] == ("Done", 3, 3)
    own, meta = checkpoint.load(model_folder(home, model_id))
    again, told = checkpoint.load(folder)
    assert told == meta and all(torch.equal(again[name], value) for name, value in own.items())
    assert json.loads((folder / "statistics.json").read_text())["scalers"] == meta["scalers"]
    other = Home.open(tmp_path / "other")
    shutil.copytree(folder, other.models / model_id)
    assert read_record(other, model_id) == read_record(home, model_id)
    if stage == "rf":
        assert Policy.load(other.models / model_id).cameras == Policy.load(model_folder(home, model_id)).cameras


def test_nothing_is_written_over_and_nothing_half_is_left(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model_id = by_stage(home, "rf")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("keep")
    with pytest.raises(WorkbenchError, match="already"):
        export_model(home, model_id, tmp_path / "full", "")
    assert [path.name for path in tmp_path.iterdir()] == ["full"]

    def stop(what: str, done: int, total: int) -> None:
        if done == 2:
            assert partial_folder(tmp_path / "out").is_dir()
            raise WorkbenchError("cancelled")

    with pytest.raises(WorkbenchError, match="cancelled"):
        export_model(home, model_id, tmp_path / "out", "", tell=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["full"]
    write = checkpoint.save

    def harm(folder: Path, *rest: object, **more: object) -> None:
        write(folder, *rest, **more)  # type: ignore[arg-type]
        for weights in () if "familiar" in rest else folder.glob("weights-*"):
            data = bytearray(weights.read_bytes())
            data[-1] ^= 1
            weights.write_bytes(data)

    monkeypatch.setattr(export.checkpoint, "save", harm)
    with pytest.raises(WorkbenchError, match="not those that were written"):
        export_model(home, model_id, tmp_path / "out", "")
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


def test_what_a_killed_export_left_is_no_hindrance(home: Home, tmp_path: Path) -> None:
    partial_folder(tmp_path / "out").mkdir()
    (partial_folder(tmp_path / "out") / "weights.json").write_text("{")
    assert export_model(home, by_stage(home, "act_vae"), tmp_path / "out", "")["verified"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("stage", ["act_vae", "ntp", "rf"])
def test_the_graphs_answer_as_the_model_does(home: Home, tmp_path: Path, stage: str) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs the package onnxruntime")
    pytest.importorskip("onnx", reason="needs the package onnx")
    model_id = by_stage(home, stage)
    found = export_model(home, model_id, tmp_path / "out", "# card\n", onnx=True)
    assert [graph["file"] for graph in found["onnx"]][-1] == "onnx/act_vae_decoder.onnx"
    for graph in found["onnx"]:
        assert max(graph["max_difference"].values()) <= 1e-4 and graph["rows"] > 5
        assert graph["rows_from"] in ("held-out takes", "takes it learnt from")
        session = onnxruntime.InferenceSession(str(tmp_path / "out" / graph["file"]))
        assert session.get_modelmeta().custom_metadata_map["model"] == model_id
        with np.load(tmp_path / "out" / graph["file"].replace(".onnx", ".example.npz")) as example:
            fed = {name: example[name] for name in graph["inputs"]}
            given = dict(zip(graph["outputs"], session.run(None, fed), strict=True))
            for name, value in given.items():
                assert np.allclose(value, example[f"out.{name}"], atol=1e-5)
    assert "held-out" in (tmp_path / "out" / "README.md").read_text() or stage != "rf"


def test_the_flow_graph_gives_what_the_live_policy_does(home: Home, tmp_path: Path) -> None:
    """Through the whole policy: pictures, pose and words in, absolute targets out."""
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs the package onnxruntime")
    model_id = by_stage(home, "rf")
    export_model(home, model_id, tmp_path / "out", "", onnx=True)
    policy = Policy.load(model_folder(home, model_id))
    chance = np.random.default_rng(3)
    pictures = {name: chance.integers(0, 255, (72, 96, 3), dtype=np.uint8) for name in policy.cameras}
    pose = np.array([0.1, 0.0, 0.2, 1.0, 0.0, 0.0, 0.0, 1.0])
    said = policy.model.instructions[0]
    chunk = policy.plan(pictures, pose, said, 0)
    features, state = policy.observe(pictures, pose)
    vectors = json.loads((tmp_path / "out" / "onnx" / "instructions.json").read_text())
    session = onnxruntime.InferenceSession(str(tmp_path / "out" / "onnx" / "clap_rf.onnx"))
    fed = {
        "features": features.numpy(),
        "state": state.numpy(),
        "instruction": np.array([vectors[said]], dtype=np.float32),
    }
    actions = session.run(["actions"], fed)[0][0]
    assert np.allclose(pose[:3] + actions[:, :3], chunk.targets[:, :3], atol=1e-5)


def test_a_graph_that_answers_otherwise_is_refused(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime", reason="needs the package onnxruntime")
    monkeypatch.setattr(export_onnx, "TOLERANCE", -1.0)
    with pytest.raises(WorkbenchError, match="answers otherwise"):
        export_model(home, by_stage(home, "act_vae"), tmp_path / "out", "", onnx=True)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_written_is_said(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_onnx, "_PACKAGES", ("onnx_of_nobody",))
    with pytest.raises(WorkbenchError, match="package 'onnx_of_nobody' is needed"):
        export_model(home, by_stage(home, "rf"), tmp_path / "out", "", onnx=True)
    record = read_record(home, by_stage(home, "rf"))
    monkeypatch.setattr(export_onnx, "GRAPHS", {})
    with pytest.raises(WorkbenchError, match="no ONNX form"):
        export_onnx.write_graphs(home, record, tmp_path, tmp_path)
    assert list(tmp_path.iterdir()) == []
