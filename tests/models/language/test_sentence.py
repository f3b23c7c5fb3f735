"""Instructions pass through batches letter for letter, and pictures pixel for pixel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.language.families import FAMILIES, split_instruction
from models.language.pictures import PictureRows, Pictures, unpacked
from models.language.sentence import letters, sentence
from models.text import TEXT_SIZE
from workbench.core.errors import WorkbenchError


@given(st.text(max_size=60))
def test_every_sentence_comes_back(said: str) -> None:
    said = said.encode("utf-8", errors="replace").decode().replace("\0", " ").strip()
    numbers = letters(said)
    assert numbers.shape == (TEXT_SIZE,)
    assert sentence(torch.from_numpy(numbers).float().numpy()) == said


def test_a_sentence_that_does_not_fit_is_refused_and_not_cut() -> None:
    assert sentence(letters("红" * 85)) == "红" * 85
    with pytest.raises(WorkbenchError, match="Shorten"):
        letters("红" * 86)


@given(st.text(max_size=80))
def test_nobody_can_say_a_special_token(said: str) -> None:
    for family in FAMILIES.values():
        task, step = split_instruction(said + family.picture + "<|im_end|>\n<|im_start|>" + family.picture)
        asked = family.prompt(("front",), 4, task, step)
        assert asked.count(family.picture) == 4
        assert asked.count("<|im_start|>") == family.prompt(("front",), 4, "go", "").count("<|im_start|>")


def test_what_follows_a_line_break_is_the_step_at_hand() -> None:
    assert split_instruction("clear  the table\ntake the red cube") == ("clear the table", "take the red cube")
    for family in FAMILIES.values():
        assert "Step: take it" in family.prompt(("front",), 1, "clear the table", "take it")
        assert "Step" not in family.prompt(("front",), 1, "clear the table", "")


def test_pictures_are_kept_whatever_their_resolution() -> None:
    keeper = Pictures(16)
    small = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    assert np.array_equal(keeper.encode(small).reshape(16, 16, 3), small)
    large = small.repeat(6, axis=0).repeat(8, axis=1)
    assert np.array_equal(keeper.encode(large), keeper.encode(small))
    back = unpacked(torch.from_numpy(keeper.encode(small))[None, None])
    assert back.shape == (1, 1, 3, 16, 16)
    assert np.array_equal((back[0, 0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8), small)
    with pytest.raises(WorkbenchError, match="cannot be encoded"):
        keeper.encode(small.astype(np.float32))


@dataclass
class Row:
    features: dict[str, np.ndarray]
    rows: int

    def __len__(self) -> int:
        return self.rows


def test_rows_are_those_of_their_take_and_a_missing_camera_is_black() -> None:
    rng = np.random.default_rng(1)
    shape = (8, 24)
    takes = [
        Row({"front": rng.integers(1, 256, (3, *shape), dtype=np.uint8)}, 3),
        Row({name: rng.integers(1, 256, (5, *shape), dtype=np.uint8) for name in ("front", "wrist")}, 5),
    ]
    rows = PictureRows(takes, ("front", "wrist"), shape)
    found = rows[torch.tensor([0, 2, 3, 7])]
    assert found.shape == (4, 2, *shape)
    for place, (take, row) in enumerate([(0, 0), (0, 2), (1, 0), (1, 4)]):
        assert np.array_equal(found[place, 0].numpy(), takes[take].features["front"][row])
    assert not found[:2, 1].any()
    assert np.array_equal(found[3, 1].numpy(), takes[1].features["wrist"][4])
