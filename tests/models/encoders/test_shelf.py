"""Published picture networks as encoders: they follow what moves, train an alignment, and refuse other weights."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from models.encoders import ENCODERS
from models.recipes import preset
from models.stages import RunSpec
from models.train_worker import run
from models.vd_vae import load_vd_vae
from models.vision import PatchEncoder, grid_of
from tests.models.conftest import Set
from tests.models.networks import save_tiny
from workbench.cli import main
from workbench.core.errors import WorkbenchError

Folder = Callable[[str], Path]
SHELF = ("dinov2", "dinov3", "siglip")


def _picture(x: float, y: float) -> np.ndarray:
    picture = np.full((96, 128, 3), 110, np.uint8)
    column, row = round((x + 1) * 64), round((y + 1) * 48)
    picture[max(0, row - 12) : row + 12, max(0, column - 12) : column + 12] = (230, 30, 20)
    return picture


@pytest.mark.parametrize("kind", SHELF)
def test_patches_lie_row_by_row_and_tell_where_a_thing_is(kind: str, networks: Folder) -> None:
    encoder = ENCODERS.build(kind, source=str(networks(kind)), clusters=48, layout="patches")
    encoder.fit([_picture(0, 0)], 0)
    assert encoder.layout == "patches" and encoder.shape == (48, 16) and grid_of(48) == (6, 8)
    empty = encoder.encode(_picture(9, 9))
    for x, y in ((-0.6, -0.6), (0.6, -0.5), (-0.5, 0.6)):
        change = np.linalg.norm(encoder.encode(_picture(x, y)) - empty, axis=1).reshape(6, 8)
        row, column = np.unravel_index(int(change.argmax()), change.shape)
        assert abs((2 * column + 1) / 8 - 1 - x) < 0.3 and abs((2 * row + 1) / 6 - 1 - y) < 0.4


def test_keypoints_follow_a_thing_by_how_it_looks(networks: Folder) -> None:
    encoder = ENCODERS.build("dinov2", source=str(networks("dinov2")), clusters=8)
    encoder.fit([_picture(x, y) for x in (-0.6, 0.0, 0.6) for y in (-0.5, 0.5)], 0)
    left, right = encoder.encode(_picture(-0.6, 0.4)), encoder.encode(_picture(0.6, -0.4))
    assert left.shape == (8, 5)
    moved = (right - left)[:, 1:3] * (np.minimum(left[:, 0], right[:, 0]) > -0.5)[:, None]
    best = int(np.linalg.norm(moved, axis=1).argmax())
    assert moved[best, 0] > 0.5 and moved[best, 1] < -0.3


def test_a_trained_alignment_keeps_its_network_and_refuses_another(
    small_set: Set, networks: Folder, tmp_path: Path
) -> None:
    source = tmp_path / "siglip"
    source.symlink_to(networks("siglip"))
    common = {"steps": 3, "batch": 16, "width": 16, "layers": 1, "clusters": 8}
    codec = RunSpec("act_vae", preset("tiny", "act_vae", steps=3), small_set.robot[:2], small_set.home.path)
    assert run(codec.write(), resume=False) == 0
    recipe = preset("tiny", "vd_vae", **common, encoder="siglip", encoder_source=str(source))
    takes = (*small_set.robot[:2], small_set.human[0])
    spec = RunSpec("vd_vae", recipe, takes, small_set.home.path, {"act_vae": codec.model_id})
    assert run(spec.write(), resume=False) == 0
    model = load_vd_vae(small_set.home, spec.model_id)
    assert model.encoder.kind == "siglip" and model.net.shape == (1, 8, 5)
    picture = _picture(0.1, 0.2)
    before = model.encoder.encode(picture)
    cached = small_set.home.cache / "features" / model.encoder.hash()
    assert len(list(cached.iterdir())) == len(takes)  # once per take, under a name that tells the weights
    assert np.array_equal(load_vd_vae(small_set.home, spec.model_id).encoder.encode(picture), before)
    _put_other_weights(source, tmp_path / "other")
    with pytest.raises(WorkbenchError, match="other weights"):
        _anew(load_vd_vae(small_set.home, spec.model_id).encoder).encode(picture)


def _put_other_weights(source: Path, folder: Path) -> None:
    source.unlink()
    save_tiny("siglip", folder, seed=1)
    source.symlink_to(folder)


def _anew(encoder: object) -> PatchEncoder:
    """As another process would open it."""
    assert isinstance(encoder, PatchEncoder)
    from models import vision_net

    vision_net.open_network.cache_clear()
    return encoder


def test_the_published_network_trains_on_patches(small_set: Set, networks: Folder) -> None:
    codec = RunSpec(
        "act_vae",
        preset("clap-l32", "act_vae", steps=2, batch=8, width=16, layers=3, codes=16, code_dim=4, prefix_weight=0.1),
        small_set.robot[:3],
        small_set.home.path,
    )
    assert run(codec.write(), resume=False) == 0
    tiny = {"steps": 2, "batch": 8, "width": 16, "heads": 2, "layers": 1, "irrelevant_codes": 8, "clusters": 12}
    recipe = preset("clap-l32", "vd_vae", **tiny, encoder_source=str(networks("dinov3")))
    takes = (*small_set.robot[:2], small_set.human[0])
    spec = RunSpec("vd_vae", recipe, takes, small_set.home.path, {"act_vae": codec.model_id})
    assert run(spec.write(), resume=False) == 0
    lines = (spec.folder / "progress.jsonl").read_text().splitlines()
    assert np.isfinite(json.loads(lines[-1])["loss"])
    model = load_vd_vae(small_set.home, spec.model_id)
    assert model.encoder.layout == "patches" and model.net.shape == (1, 12, 16) and model.act.net.horizon == 32


def test_a_network_and_what_it_reads_must_fit(small_set: Set, networks: Folder) -> None:
    codec = RunSpec("act_vae", preset("tiny", "act_vae", steps=2), small_set.robot[:2], small_set.home.path)
    assert run(codec.write(), resume=False) == 0
    recipe = preset("tiny", "vd_vae", net="space_time", cameras="front,wrist", clusters=12, tips=False)
    recipe = recipe.with_(encoder="dinov2", encoder_source=str(networks("dinov2")))
    spec = RunSpec("vd_vae", recipe, small_set.robot[:2], small_set.home.path, {"act_vae": codec.model_id})
    assert run(spec.write(), resume=False) == 1
    assert "one camera" in (spec.folder / "status.json").read_text()


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "nothing there": (lambda f: None, "no DINOv2 network can be read"),
    "another sort of network": (lambda f: save_tiny("siglip", f), "of the type 'siglip', not DINOv2"),
    "no weights": (lambda f: (save_tiny("dinov2", f) / "model.safetensors").unlink(), "no DINOv2 network can be read"),
    "only a pickle of weights": (lambda f: _as_pickle(save_tiny("dinov2", f)), "no DINOv2 network can be read"),
    "a tensor less": (lambda f: _without_one(save_tiny("dinov2", f)), "is not whole"),
    "cut weights": (lambda f: _cut(save_tiny("dinov2", f) / "model.safetensors"), "no DINOv2 network can be read"),
    "a broken description": (lambda f: (save_tiny("dinov2", f) / "config.json").write_text("{"), "no DINOv2 network"),
}


@pytest.mark.parametrize(("spoil", "said"), WRONG.values(), ids=WRONG)
def test_a_folder_that_is_no_such_network_is_refused(
    spoil: Callable[[Path], object], said: str, tmp_path: Path
) -> None:
    pytest.importorskip("transformers")
    spoil(tmp_path / "network")
    with pytest.raises(WorkbenchError, match=said) as refusal:
        ENCODERS.build("dinov2", source=str(tmp_path / "network")).fit([_picture(0, 0)], 0)
    assert len(str(refusal.value)) < 700


def _as_pickle(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def _without_one(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors.pop(sorted(tensors)[0])
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


def test_nobody_goes_online_unasked(monkeypatch: pytest.MonkeyPatch, networks: Folder) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("somebody looked for a host")

    monkeypatch.setattr("socket.getaddrinfo", refuse)
    with pytest.raises(WorkbenchError, match="no DINOv3 network can be read"):
        ENCODERS.build("dinov3", source="somebody/some-network").fit([_picture(0, 0)], 0)
    asked = ENCODERS.build("dinov3", source="hub:somebody/some-network")
    assert asked.settings()["source"] == "somebody/some-network"
    # A model that was copied here asks for nothing, even if it says so.
    lying = ENCODERS.build("dinov3", source="hub:somebody/else", clusters=12, layout="patches", weights="0", numbers=8)
    lying.load_state({})
    with pytest.raises(WorkbenchError, match="no DINOv3 network can be read"):
        lying.encode(_picture(0, 0))


def test_without_the_package_the_shelf_is_grey(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "transformers" else find(name))
    assert main(["models", "encoders", "--json"], lambda _: 0) == 0
    told = {line["kind"]: line for line in json.loads(capsys.readouterr().out.splitlines()[-1])["encoders"]}
    assert told["colour_keypoints"]["status"] == "possible"
    assert all(told[kind]["status"] == "missing" and "transformers" in told[kind]["reason"] for kind in SHELF)
    with pytest.raises(WorkbenchError, match="pip install transformers"):
        ENCODERS.build("dinov2", source="anywhere")


def test_nothing_heavy_is_imported_before_a_picture_is_looked_at() -> None:
    program = (
        "import sys; from models.encoders import ENCODERS; ENCODERS.build('dinov2', source='x'); import workbench.cli; "
        "sys.exit(int('transformers' in sys.modules or 'torch' in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=300).returncode == 0


def test_only_whole_grids_are_patches() -> None:
    assert grid_of(300) == (15, 20) and grid_of(12) == (3, 4)
    for wrong in (2, 32, 299, 301, 13):
        with pytest.raises(WorkbenchError, match="make no grid"):
            grid_of(wrong)
