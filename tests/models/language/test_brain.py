"""Reading and going on: the same as the whole sentence at once by the published network itself."""

from __future__ import annotations

import shutil
from itertools import product
from pathlib import Path

import pytest
import torch

from models.language.base import Base, open_base
from models.language.brain import Brain
from models.language.families import FAMILIES, split_instruction
from tests.models.language.conftest import CAMERAS
from tests.models.language.tiny import PX
from workbench.core.errors import WorkbenchError

SAID = ("put the red cube on the white plate", "go", "clear the table\ntake the cup")


def pictures(count: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, len(CAMERAS), 3, PX, PX, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def test_keys_and_values_replace_reading_everything_again(brain: Brain) -> None:
    """Against transformers' own forward pass over the whole sequence, with its own places, one row at a time."""
    shown, more = pictures(len(SAID)), torch.tensor([[5, 9, 70, 11]] * len(SAID))
    context = brain.read(shown, SAID)
    embed = brain.network.get_input_embeddings()
    at_once, _ = brain.go_on(embed(more), context)
    one_by_one = []
    for place in range(more.shape[1]):
        hidden, context = brain.go_on(embed(more[:, place : place + 1]), context)
        one_by_one.append(hidden)
    assert torch.allclose(torch.cat(one_by_one, dim=1), at_once, atol=1e-5)
    family = brain.base.family
    for row, said in enumerate(SAID):
        ids = torch.tensor([[*brain._encoded(*split_instruction(said)), *more[row].tolist()]])
        standard = (shown[row : row + 1] - brain._mean) / brain._spread
        given = family.pictures(brain.network.config, standard)
        if family.kind == "qwen3_vl":
            given["mm_token_type_ids"] = (ids == brain.network.config.image_token_id).int()
        whole = brain.network.model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False, **given)
        assert torch.allclose(whole.last_hidden_state[:, -4:], at_once[row : row + 1], atol=1e-5)


@torch.no_grad()
def test_pictures_words_and_the_order_of_cameras_are_read(brain: Brain) -> None:
    shown = pictures(1)

    def after(seen: torch.Tensor, said: str) -> torch.Tensor:
        token = torch.zeros(1, 1, brain.width)
        return brain.go_on(token, brain.read(seen, (said,)))[0]

    usual = after(shown, SAID[0])
    for other in (after(shown.flip(1), SAID[0]), after(pictures(1, 1), SAID[0]), after(shown, SAID[1])):
        assert float((other - usual).abs().max()) > 1e-4


def test_patches_come_in_the_order_of_the_tokens_they_become(folders: dict[str, Path]) -> None:
    """As published: 2 x 2 patches that make a token follow one another; colour, frame, row and column in a patch."""
    brain = Brain(open_base(folders["qwen3_vl"], "qwen3_vl"), CAMERAS, 2 * PX, "lora", 4)
    shown = torch.rand(1, 2, 3, 2 * PX, 2 * PX, generator=torch.Generator().manual_seed(0))
    given = FAMILIES["qwen3_vl"].pictures(brain.network.config, shown)
    size, side = 4, 2 * PX // 4
    expected = []
    for picture in shown[0]:
        for block_row, block_column in product(range(side // 2), repeat=2):
            for row, column in product((2 * block_row, 2 * block_row + 1), (2 * block_column, 2 * block_column + 1)):
                patch = picture[:, row * size : (row + 1) * size, column * size : (column + 1) * size]
                expected.append(torch.stack([patch, patch], dim=1).flatten())
    assert torch.equal(given["pixel_values"], torch.stack(expected))
    assert given["image_grid_thw"].tolist() == [[1, side, side]] * 2


def test_only_what_is_tuned_may_change(base: Base) -> None:
    low = Brain(base, CAMERAS, PX, "lora", 4)
    assert {name.split(".")[-3] for name in low.tuned} == {"lora_A", "lora_B"}
    assert all("visual" not in name and "vision" not in name for name in low.tuned)
    full = Brain(base, CAMERAS, PX, "full", 4)
    assert len(full.tuned) == len(list(full.network.named_parameters()))


def test_pictures_of_a_size_that_does_not_fit_are_refused_with_the_nearest(base: Base) -> None:
    with pytest.raises(WorkbenchError, match="picture_px=24"):
        Brain(base, CAMERAS, 25, "lora", 4)


def test_a_tokenizer_of_another_release_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    mixed = tmp_path / "mixed"
    shutil.copytree(folders["qwen3_vl"], mixed)
    shutil.copy(folders["smolvlm2"] / "tokenizer.json", mixed)
    brain = Brain(open_base(mixed, "qwen3_vl"), CAMERAS, PX, "lora", 4)
    with pytest.raises(WorkbenchError, match="same release"):
        brain.read(pictures(1), ("go",))
