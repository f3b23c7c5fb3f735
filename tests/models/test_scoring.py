"""Human labels against the true motion, which only the scorer may read."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from models import normalize, scoring, train_worker
from models.recipes import preset
from models.stages import RunSpec
from models.vd_vae import load_vd_vae
from storage.episode import Episode
from storage.evaluation import write_truth
from tests.models.conftest import Set, make_story
from workbench.core.errors import WorkbenchError

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def model_id(small_set: Set) -> str:
    torch.set_num_threads(1)
    bases: dict[str, str] = {}
    for stage, ids, steps in (("act_vae", small_set.robot, 150), ("vd_vae", small_set.ids, 10)):
        spec = RunSpec(stage, preset("tiny", stage, steps=steps), ids, small_set.home.path, bases)
        assert train_worker.run(spec.write(), resume=False) == train_worker.DONE
        bases[stage] = spec.model_id
    return bases["vd_vae"]


def _tell(small_set: Set, clip: int) -> None:
    """Write down what the hand of a synthetic clip really did."""
    story = make_story(100 + clip)
    with Episode.open(small_set.home, small_set.human[clip]) as episode:
        times = episode.times("observation.images.front")[1]
    poses = np.concatenate([story.path, np.tile([1.0, 0, 0, 0], (len(times), 1)), story.gripper[:, None]], axis=1)
    write_truth(small_set.home, small_set.human[clip], times, poses)


def test_without_a_true_motion_nothing_is_scored(small_set: Set, model_id: str) -> None:
    with pytest.raises(WorkbenchError, match="none of these takes"):
        scoring.score_human(small_set.home, model_id, small_set.robot)


def test_right_labels_score_high_and_untrained_ones_do_not(
    small_set: Set, model_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for clip in range(3):
        _tell(small_set, clip)
    poor = scoring.score_human(small_set.home, model_id, small_set.human)
    assert poor["clips"] == 3 and poor["n"] > 60 and poor["human_r2"] < 0.6

    model = load_vd_vae(small_set.home, model_id)

    def know(model_: object, windows: scoring.Windows) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens of the true motion itself: the best any label could be."""
        chunks = []
        for take, row in zip(windows.take_W.tolist(), windows.row_W.tolist(), strict=True):
            story = make_story(100 + small_set.human.index(windows.takes[take].episode_id))
            path = np.concatenate([story.path, np.tile([1.0, 0, 0, 0], (len(story.path), 1))], axis=1)
            poses = np.concatenate([path, story.gripper[:, None]], axis=1)
            rows = np.minimum(row + 1 + np.arange(8), len(poses) - 1)
            chunks.append(normalize.chunk_actions(poses[row], poses[rows]))
        actions = torch.from_numpy(model.act.scaler.normalise(np.array(chunks)))
        return model.act.net.encode(actions)[1], torch.ones(len(actions))

    monkeypatch.setattr(scoring, "glance_all", know)
    best = scoring.score_human(small_set.home, model_id, small_set.human)
    assert best["human_r2"] > poor["human_r2"] + 0.2 and best["human_final_mm"] < best["still_mm"]


def test_the_command_prints_one_object(small_set: Set, model_id: str) -> None:
    _tell(small_set, 0)
    command = [sys.executable, "-m", "models.scoring", str(small_set.home.path), model_id, small_set.human[0]]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and json.loads(done.stdout)["clips"] == 1
    done = subprocess.run([*command[:-1], small_set.robot[0]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "true motion" in done.stderr and not done.stdout
