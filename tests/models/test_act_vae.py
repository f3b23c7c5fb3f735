"""The action codec: uses its book, decodes all steps, and knows robots apart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from models.act_vae import ActVae, ActVaeStage, Codebook, chunk_errors, code_use, load_act_vae
from models.recipes import ActVaeRecipe, preset
from models.registry import model_folder
from models.stages import RunSpec
from models.train import Trainer
from storage.interop import import_takes
from storage.layout import Home
from tests.models.conftest import Set
from workbench.core.errors import WorkbenchError


@pytest.fixture(scope="module")
def trained(small_set: Set, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ActVaeStage, Trainer, RunSpec]]:
    torch.set_num_threads(1)
    spec = RunSpec("act_vae", preset("tiny", "act_vae", steps=250), small_set.robot, small_set.home.path)
    stage = ActVaeStage(spec, small_set.home)
    trainer = Trainer(stage, tmp_path_factory.mktemp("run"))
    trainer.run()
    result = trainer.finish()
    stage.save(model_folder(small_set.home, spec.model_id), result)
    yield stage, trainer, spec


def test_chunks_survive_the_codec_far_better_than_the_mean_chunk(
    trained: tuple[ActVaeStage, Trainer, RunSpec],
) -> None:
    metrics = trained[1].finish().metrics
    assert metrics["held_out"] and metrics["rmse_mm"] < 0.5 * metrics["mean_chunk_rmse_mm"]
    assert metrics["gripper_accuracy"] > 0.95
    assert metrics["used_share"] >= 0.6 and metrics["perplexity"] > metrics["codes"] / 4
    assert metrics["per_step_mm"][0] < metrics["per_step_mm"][-1]
    assert metrics["by_source"]["station"]["windows"] > 20


def test_a_saved_codec_gives_the_same_tokens(trained: tuple[ActVaeStage, Trainer, RunSpec], small_set: Set) -> None:
    stage, _, spec = trained
    model = load_act_vae(small_set.home, spec.model_id)
    actions = stage.windows.held_out.all("robot").actions_BHA
    with torch.no_grad():
        codes, tokens = model.net.encode(actions)
        assert torch.equal(tokens, stage.net.encode(actions)[1])
        assert torch.allclose(model.net.decode(tokens), model.net.decode_codes(codes), atol=1e-5)
    assert model.net.decode(tokens).shape == (len(actions), 8, 7)
    assert np.array_equal(model.scaler.half_H6, stage.windows.scaler.half_H6)
    assert not any(parameter.requires_grad for parameter in model.net.parameters())


def test_another_stage_is_not_a_codec(trained: tuple[ActVaeStage, Trainer, RunSpec], small_set: Set) -> None:
    with pytest.raises(WorkbenchError, match="no model named"):
        load_act_vae(small_set.home, "elsewhere")


def test_gradients_pass_the_quantiser() -> None:
    net = ActVae(ActVaeRecipe(width=16, layers=1))
    actions = torch.randn(4, 8, 7)
    codes, _ = net.encode(actions)
    net.decode_codes(codes).square().sum().backward()
    grads = [parameter.grad for parameter in net.encoder.parameters()]
    assert all(grad is not None and grad.abs().sum() > 0 for grad in grads)


def test_tokens_are_the_nearest_codes() -> None:
    book = Codebook(16, 2)
    latent = torch.randn(5, 3, 2)
    codes, tokens = book.quantise(latent)
    distance = torch.cdist(latent.reshape(-1, 2), book.codes_KD)
    assert torch.equal(tokens.flatten(), distance.argmin(1))
    assert torch.allclose(codes, book.codes_KD[tokens], atol=1e-6)


def test_dead_codes_come_back_from_encoder_outputs() -> None:
    generator = torch.Generator().manual_seed(0)
    book = Codebook(32, 2)
    cloud = torch.randn(256, 2, 2, generator=generator)
    book.codes_KD.fill_(100.0)
    book.codes_KD[0] = 0.0
    book.total_KD.copy_(book.codes_KD)
    book.started.fill_(True)
    for _ in range(300):
        tokens = book.quantise(cloud)[1]
        book.follow(cloud, tokens, 0.9)
    assert code_use(book.quantise(cloud)[1], 32)["used"] == 1
    assert book.restart(cloud, 0.1, generator) == 31
    assert code_use(book.quantise(cloud)[1], 32)["used"] > 25
    assert book.codes_KD.abs().max() < 5
    assert book.restart(cloud, 0.1, generator) == 0


def test_the_book_starts_once_and_from_data() -> None:
    generator = torch.Generator().manual_seed(0)
    book = Codebook(8, 2)
    book.start(torch.randn(100, 1, 2, generator=generator) + 50, generator)
    codes = book.codes_KD.clone()
    assert codes.min() > 40
    book.start(torch.zeros(100, 1, 2), generator)
    assert torch.equal(book.codes_KD, codes)


def test_errors_are_metres_and_degrees() -> None:
    true = np.zeros((2, 8, 7))
    told = true.copy()
    told[..., 0] = 0.003
    told[..., 1] = 0.004
    told[..., 5] = np.radians(10)
    told[..., 6] = 0.5
    errors = chunk_errors(told, true - [0, 0, 0, 0, 0, 0, 1])
    assert errors["rmse_mm"] == pytest.approx(5.0) and errors["final_mm"] == pytest.approx(5.0)
    assert errors["rmse_deg"] == pytest.approx(10.0) and errors["gripper_accuracy"] == 0.0


def test_code_use_of_known_tokens() -> None:
    use = code_use(torch.tensor([[0, 1], [0, 1], [2, 3]]), 8)
    assert use["used"] == 4 and use["used_share"] == 0.5 and use["unique_share"] == pytest.approx(2 / 3)
    assert 3.7 < use["perplexity"] < 4.0


def test_real_recordings(tmp_path: Path) -> None:
    """The codec learns chunks of a real two-armed robot, by its own scale, and says so apart."""
    shared = Path(__file__).parents[2].parent / "shared" / "data" / "astribot_lerobot_openclap"
    if not shared.is_dir():
        pytest.skip("the real recordings are not here")
    home = Home.open(tmp_path)
    report = import_takes(shared, home)
    spec = RunSpec("act_vae", preset("tiny", "act_vae"), tuple(report.ids), tmp_path)
    stage = ActVaeStage(spec, home)
    assert {take.arm for take in stage.takes} == {"left", "right"} and set(stage.windows.scalers) == {
        stage.takes[0].source
    }
    trainer = Trainer(stage, tmp_path / "run")
    trainer.run()
    metrics = trainer.finish().metrics
    assert metrics["rmse_mm"] < 0.6 * metrics["mean_chunk_rmse_mm"] and "station" not in metrics["by_source"]
