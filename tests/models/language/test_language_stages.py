"""CLAP-NTP and CLAP-RF on a language model through the normal stages: train, save, load, drive, fine-tune, resume."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from models import checkpoint
from models.export import export_model
from models.export_onnx import write_graphs
from models.forgetting import Pair, measure_take
from models.language.net import LanguageNet
from models.ntp import NtpStage
from models.policy import NoActionError, Policy
from models.policy_model import load_policy_model
from models.policy_worker import Worker
from models.recipes import NtpRecipe, RfRecipe, VdVaeRecipe
from models.registry import model_folder, read_record
from models.rf import RfStage
from models.stages import RunSpec
from models.train import Trainer
from models.train_worker import build_stage, run
from storage.episode import Episode
from storage.layout import Home
from tests.models.conftest import Set
from tests.models.language.tiny import save_tiny
from workbench.core.errors import WorkbenchError
from workbench.core.ring import Ring

STREAMS = ("observation.images.front", "observation.images.wrist", "observation.state")
SMALL = {"batch": 6, "width": 16, "layers": 1, "horizon_s": 0.4, "warmup": 2, "report_every": 5}


@dataclass
class Chain:
    """Models of one family, by stage, and the folder of their base."""

    act_vae: str
    ntp: str
    rf: str
    base: Path
    recipe: NtpRecipe


def train(spec: RunSpec) -> str:
    folder = spec.write()
    assert run(folder, resume=False) == 0, (folder / "status.json").read_text()
    return spec.model_id


def flow(**changes: object) -> RfRecipe:
    return RfRecipe(steps=3, lr=1e-2, flow_width=16, flow_layers=1, **SMALL).with_(**changes)


@pytest.fixture(scope="module")
def chain(small_set: Set, small_policy: Path) -> Chain:
    """Qwen3-VL with an adapter; all of SmolVLM2's weights are tuned in a test of its own."""
    home = small_set.home
    base = save_tiny("qwen3_vl", home.path / "bases" / "tiny")
    recipe = NtpRecipe(
        steps=14, lr=0.4, backbone="qwen3_vl", backbone_folder=str(base), picture_px=16, lora_rank=4, **SMALL
    )
    act = read_record(home, small_policy.name).bases["act_vae"]
    ntp = train(RunSpec("ntp", recipe, small_set.robot[:3], home.path, {"act_vae": act}))
    rf = train(RunSpec("rf", flow(), small_set.robot[:3], home.path, {"act_vae": act, "ntp": ntp}))
    return Chain(act, ntp, rf, base, recipe)


def seen(home: Home, take: str, row: int) -> tuple[dict[str, np.ndarray], np.ndarray, tuple[str, ...], str]:
    with Episode.open(home, take) as episode:
        pictures = {name: episode.read(f"observation.images.{name}", row) for name in ("front", "wrist")}
        axes = episode.manifest.streams["observation.state"].axes
        return pictures, episode.vectors("observation.state")[row], axes, episode.manifest.instruction


def test_the_checkpoint_holds_the_adapter_and_names_the_base(small_set: Set, chain: Chain) -> None:
    tensors, meta = checkpoint.load(model_folder(small_set.home, chain.ntp))
    told = meta["language"]
    assert (told["kind"], told["name"], told["tuning"], told["rank"]) == ("qwen3_vl", "tiny", "lora", 4)
    adapter = [name for name in tensors if "backbone.tuned." in name]
    assert adapter
    assert all("lora_" in name for name in adapter)
    assert not any("embed_tokens" in name for name in tensors), "the base stays where it is"
    record = read_record(small_set.home, chain.ntp)
    assert record.recipe["backbone"] == "qwen3_vl"
    assert set(record.metrics["errors_mm"]) == {"reg", "ntp"}
    assert set(read_record(small_set.home, chain.rf).metrics["errors_mm"]) == {"reg", "ntp", "rf"}


def test_both_heads_drive_as_they_did_before_saving(small_set: Set, chain: Chain) -> None:
    inputs = seen(small_set.home, small_set.robot[0], 2)
    policy = Policy.load(model_folder(small_set.home, chain.rf))
    assert policy.heads == ("rf", "ntp")
    for head in policy.heads:
        chunk = policy.act(*inputs, 123, head=head)
        assert chunk.targets.shape == (4, 8)
        assert np.array_equal(chunk.targets, policy.act(*inputs, 123, head=head).targets)
    told = policy.unusual()
    assert 0.0 <= told["token_entropy"] <= 1.0
    assert "distance" not in told
    again = Policy.load(model_folder(small_set.home, chain.rf))
    assert np.array_equal(again.act(*inputs, 5).targets, policy.act(*inputs, 5).targets)
    asked = policy.act(*inputs[:3], "throw it away", 123).targets
    assert not np.array_equal(asked, policy.act(*inputs, 123).targets)


def test_a_policy_that_says_a_word_gives_no_chunk_but_still_starts(
    small_set: Set, chain: Chain, tmp_path: Path
) -> None:
    policy = Policy.load(model_folder(small_set.home, chain.ntp))
    net = policy.model.ntp
    assert isinstance(net, LanguageNet)
    with torch.no_grad():
        net.head.out.zero_()
    inputs = seen(small_set.home, small_set.robot[0], 2)
    with pytest.raises(NoActionError, match=r"broke off after 0 of 2 action tokens\. The arm holds"):
        policy.act(*inputs, 0, head="ntp")
    with Episode.open(small_set.home, small_set.robot[0]) as episode:
        rings = {name: Ring.create(tmp_path / name, episode.manifest.streams[name], 4) for name in STREAMS}
        for name, ring in rings.items():
            ring.write(episode.read(name, 2), sequence=0, t_device_ns=1000, t_host_ns=1000)
    worker = Worker(policy, {name: str(ring.path) for name, ring in rings.items()}, None, "ntp")
    worker.set_task(inputs[3])
    with pytest.raises(NoActionError):
        worker.act()
    worker.close()
    for ring in rings.values():
        ring.close()


def test_exports_hold_the_adapter_but_no_graph(small_set: Set, chain: Chain, tmp_path: Path) -> None:
    home = small_set.home
    told = export_model(home, chain.rf, tmp_path / "out", "a card")
    assert told["verified"]
    assert load_policy_model(tmp_path / "out").instructions, "the base is still where it was"
    with pytest.raises(WorkbenchError, match="language model has no ONNX form"):
        write_graphs(home, read_record(home, chain.rf), model_folder(home, chain.rf), tmp_path)


def test_a_take_is_measured_before_and_after(small_set: Set, chain: Chain) -> None:
    model = load_policy_model(model_folder(small_set.home, chain.rf))
    found = measure_take(small_set.home, Pair(model, model), small_set.robot[0])
    assert found["windows"] > 0
    assert found["before"] == found["after"]
    assert set(found["before"]) >= {"token_ce", "rf_mm"}


def test_another_base_is_refused(small_set: Set, chain: Chain, tmp_path: Path) -> None:
    kept = chain.base.rename(tmp_path / "kept")
    try:
        with pytest.raises(WorkbenchError, match="needs its base model 'tiny'"):
            Policy.load(model_folder(small_set.home, chain.ntp))
        save_tiny("qwen3_vl", chain.base, seed=1)
        with pytest.raises(WorkbenchError, match="not the one this policy was trained on"):
            Policy.load(model_folder(small_set.home, chain.ntp))
    finally:
        for path in chain.base.glob("*"):
            path.unlink()
        if chain.base.exists():
            chain.base.rmdir()
        kept.rename(chain.base)


def test_fine_tuning_matches_a_frozen_copy_and_goes_on_after_a_stop(
    small_set: Set, chain: Chain, tmp_path: Path
) -> None:
    recipe = flow(km_token_weight=1.0, km_velocity_weight=1.0, km_regression_weight=1.0, replay_share=0.5)
    bases = {"act_vae": chain.act_vae, "ntp": chain.ntp, "rf": chain.rf}
    spec = RunSpec("rf", recipe, small_set.robot[3:5], small_set.home.path, bases, replay=small_set.robot[:3])

    def trainer(name: str) -> Trainer:
        (tmp_path / name).mkdir(exist_ok=True)
        return Trainer(build_stage(spec, small_set.home), tmp_path / name)

    whole = trainer("whole")
    stage = whole.stage
    assert isinstance(stage, RfStage)
    assert stage.reference is not None
    before = {name: value.clone() for name, value in stage.reference.state_dict().items()}
    assert all(torch.equal(before[name], value) for name, value in stage.net.state_dict().items())
    assert whole.run()
    after = stage.net.state_dict()
    assert all(torch.equal(before[name], value) for name, value in stage.reference.state_dict().items())
    assert any(not torch.equal(before[name], after[name]) for name in before if "backbone.tuned." in name)
    figures = stage.loss(torch.Generator().manual_seed(1), 0)[1]
    assert figures["km_token"] > 0
    begun = trainer("parts")
    asked = iter([False, True])
    assert not begun.run(lambda: next(asked))
    again = trainer("parts")
    assert again.resume()
    assert again.run()
    rest = again.stage.module.state_dict()
    assert all(torch.equal(after[name], rest[name]) for name in after)


def test_clips_of_people_teach_with_labels_of_an_alignment_that_saw_colours(
    small_set: Set, chain: Chain, folders: dict[str, Path]
) -> None:
    """All of SmolVLM2 is tuned; the labels are read by the alignment through its own encoder."""
    home = small_set.home
    takes = (*small_set.robot[:3], *small_set.human[:2])
    looking = VdVaeRecipe(steps=2, batch=16, width=16, horizon_s=0.4, cameras=("front",))
    vd_vae = train(RunSpec("vd_vae", looking, small_set.robot[:3], home.path, {"act_vae": chain.act_vae}))
    recipe = chain.recipe.with_(
        steps=2, lr=1e-3, backbone="smolvlm2", backbone_folder=str(folders["smolvlm2"]), tuning="full", human_share=0.5
    )
    spec = RunSpec("ntp", recipe, takes, home.path, {"act_vae": chain.act_vae, "vd_vae": vd_vae})
    stage = build_stage(spec, home)
    assert isinstance(stage, NtpStage)
    assert stage.data.human_share == 0.5
    batch = stage.data.sample(torch.Generator().manual_seed(0), stage.data.windows.train, 6)
    human = batch.is_human_B
    assert int(human.sum()) == 3
    assert batch.features_BCKF.dtype == torch.uint8
    assert bool((batch.token_weight_B[human] > 0).any())
    assert bool((batch.tokens_BN[human & (batch.token_weight_B > 0)] >= 0).all())
    folder = spec.write()
    trainer = Trainer(stage, folder)
    assert trainer.run()
    stage.save(folder, trainer.finish())
    weights = checkpoint.load(model_folder(home, spec.model_id))[0]
    assert any("embed_tokens" in name for name in weights), "everything was tuned, so everything is kept"
    loaded = Policy.load(model_folder(home, spec.model_id))
    mine = {name: value for name, value in stage.net.state_dict().items() if "tuned" in name}
    its = loaded.model.ntp.state_dict()
    assert all(torch.equal(its[name], value) for name, value in mine.items())
    inputs = seen(home, small_set.robot[0], 2)
    with torch.inference_mode():
        ours, theirs = (
            policy.model.ntp.see(
                *policy.observe(inputs[0], np.asarray(inputs[1], dtype=np.float64)[-8:]),
                torch.from_numpy(policy.model.ntp.embed("go"))[None],
                torch.ones(1, dtype=torch.bool),
            ).feature_BD
            for policy in (Policy(stage.model, "same"), loaded)
        )
    assert torch.allclose(ours, theirs, atol=1e-6), "the tuned weights, not the base's, must think"


def test_nobody_imports_transformers_for_a_small_policy() -> None:
    code = (
        "import sys, models.train_worker, models.ntp, models.rf, models.policy_worker;"
        "print(sorted({'transformers', 'peft', 'tokenizers', 'huggingface_hub'} & set(sys.modules)))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=280)
    assert said.stdout.strip() == "[]"
