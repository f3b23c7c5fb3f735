"""What a fine-tuning is given, and how its receipt is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.registry import ModelRecord, write_record
from storage.layout import Home
from tests.services.learnable import write_reach
from workbench.core.errors import NotFoundError, WorkbenchError
from workbench.core.types import EpisodeKind, Outcome
from workbench.services.evaluation import Rate
from workbench.services.finetune import Receipt, gather, receipts
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
