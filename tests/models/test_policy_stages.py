"""The policy stages end to end on small takes: learn, save, load, fine-tune, resume, act."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from models import checkpoint
from models.ntp import NtpStage
from models.policy import NoActionError, Policy, pose_of
from models.policy_model import load_policy_model
from models.recipes import ActVaeRecipe, NtpRecipe, RfRecipe
from models.registry import model_folder, read_record
from models.rf import RfStage
from models.stages import RunSpec
from models.takes import load_takes
from models.train import Trainer
from models.train_worker import build_stage, run
from storage.episode import Episode
from tests.models.conftest import Set, write_take
from workbench.core.errors import WorkbenchError

HORIZON = {"horizon_s": 0.4}
# So few steps suffice only where every selector hears everything and gives its own answer.
NOT_BY_ROLE = {"by_role": False, "selectors": 8}
SMALL = {"batch": 48, "width": 48, "layers": 1, **NOT_BY_ROLE, "warmup": 10, "report_every": 10, **HORIZON}
ACT = ActVaeRecipe(steps=150, batch=96, width=48, layers=1, codes=16, tokens=3, lr=3e-3, **HORIZON)
NTP = NtpRecipe(steps=120, lr=3e-3, weight_ema=0.9, **SMALL)
RF = RfRecipe(steps=100, lr=3e-3, weight_ema=0.9, flow_width=32, flow_layers=1, **SMALL)


@dataclass
class Trained:
    act_vae: str
    ntp: str
    rf: str


def train(spec: RunSpec) -> str:
    folder = spec.write()
    assert run(folder, resume=False) == 0, (folder / "status.json").read_text()
    return spec.model_id


@pytest.fixture(scope="module")
def trained(small_set: Set) -> Trained:
    home = small_set.home.path
    act = train(RunSpec("act_vae", ACT, small_set.robot, home))
    ntp = train(RunSpec("ntp", NTP, small_set.robot, home, {"act_vae": act}))
    rf = train(RunSpec("rf", RF, small_set.robot, home, {"act_vae": act, "ntp": ntp}))
    return Trained(act, ntp, rf)


def test_figures_are_measured_by_head_and_beat_the_mean_chunk(small_set: Set, trained: Trained) -> None:
    record = read_record(small_set.home, trained.rf)
    figures = record.metrics
    assert figures["held_out"] is True
    assert set(figures["errors_mm"]) == {"reg", "ntp", "rf"}
    for head in ("reg", "rf"):
        assert figures["errors_mm"][head]["4"] < 0.75 * figures["mean_chunk_mm"]["4"]
    assert figures["token_accuracy"] > figures["token_majority"]
    assert set(figures["latency_ms"]) == {"ntp", "rf"}
    assert figures["by_task"]
    assert record.parent == trained.ntp
    assert {episode for episode, _ in record.data} == set(small_set.robot)


def test_a_recorded_take_gives_the_policy_the_inputs_of_training(small_set: Set, trained: Trained) -> None:
    policy = Policy.load(model_folder(small_set.home, trained.rf))
    (take,) = load_takes(small_set.home, small_set.robot[:1], policy.model.encoder, policy.cameras, policy.step_s)
    assert take.state_TS is not None
    with Episode.open(small_set.home, take.episode_id) as episode:
        axes = episode.manifest.streams["observation.state"].axes
        states = episode.vectors("observation.state")
        for row in range(0, len(take), 3):
            pictures = {name: episode.read(f"observation.images.{name}", row) for name in policy.cameras}
            features, state = policy.observe(pictures, pose_of(states[row], axes))
            trained_on = np.stack([take.features[name][row] for name in policy.cameras])
            assert np.array_equal(features[0].numpy(), trained_on)
            assert np.array_equal(state[0].numpy(), take.state_TS[row])


def test_chunks_are_absolute_near_the_hand_and_repeatable(small_set: Set, trained: Trained) -> None:
    policy = Policy.load(model_folder(small_set.home, trained.rf))
    inputs = _inputs(small_set, policy, row=2)
    for head in policy.heads:
        chunk = policy.act(*inputs, 123, head=head)
        assert chunk.targets.shape == (4, 8)
        assert (chunk.t_observed_ns, chunk.step_s, chunk.policy_id) == (123, 0.1, trained.rf)
        assert np.allclose(np.linalg.norm(chunk.targets[:, 3:7], axis=1), 1.0)
        start = pose_of(inputs[1], inputs[2])
        assert float(np.linalg.norm(chunk.targets[:, :3] - start[:3], axis=1).max()) < 0.4
        assert np.array_equal(chunk.targets, policy.act(*inputs, 123, head=head).targets)
        assert chunk.latency_ms > 0


def test_wrong_inputs_are_refused_in_words(small_set: Set, trained: Trained) -> None:
    policy = Policy.load(model_folder(small_set.home, trained.rf))
    pictures, state, axes, instruction = _inputs(small_set, policy, row=1)
    with pytest.raises(WorkbenchError, match="wrist"):
        policy.act({"front": pictures["front"]}, state, axes, instruction, 0)
    with pytest.raises(WorkbenchError, match="not finite"):
        policy.act(pictures, np.full_like(state, np.nan), axes, instruction, 0)
    with pytest.raises(WorkbenchError, match="lacks an axis"):
        policy.act(pictures, state[:3], axes[:3], instruction, 0)
    with pytest.raises(WorkbenchError, match="head"):
        policy.act(pictures, state, axes, instruction, 0, head="fr")
    with torch.no_grad():
        policy.model.ntp.backbone.look.bias.fill_(torch.nan)
    with pytest.raises(WorkbenchError, match="not finite"):
        policy.act(pictures, state, axes, instruction, 0)
    with pytest.raises(NoActionError, match="broke off after 0 of 3 action tokens"):
        policy.act(pictures, state, axes, instruction, 0, head="ntp")


def test_the_model_folder_is_self_contained(small_set: Set, trained: Trained, tmp_path: Path) -> None:
    source = model_folder(small_set.home, trained.rf)
    copy = tmp_path / "elsewhere"
    copy.mkdir()
    for file in source.iterdir():
        if file.is_file():
            (copy / file.name).write_bytes(file.read_bytes())
    here, there = Policy.load(source), Policy.load(copy)
    inputs = _inputs(small_set, here, row=4)
    assert np.array_equal(here.act(*inputs, 0).targets, there.act(*inputs, 0).targets)


def test_a_codec_cannot_drive(small_set: Set, trained: Trained) -> None:
    with pytest.raises(WorkbenchError, match="cannot drive"):
        Policy.load(model_folder(small_set.home, trained.act_vae))


def test_stopped_training_goes_on_as_if_it_had_not_been(small_set: Set, trained: Trained, tmp_path: Path) -> None:
    recipe = RF.with_(steps=6, km_token_weight=1.0, km_velocity_weight=1.0, replay_share=0.25)
    bases = {"act_vae": trained.act_vae, "ntp": trained.ntp, "rf": trained.rf}
    spec = RunSpec("rf", recipe, small_set.robot[:4], small_set.home.path, bases, replay=small_set.robot[4:])

    def trainer(folder: Path) -> Trainer:
        folder.mkdir(exist_ok=True)
        return Trainer(build_stage(spec, small_set.home), folder)

    whole = trainer(tmp_path / "whole")
    assert whole.run()
    begun = trainer(tmp_path / "parts")
    asked = iter([False] * 3 + [True])
    assert not begun.run(lambda: next(asked))
    again = trainer(tmp_path / "parts")
    assert again.resume()
    assert again.run()
    first, second = whole.stage.module.state_dict(), again.stage.module.state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_fine_tuning_keeps_the_reference_and_remembers_old_instructions(small_set: Set, trained: Trained) -> None:
    new = write_take(small_set.home, 900), write_take(small_set.home, 901), write_take(small_set.home, 902)
    recipe = RF.with_(steps=5, km_token_weight=1.0, km_velocity_weight=1.0, km_regression_weight=1.0, replay_share=0.25)
    bases = {"act_vae": trained.act_vae, "ntp": trained.ntp, "rf": trained.rf}
    spec = RunSpec("rf", recipe, new, small_set.home.path, bases, replay=small_set.robot)
    stage = RfStage(spec, small_set.home)
    assert stage.reference is not None
    base = load_policy_model(model_folder(small_set.home, trained.rf))
    assert base.rf is not None
    assert stage.model.instructions[: len(base.instructions)] == base.instructions
    batch, own = stage._draw(torch.Generator().manual_seed(0))
    assert len(batch) == 48
    assert len(own) == 36
    old_ids = {stage.data.windows.takes[int(t)].episode_id for t in batch.take_B[36:]}
    assert old_ids <= set(small_set.robot)
    assert {stage.data.windows.takes[int(t)].episode_id for t in own.take_B} <= set(new)
    trainer = Trainer(stage, _fresh(spec))
    assert trainer.run()
    kept = stage.reference.state_dict()
    assert all(torch.equal(kept[name], value) for name, value in base.rf.state_dict().items())
    moved = stage.net.ntp.backbone.look.weight
    assert not torch.equal(moved, base.rf.ntp.backbone.look.weight)
    figures = stage.loss(torch.Generator().manual_seed(1), 0)[1]
    assert {"km_token", "km_velocity", "km_regression", "flow", "token"} <= set(figures)


def test_a_frozen_backbone_stays(small_set: Set, trained: Trained) -> None:
    bases = {"act_vae": trained.act_vae, "ntp": trained.ntp}
    spec = RunSpec("rf", RF.with_(steps=3, backbone_lr_factor=0.0), small_set.robot, small_set.home.path, bases)
    stage = RfStage(spec, small_set.home)
    before = {name: value.clone() for name, value in stage.net.ntp.state_dict().items()}
    flow = stage.net.flow.out.weight.detach().clone()
    assert Trainer(stage, _fresh(spec)).run()
    assert all(torch.equal(before[name], value) for name, value in stage.net.ntp.state_dict().items())
    assert not torch.equal(flow, stage.net.flow.out.weight)


def test_another_chunk_length_than_the_codecs_is_refused(small_set: Set, trained: Trained) -> None:
    spec = RunSpec("ntp", NTP.with_(horizon_s=0.8), small_set.robot, small_set.home.path, {"act_vae": trained.act_vae})
    with pytest.raises(WorkbenchError, match="horizon_s"):
        NtpStage(spec, small_set.home)


def test_a_broken_folder_is_refused(small_set: Set, trained: Trained, tmp_path: Path) -> None:
    tensors, meta = checkpoint.load(model_folder(small_set.home, trained.rf))
    name = next(name for name in tensors if name.startswith("net.flow"))
    tensors[name] = torch.full_like(tensors[name], torch.nan)
    checkpoint.save(tmp_path, tensors, meta)
    with pytest.raises(WorkbenchError, match="not finite"):
        Policy.load(tmp_path)


def _fresh(spec: RunSpec) -> Path:
    return spec.write()


def _inputs(small_set: Set, policy: Policy, row: int) -> tuple[dict[str, np.ndarray], np.ndarray, tuple[str, ...], str]:
    with Episode.open(small_set.home, small_set.robot[0]) as episode:
        pictures = {name: episode.read(f"observation.images.{name}", row) for name in policy.cameras}
        spec = episode.manifest.streams["observation.state"]
        return pictures, episode.vectors("observation.state")[row], spec.axes, episode.manifest.instruction
