"""The export service: a child that loads torch, watched and cancelled; the card that goes with the model."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from models.recipes import ActVaeRecipe
from models.registry import list_models
from models.stages import RunSpec
from models.train_worker import run
from storage.layout import Home
from tests.services.learnable import write_reach
from workbench.cli import main
from workbench.core.errors import NotFoundError, WorkbenchError
from workbench.services.model_card import model_card
from workbench.services.model_export import ModelExport, default_folder


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Three takes and a codec that has learnt next to nothing from them."""
    made = Home.open(tmp_path_factory.mktemp("export"))
    takes = tuple(write_reach(made, seed).id for seed in range(3))
    recipe = ActVaeRecipe(steps=3, batch=8, width=16, layers=1, codes=8, tokens=2)
    assert run(RunSpec("act_vae", recipe, takes, made.path).write(), resume=False) == 0
    return made


def the_model(home: Home) -> str:
    return list_models(home)[0].id


def test_the_card_says_where_a_model_comes_from(home: Home) -> None:
    card = model_card(home.path, the_model(home))
    assert f"# Act-VAE {the_model(home)}" in card and "| red_cube_to_white_plate | teleop | 3 |" in card
    assert "gripper_accuracy | " in card and "Nothing is known." in card, "it never drove"
    with pytest.raises(NotFoundError):
        model_card(home.path, "nobody")


@pytest.mark.parametrize("where", ["--threads", pytest.param("--debug", marks=pytest.mark.slow, id="own process")])
def test_the_verb_exports_below_the_data_folder(home: Home, capsys: pytest.CaptureFixture[str], where: str) -> None:
    dest = default_folder(home.path, the_model(home))
    words = ["models", "export", the_model(home)[:8], "--home", str(home.path), "--json", where]
    assert main(words, lambda *_: 0) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["dest"] == str(dest) and told["verified"] and dest.parent == home.exports
    assert (dest / "README.md").read_text() == model_card(home.path, the_model(home))
    assert default_folder(home.path, the_model(home)).name.startswith(f"{dest.name.removesuffix('-2')}-")


def test_a_cancelled_export_leaves_nothing(home: Home, tmp_path: Path) -> None:
    work = ModelExport(home.path, the_model(home), tmp_path / "out", threads=True)

    def on_step(what: str, done: int, total: int) -> None:
        if done == 1 and total > 1:
            ender.start()
            ender.join()

    ender = threading.Thread(target=work.cancel)
    with pytest.raises(WorkbenchError, match="cancelled"):
        work.run(on_step)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(WorkbenchError, match="cancelled"):
        work.run()


def test_a_refusal_comes_through(home: Home, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkbenchError, match="already"):
        ModelExport(home.path, the_model(home), tmp_path / "file", threads=True).run()
    with pytest.raises(NotFoundError):
        ModelExport(home.path, "nobody", tmp_path / "out", threads=True).run()
