"""An imported checkpoint is a model like others: listed, measured, labels what people do, carries a policy."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from models import normalize
from models.act_vae import load_act_vae
from models.export import export_model
from models.export_graphs import GRAPHS
from models.labels import read_labels
from models.normalize import ActionScaler
from models.official.importing import Wanted, import_model
from models.official.scales import scales_of_file
from models.recipes import preset
from models.registry import ModelRecord, list_models, read_record, write_record
from models.stages import RunSpec
from models.takes import load_takes
from models.train_worker import run
from models.vd_vae import load_vd_vae
from storage.layout import Home
from tests.models.conftest import Set, write_take
from tests.models.networks import save_tiny
from tests.models.official.published import Sizes, StageTwo, checkpoint_of, scales_of, spread
from workbench.cli import main
from workbench.core.errors import WorkbenchError
from workbench.services.model_card import model_card
from workbench.services.runs import choose_bases, suitable_episodes

SMALL = Sizes(4, 16, 6, 16, 3, 32, 300, 24, 1, 12, 50)


@pytest.fixture(scope="module")
def net() -> StageTwo:
    torch.manual_seed(5)
    made = StageTwo(SMALL).eval()
    spread(made, SMALL)
    return made


@pytest.fixture(scope="module")
def file(net: StageTwo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network as the release's trainer writes it, with the scales of its robots."""
    path = tmp_path_factory.mktemp("published") / "last.ckpt"
    value = checkpoint_of(net)
    torch.save(value | {"state_dict": value["state_dict"] | scales_of()}, path)
    return path


@pytest.fixture(scope="module")
def dino(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("transformers")
    return save_tiny("dinov3", tmp_path_factory.mktemp("dino"), width=24, patch=4)


def _json(capsys: pytest.CaptureFixture[str], home: Home, *words: object) -> dict[str, object]:
    assert main(["--home", str(home.path), *map(str, words), "--json"], lambda *_: 0) == 0
    value: dict[str, object] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return value


def test_a_codec_is_imported_measured_and_shown(
    small_set: Set, net: StageTwo, file: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    home = small_set.home
    told = _json(capsys, home, "--threads", "models", "import", file, "--stage", "act_vae")
    again = _json(capsys, home, "--threads", "models", "import", file, "--stage", "act_vae")
    assert again["model"] == told["model"]  # the same file is the same codec
    shown = _json(capsys, home, "models", "show", told["model"])
    about = shown["metrics"]["imported"]  # type: ignore[index]
    assert about["file"] == "last.ckpt" and shown["data"] == []
    assert about["takes"] >= len(small_set.robot)  # other tests leave robot takes in this home, too
    assert any("32 actions at 30 Hz into 4 tokens" in line for line in about["uses"])
    assert any("of little use for the takes here" in line for line in about["limits"])  # its weights are random
    assert shown["metrics"]["rmse_mm"] > 0 and shown["metrics"]["windows"] > 100  # type: ignore[index]
    card = model_card(home.path, str(told["model"]))
    assert "last.ckpt, SHA-256" in card and about["limits"][0] in card and "imported.bytes" not in card
    model = load_act_vae(home, str(told["model"]))
    assert {"station", "S1-stationary", "droid"} <= model.scalers.keys()
    actions = torch.from_numpy(model.scaler.normalise(np.zeros((2, 32, 7))))
    assert torch.equal(model.net.encode(actions)[1], net.tokens(actions))
    export_model(home, str(told["model"]), tmp_path / "out", "card")
    record = read_record(home, str(told["model"]))
    with pytest.raises(WorkbenchError, match="not written as ONNX"):
        GRAPHS["act_vae"](home, record, tmp_path / "out")


def test_an_alignment_labels_people_and_a_policy_learns_from_it(
    small_set: Set, net: StageTwo, file: Path, dino: Path
) -> None:
    home = small_set.home
    told = import_model(home, Wanted(file, "vd_vae", small_set.robot[:3], encoder=str(dino)))
    model = load_vd_vae(home, told["model"])
    assert read_record(home, told["model"]).bases == {"act_vae": told["codec"]}
    assert any("could not be compared" in line for line in told["imported"]["limits"])
    small = {"steps": 2, "batch": 8, "width": 16, "layers": 1, "human_share": 0.5}
    bases = {"act_vae": told["codec"], "vd_vae": told["model"]}
    takes = (*small_set.robot[:2], small_set.human[0])
    spec = RunSpec("ntp", preset("clap-l32", "ntp", **small), takes, home.path, bases)
    assert run(spec.write(), resume=False) == 0
    (seen,) = load_takes(home, takes[2:], model.encoder, ("front",), 1 / 30)
    labels = read_labels(home, told["model"], seen)
    assert labels is not None
    features = torch.from_numpy(seen.features["front"])
    rows = np.flatnonzero(labels.tokens_TN[:, 0] >= 0)[[0, 7, 20]]
    with torch.no_grad():
        wanted = net.look(features[rows], features[np.minimum(rows + 32, len(features) - 1)])[1]
    assert np.array_equal(labels.tokens_TN[rows], wanted[:, -SMALL.tokens :].numpy())  # the right arm's
    assert 0 < labels.confidence_T.max() <= 1


def test_an_alignment_wants_the_network_it_was_made_on(
    small_set: Set, net: StageTwo, file: Path, dino: Path, tmp_path: Path
) -> None:
    home, before = small_set.home, len(list_models(small_set.home))
    with pytest.raises(WorkbenchError, match="--encoder FOLDER"):
        import_model(home, Wanted(file, "vd_vae", small_set.robot[:1]))
    narrow = save_tiny("dinov3", tmp_path / "narrow", width=12, patch=4)
    with pytest.raises(WorkbenchError, match="by 12 numbers, the alignment reads 24"):
        import_model(home, Wanted(file, "vd_vae", small_set.robot[:1], encoder=str(narrow)))
    value = checkpoint_of(net)
    value["state_dict"]["clap.dino_encoder.patch_embed.proj.weight"] = torch.ones(24, 3, 4, 4)
    torch.save(value, tmp_path / "other.ckpt")
    with pytest.raises(WorkbenchError, match="other weights than those in the folder"):
        import_model(home, Wanted(tmp_path / "other.ckpt", "vd_vae", small_set.robot[:1], encoder=str(dino)))
    assert len(list_models(home)) == before


def test_the_next_training_builds_on_a_codec_of_its_own_time_grid(net: StageTwo, file: Path, tmp_path: Path) -> None:
    home = Home.open(tmp_path)
    own = ModelRecord("own", "act_vae", preset("quick", "act_vae").to_json(), "", created_at="2020-01-01")
    write_record(home, own)
    imported = import_model(home, Wanted(file, "act_vae"))["model"]  # by the scales in the file alone
    assert choose_bases(home, "vd_vae", {}, preset("quick", "vd_vae")) == {"act_vae": "own"}
    assert choose_bases(home, "vd_vae", {}, preset("clap-l32", "vd_vae")) == {"act_vae": imported}
    assert choose_bases(home, "vd_vae", {"act_vae": imported}, preset("quick", "vd_vae")) == {"act_vae": imported}
    assert "station" not in load_act_vae(home, imported).scalers
    write_take(home, 3)  # now there is a robot to measure
    ids = suitable_episodes(tmp_path, "act_vae")
    again = import_model(home, Wanted(file, "act_vae", ids))["model"]
    assert again != imported and "station" in load_act_vae(home, again).scalers


def test_a_codec_without_any_scale_is_refused(net: StageTwo, tmp_path: Path) -> None:
    torch.save(checkpoint_of(net), tmp_path / "bare.ckpt")
    home = Home.open(tmp_path / "home")
    with pytest.raises(WorkbenchError, match="Record demonstrations first"):
        import_model(home, Wanted(tmp_path / "bare.ckpt", "act_vae"))
    table = {"my-arm": {"action": {"q01": [-0.2] * 6 + [-1], "q99": [0.1] * 6 + [1]}}}
    (tmp_path / "scales.json").write_text(json.dumps(table))
    told = import_model(home, Wanted(tmp_path / "bare.ckpt", "act_vae", statistics=tmp_path / "scales.json"))
    scaler = load_act_vae(home, told["model"]).scalers["my-arm"]
    assert scaler.invert(np.ones((32, 7)))[:, 0] == pytest.approx(0.1)
    for wrong in ("[]", '{"a": 1}', '{"a": {"action": {"q01": [1], "q99": [2]}}}', '{"a": {"action": {"q01": "x"}}}'):
        (tmp_path / "scales.json").write_text(wrong)
        with pytest.raises(WorkbenchError):
            scales_of_file(tmp_path / "scales.json", 32)


def test_the_release_counts_turns_about_fixed_axes_and_a_closed_gripper_as_one() -> None:
    rng = np.random.default_rng(0)
    actions = np.concatenate([rng.normal(size=(50, 3)), rng.normal(size=(50, 3)) * 0.8, rng.uniform(-1, 1, (50, 1))], 1)
    theirs = normalize.to_published(actions)
    assert normalize.from_published(theirs) == pytest.approx(actions, abs=1e-9)
    about_z = normalize.to_published([0.1, 0.2, 0.3, 0.0, 0.0, 0.7, 1.0])
    assert about_z == pytest.approx([0.1, 0.2, 0.3, 0.0, 0.0, 0.7, -1.0])
    # A quarter about x, then a quarter about the fixed z: x becomes y, and y, by then z, stays there.
    turned = normalize.from_published([0, 0, 0, np.pi / 2, 0, np.pi / 2, 0])
    columns = normalize.rotation_6d(normalize.from_rotation_vector(turned[3:6]))
    assert columns == pytest.approx([0, 1, 0, 0, 0, 1], abs=1e-9)


def test_a_published_scale_survives_its_checkpoint_and_is_the_same_for_every_step() -> None:
    rng = np.random.default_rng(1)
    actions = rng.normal(size=(400, 32, 7)) * 0.05
    scaler = ActionScaler.fit(actions, published=True)
    assert np.ptp(scaler.half_H6, axis=0) == pytest.approx(0) and scaler.fits(32)
    again = ActionScaler.from_json(json.loads(json.dumps(scaler.to_json())))
    assert again.published and np.array_equal(again.normalise(actions[0]), scaler.normalise(actions[0]))
    assert again.invert(again.normalise(actions[0])) == pytest.approx(actions[0], abs=1e-6)
    share = (np.abs(scaler.normalise(actions)[..., :6]) <= 1).mean()
    assert share == pytest.approx(0.98, abs=0.003)
