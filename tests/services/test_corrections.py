"""A policy that comes to nothing is taken over in lockstep, and what the hand did becomes training data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hardware.sim.situations import SITUATIONS, situation
from hardware.sim.tasks import DEMONSTRATED
from hardware.sim.world import World
from models.registry import ModelRecord, write_record
from models.takes import load_takes
from storage.episode import Episode
from storage.layout import Home
from tests.services.serving_kit import serving
from workbench.core.clock import LockstepClock
from workbench.core.errors import NotFoundError
from workbench.core.types import Authority, Outcome
from workbench.services.bench_learn_corrections import NOT_NEEDED, _corrected
from workbench.services.finetune import candidates
from workbench.services.lockstep import LockstepJob, LockstepSession, LockstepSettings, TakeResult
from workbench.services.onlooker import PATIENCE_S, Onlooker

SMALL = LockstepSettings(front_px=(80, 60), wrist_px=(64, 48), depth=False)
TASK = DEMONSTRATED[0]


@pytest.fixture
def parent(tmp_path: Path) -> str:
    """A model that knows nothing, for asking what it could learn from."""
    home = Home.open(tmp_path)
    record = ModelRecord(
        id="01" + "0" * 30,
        stage="rf",
        recipe={"stage": "rf"},
        recipe_hash="",
        parent="",
        bases={},
        tasks=(),
        metrics={},
        data=(),
        created_at="2026-01-01T00:00:00+00:00",
    )
    write_record(home, record)
    return record.id


def test_a_hand_takes_over_finishes_and_only_its_rows_are_learned(tmp_path: Path, parent: str) -> None:
    with serving() as server:
        session = LockstepSession(tmp_path, SMALL)
        try:
            job = LockstepJob("rollout", TASK, 3, server.url, situation="low_start", corrected=True)
            made = session.run(job)
        finally:
            session.close()
    assert made.success and made.corrected_s > 1.0
    home = Home.open(tmp_path)
    with Episode.open(home, made.episode_id) as take:
        manifest = take.manifest
        codes = take.vectors("authority")[:, 0]
        times_s = take.times("authority")[1] / 1e9
    assert manifest.outcome is Outcome.SUCCESS and manifest.extra["corrected_s"] == made.corrected_s
    assert manifest.extra["situation"] == "low_start" and manifest.extra["model"] == server.url
    operated = codes == Authority.OPERATOR.code
    begun = int(np.argmax(operated))
    assert np.all(codes[begun - 50 : begun] == Authority.POLICY.code), "the policy had the arm before"
    assert np.ptp(times_s[operated]) == pytest.approx(made.corrected_s, abs=0.1)
    assert times_s[begun] - times_s[0] > PATIENCE_S - 0.5
    (learned,) = load_takes(home, [made.episode_id], None, ("front",), 0.1)
    rows_s = learned.t_ns[learned.usable_T] / 1e9
    assert len(rows_s) == pytest.approx(10 * made.corrected_s, abs=2) and rows_s[0] >= times_s[begun] - 0.001
    (offered,) = candidates(tmp_path, parent)
    assert (offered.why, offered.chosen, offered.corrected_s) == ("correction", True, made.corrected_s)


def test_a_situation_is_the_same_for_the_same_seed_and_inside_its_box() -> None:
    world, places = World(), []
    for seed in (5, 5, 6):
        world.reset(TASK, seed)
        situation("low_start").lay(world, seed)
        places.append(world.arm()[3])
    box = SITUATIONS["low_start"]
    assert np.allclose(places[0], places[1], atol=1e-9) and not np.allclose(places[0], places[2], atol=1e-3)
    for place in places:
        assert np.all(place >= np.array(box.low_m) - 2e-3) and np.all(place <= np.array(box.high_m) + 2e-3)
    with pytest.raises(NotFoundError, match="low_start"):
        situation("low_strat")


def test_an_onlooker_waits_while_anything_gets_nearer() -> None:
    world, clock = World(), LockstepClock(0)
    world.reset(TASK, 1)
    onlooker = Onlooker(world, TASK, clock, patience_s=1.0)
    thing = world.object_position("red_cube")
    for k in range(12):  # comes 1 cm nearer every half second
        world.stand((float(thing[0]), float(thing[1]), 0.25 - 0.01 * k))
        clock.advance_ns(500_000_000)
        assert not onlooker.worried()
    clock.advance_ns(500_000_000)
    assert not onlooker.worried()
    clock.advance_ns(600_000_000)
    assert onlooker.worried()


def test_an_attempt_that_needed_nobody_is_no_correction() -> None:
    job = LockstepJob("rollout", TASK, 1, corrected=True)
    assert _corrected(TakeResult(job, "take", True, 1.0, corrected_s=2.0)) == "take"
    assert _corrected(TakeResult(job, "take", True, 1.0)) == NOT_NEEDED
    assert _corrected(TakeResult(job, "take", False, 1.0, corrected_s=2.0)) == ""
