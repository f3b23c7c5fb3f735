"""Recipes, run specs and presets: complete, comparable, and helpful when a name is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.recipes import PRESETS, RECIPES, ActVaeRecipe, VdVaeRecipe, preset, recipe_from_json
from models.stages import STAGES, RunSpec
from workbench.core.errors import NotFoundError, WorkbenchError


@pytest.mark.parametrize("name", list(PRESETS))
@pytest.mark.parametrize("stage", STAGES)
def test_every_preset_survives_json(name: str, stage: str) -> None:
    recipe = preset(name, stage)
    again = recipe_from_json(json.loads(json.dumps(recipe.to_json())))
    assert again == recipe and again.hash() == recipe.hash()
    assert recipe.horizon == 8


@given(st.integers(1, 10**6), st.floats(1e-6, 1.0), st.integers(0, 2**31))
def test_any_change_changes_the_hash(steps: int, lr: float, seed: int) -> None:
    base = ActVaeRecipe(steps=777, lr=3e-3, seed=5)
    changed = base.with_(steps=steps, lr=lr, seed=seed)
    assert (changed.hash() == base.hash()) == (changed == base)


def test_unknown_names_are_answered_with_the_nearest() -> None:
    with pytest.raises(NotFoundError, match="'contrast_weight'"):
        preset("tiny", "vd_vae", contrast_wieght=1)
    with pytest.raises(NotFoundError, match="'station'"):
        preset("statoin", "rf")
    with pytest.raises(NotFoundError, match="'vd_vae'"):
        preset("tiny", "vdvae")
    with pytest.raises(NotFoundError, match="'steps'"):
        recipe_from_json({"stage": "rf", "stepps": 3})


def test_values_from_a_command_line_are_fitted_or_refused() -> None:
    recipe = preset("tiny", "rf", steps="12", lr="1e-4", km_old_instructions="false", cameras="front")
    assert (recipe.steps, recipe.lr, recipe.cameras) == (12, 1e-4, ("front",))
    assert recipe.to_json()["km_old_instructions"] is False
    for wrong in ({"steps": "many"}, {"steps": 1.5}, {"km_old_instructions": "perhaps"}, {"steps": 0}):
        with pytest.raises(WorkbenchError):
            preset("tiny", "rf", **wrong)


def test_a_variant_takes_one_ingredient_out() -> None:
    recipe = VdVaeRecipe(control="no_contrast")
    assert recipe.variant("no_contrast").contrast_weight == 0
    assert recipe.variant("no_contrast").decode_weight == recipe.decode_weight
    assert recipe.variant("no_human").human_share == 0
    with pytest.raises(NotFoundError):
        recipe.variant("no_contrst")


def test_a_run_spec_survives_its_folder(tmp_path: Path) -> None:
    spec = RunSpec(
        "rf", preset("tiny", "rf"), ("a", "b"), tmp_path, {"act_vae": "x", "ntp": "y"}, ("c",), preset="tiny"
    )
    assert RunSpec.read(spec.write()) == spec


def test_a_run_spec_says_which_model_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(WorkbenchError, match="Train the stage 'act_vae' first"):
        RunSpec("vd_vae", preset("tiny", "vd_vae"), (), tmp_path)
    with pytest.raises(WorkbenchError, match="cannot train"):
        RunSpec("act_vae", preset("tiny", "rf"), (), tmp_path)
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(WorkbenchError, match="lacks"):
        RunSpec.read(tmp_path)


def test_stage_names_agree() -> None:
    assert set(RECIPES) == set(STAGES)
