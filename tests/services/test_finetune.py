"""What a fine-tuning is given, and how its receipt is read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.data import Windows
from models.recipes import preset
from models.registry import ModelRecord, write_record
from models.takes import fit_encoder, load_takes
from storage.episode import EpisodeWriter
from storage.layout import Home
from tests.services.learnable import HZ, SETTINGS, SPECS, VECTORS, write_reach
from workbench.core.errors import NotFoundError, WorkbenchError
from workbench.core.types import Authority, EpisodeKind, Frame, Outcome, Pose, StreamSpec, TakeInfo, arm_vector
from workbench.services.evaluation import Rate
from workbench.services.finetune import Receipt, candidates, gather, receipts
from workbench.services.runs import choose_bases

OLD, NEW = "red_cube_to_white_plate", "purple_cylinder_to_white_plate"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.open(tmp_path / "home")


def write_model(home: Home, model_id: str, stage: str = "rf", seen: tuple[str, ...] = (), **bases: str) -> None:
    data = tuple((episode_id, "hash") for episode_id in seen)
    write_record(home, ModelRecord(model_id, stage, {}, "hash", bases=bases, tasks=(OLD,), data=data))


def test_new_demonstrations_are_found_and_old_ones_replayed(home: Home) -> None:
    old = [write_reach(home, seed, task=OLD).id for seed in range(2)]
    write_model(home, "parent", seen=tuple(old))
    new = [write_reach(home, 10 + seed, task=NEW).id for seed in range(12)]
    write_reach(home, 50, task=NEW, outcome=Outcome.FAILURE)
    write_reach(home, 51, task=NEW, kind=EpisodeKind.HUMAN)
    material = gather(home.path)
    assert sorted(material.episodes) == sorted(new) and sorted(material.replay) == sorted(old)
    assert material.takes_per_task == {NEW: 12} and material.old_tasks == (OLD,)
    assert material.warnings == ()


def test_scarce_material_is_said_aloud(home: Home) -> None:
    write_model(home, "parent")
    write_reach(home, 0, task=NEW)
    warnings = " ".join(gather(home.path).warnings)
    assert "only 1 takes" in warnings and "nothing can be replayed" in warnings


def test_nothing_new_and_wrong_parents_are_refused(home: Home) -> None:
    with pytest.raises(NotFoundError, match="no trained rf model"):
        gather(home.path)
    write_model(home, "codec", stage="act_vae")
    write_model(home, "parent")
    with pytest.raises(WorkbenchError, match="no new demonstration"):
        gather(home.path)
    with pytest.raises(WorkbenchError, match="of stage act_vae"):
        gather(home.path, "codec")
    with pytest.raises(NotFoundError):
        gather(home.path, "parent", ["0" * 32])


def test_named_takes_may_be_ones_the_parent_has_seen(home: Home) -> None:
    old = write_reach(home, 0, task=OLD).id
    write_model(home, "parent", seen=(old,))
    assert gather(home.path, "parent", [old[:30]]).episodes == (old,)


def test_bases_follow_from_what_a_model_was_built_on(home: Home) -> None:
    write_model(home, "codec-old", "act_vae")
    write_model(home, "align-old", "vd_vae", act_vae="codec-old")
    write_model(home, "ntp-old", "ntp", act_vae="codec-old", vd_vae="align-old")
    write_model(home, "zz-codec-new", "act_vae")
    assert choose_bases(home, "rf", {}) == {"ntp": "ntp-old", "act_vae": "codec-old", "vd_vae": "align-old"}
    assert choose_bases(home, "ntp", {}) == {"vd_vae": "align-old", "act_vae": "codec-old"}
    assert choose_bases(home, "act_vae", {}) == {}
    with pytest.raises(NotFoundError):
        choose_bases(home, "ntp", {"act_vae": "nowhere"})


def test_a_verdict_needs_intervals_apart() -> None:
    def line(before: int, after: int, n: int = 20) -> str:
        return Receipt("t", False, Rate.of(before, n), Rate.of(after, n)).verdict

    assert line(20, 2) == "worse" and line(2, 20) == "better"
    assert line(20, 18) == "no clear change" and line(1, 0, n=1) == "no clear change"


def test_receipts_pair_tasks_driven_both_times() -> None:
    rate = Rate.of(1, 2)
    lines = receipts({"a": rate, "b": rate}, {"b": rate, "c": rate}, ["b"])
    assert [(line.task, line.new) for line in lines] == [("b", True)]


def write_rollout(home: Home, outcome: Outcome, corrected: tuple[int, int] | None, extra: dict | None = None) -> str:
    """An attempt of a policy of 40 steps; a person had the arm during ``corrected``."""
    specs = (*SPECS, *VECTORS, StreamSpec("authority", (1,), "float32", "", HZ, ("authority",)))
    more = {"corrected_s": (corrected[1] - corrected[0]) / HZ} if corrected else {}
    info = TakeInfo(EpisodeKind.ROLLOUT, OLD, f"do {OLD}", clock="lockstep", extra={**more, **(extra or {})})
    writer = EpisodeWriter.create(home, info, specs, settings=SETTINGS)
    for k in range(40):
        t_ns = round(k * 1e9 / HZ)
        for spec in SPECS:
            writer.append(spec.name, Frame(k, t_ns, t_ns, 0, np.full(spec.shape, 60 + k, np.uint8)))
        for spec, at in zip(VECTORS, (k, k + 1), strict=True):
            place = np.array([0.3 + 0.005 * at, 0.0, 0.2])
            vector = arm_vector(np.zeros(6), 1.0, Pose(place, np.array([0.0, 1.0, 0.0, 0.0])))
            writer.append(spec.name, Frame(k, t_ns, t_ns, 0, vector))
        mine = corrected is not None and corrected[0] <= k < corrected[1]
        who = Authority.OPERATOR if mine else Authority.POLICY
        writer.append("authority", Frame(k, t_ns, t_ns, 0, np.array([who.code], np.float32)))
    return writer.seal(outcome).id


def test_corrections_are_candidates_and_chosen_successes_are_offered(home: Home) -> None:
    write_model(home, "parent")
    demonstration = write_reach(home, 0, task=OLD).id
    corrected = write_rollout(home, Outcome.FAILURE, (10, 30))
    success = write_rollout(home, Outcome.SUCCESS, None)
    write_rollout(home, Outcome.FAILURE, None)
    write_rollout(home, Outcome.SUCCESS, None, {"replay_of": demonstration})
    found = {entry.episode_id: (entry.why, entry.chosen) for entry in candidates(home.path)}
    assert found == {
        demonstration: ("demonstration", True),
        corrected: ("correction", True),
        success: ("success", False),
    }
    assert set(gather(home.path).episodes) == {demonstration, corrected}
    assert gather(home.path, episodes=[success]).episodes == (success,)
    write_model(home, "zz-later", seen=(demonstration, corrected))
    assert [entry.episode_id for entry in candidates(home.path, "zz-later")] == [success]


def test_of_a_corrected_failure_the_trainer_gets_the_operators_rows_only(home: Home) -> None:
    """Through the real loader: the rows that a fine-tuning learns from are those that a person drove."""
    ids = [write_rollout(home, Outcome.FAILURE, (10, 30)), write_rollout(home, Outcome.SUCCESS, None)]
    told = {
        "instructions": [{"t_ns": 0, "task": OLD, "instruction": f"do {OLD}"}, {"t_ns": 2 * 10**9, "instruction": "x"}]
    }
    ids.append(write_rollout(home, Outcome.SUCCESS, None, told))
    recipe = preset("tiny", "rf")
    encoder = fit_encoder(home, ids, recipe)
    takes = {t.episode_id: t for t in load_takes(home, ids, encoder, ("front", "wrist"), 1 / HZ)}
    usable = {name: np.flatnonzero(take.usable_T) for name, take in takes.items()}
    assert usable[ids[0]].tolist() == list(range(10, 30))
    assert len(usable[ids[1]]) == len(takes[ids[1]])
    assert takes[ids[2]].t_ns[usable[ids[2]]].max() < 2 * 10**9 <= takes[ids[2]].t_ns.max()
    windows = Windows(list(takes.values()), 5, scalers=None, cameras=("front", "wrist"), held_out=0.0)
    of_corrected = windows.train.of([ids[0]])
    rows = windows.row_W[of_corrected.index["robot"]]
    assert rows.tolist() == list(range(10, 25)), "windows of five steps that lie inside of the correction"
