"""The table of claims: arithmetic of its intervals, its notes, and a tiny comparison that is killed on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware.sim.situations import SITUATIONS
from hardware.sim.tasks import TASKS
from models.recipes import PRESETS
from storage.layout import Home
from tests.services.learnable import write_reach
from workbench.core.errors import NotFoundError, WorkbenchError
from workbench.core.types import EpisodeKind
from workbench.services import bench_learn_numbers as numbers
from workbench.services.bench_learn import bench_learn
from workbench.services.bench_learn_notes import Notes
from workbench.services.bench_learn_plan import (
    ALIGNMENT,
    CORRECTIONS,
    FORGETTING,
    HUMAN_ONLY,
    JOINT,
    LEARN_FROM,
    ORACLE,
    PLANS,
    SITUATION,
    TRANSFER,
    sections,
)
from workbench.services.demo import demonstration_jobs
from workbench.services.evaluation import wilson
from workbench.services.finetune import KNOWLEDGE_MATCHING

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_no_robot_ever_shows_what_only_people_show(plan) -> None:
    shown = {job.task for job in demonstration_jobs(plan.story, 0)} | {plan.story.new_task}
    assert set(HUMAN_ONLY) <= set(TASKS) and not shown & set(HUMAN_ONLY)
    assert plan.story.human_clips >= len(plan.story.tasks) + len(HUMAN_ONLY)


def test_in_the_whole_plan_one_task_joins_known_things_and_one_has_an_unknown_object() -> None:
    known = [TASKS[name] for name in PLANS["full"].story.tasks]
    joined, unknown = (TASKS[name] for name in HUMAN_ONLY)
    objects, targets = {task.object for task in known}, {task.target for task in known}
    assert joined.object in objects and {joined.target, unknown.target} <= targets and unknown.object not in objects


@pytest.mark.parametrize("preset", PRESETS)
def test_every_arm_is_a_change_of_recipe_fields_and_only_the_reference_changes_nothing(preset: str) -> None:
    stages = PRESETS[preset]
    aligned = [stages["vd_vae"].with_(**changes).hash() for changes in ALIGNMENT.values()]
    tuned = [stages["rf"].with_(**{**KNOWLEDGE_MATCHING, **changes}).hash() for changes in FORGETTING.values()]
    assert len(set(aligned)) == len(aligned) and len(set(tuned)) == len(tuned)
    assert not ALIGNMENT["clap"] and not FORGETTING["km"]
    for labels, changes in TRANSFER.values():
        assert labels in (*ALIGNMENT, ORACLE)
        for stage in ("ntp", "rf"):
            stages[stage].with_(**changes)
    pulls = ("km_token_weight", "km_velocity_weight", "km_regression_weight")
    for arm in ("plain", "frozen", "replay"):
        assert all(FORGETTING[arm][pull] == 0 for pull in pulls)
    assert FORGETTING["frozen"]["backbone_lr_factor"] == 0 and FORGETTING["replay"]["replay_share"] > 0
    for learned_from, changes in CORRECTIONS.values():
        assert learned_from in LEARN_FROM
        stages["rf"].with_(**{**KNOWLEDGE_MATCHING, **changes})
    assert not CORRECTIONS["corrections"][1] and not CORRECTIONS["demonstrations"][1] and SITUATION in SITUATIONS
    assert JOINT not in FORGETTING  # trained from the beginning on everything


def test_sections_are_asked_for_by_name() -> None:
    assert sections("latency,alignment") == ("alignment", "latency") and len(sections("")) == 6
    with pytest.raises(NotFoundError, match="forgetting"):
        sections("forgeting")


def test_r2_from_sums_is_r2_of_the_numbers() -> None:
    rng = np.random.default_rng(0)
    true, told = rng.normal(size=(50, 3)), rng.normal(size=(50, 3))
    sums = [50.0, *((told - true) ** 2).sum(0), *true.sum(0), *(true**2).sum(0)]
    expected = np.mean(1 - ((told - true) ** 2).sum(0) / ((true - true.mean(0)) ** 2).sum(0))
    assert numbers.r2(np.array(sums)) == pytest.approx(expected)
    assert np.isnan(numbers.r2(np.zeros(10)))


def test_takes_are_matched_by_name_and_absent_ones_count_nothing() -> None:
    found = numbers.stack([{"b": [1, 2], "a": [3, 4]}, {"b": [5, 6]}])
    assert found.tolist() == [[[3, 4], [1, 2]], [[0, 0], [5, 6]]]


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 20)), min_size=2, max_size=12))
def test_an_interval_holds_the_figure_and_stays_a_share(pairs: list[tuple[int, int]]) -> None:
    sums = np.array([[[min(hits, n), n] for hits, n in pairs]], dtype=np.float64)
    figure = numbers.share(0, 1)
    low, high = numbers.interval(sums, figure, draws=400)
    rates = sums[0, :, 0] / sums[0, :, 1]
    assert rates.min() - 1e-9 <= low <= high <= rates.max() + 1e-9
    assert low - 0.1 <= figure(sums.sum(axis=(0, 1))) <= high + 0.1


def test_the_interval_covers_as_often_as_it_says() -> None:
    """Takes differ, windows of one take are alike: 60 takes of 30 windows whose own rates vary around 0.4."""
    rng = np.random.default_rng(1)
    held = 0
    for k in range(100):
        rates = rng.beta(2.0, 3.0, size=60)
        sums = np.stack([rng.binomial(30, rates), np.full(60, 30)], axis=1)[None].astype(np.float64)
        low, high = numbers.interval(sums, numbers.share(0, 1), draws=150, seed=k)
        held += low <= 0.4 <= high
    assert 0.88 <= held / 100 <= 0.99


def test_seeds_that_disagree_widen_the_interval() -> None:
    alike = np.array([[[5.0, 10.0]] * 20] * 3)
    apart = alike.copy()
    apart[:, :, 0] += np.array([-4.0, 0.0, 4.0])[:, None]
    narrow, wide = (numbers.interval(sums, numbers.share(0, 1)) for sums in (alike, apart))
    assert narrow == (0.5, 0.5) and wide[0] < 0.3 and wide[1] > 0.7


def test_one_take_tells_nothing_about_takes() -> None:
    one = {"retrieval": {"a": [1, 2, 4]}, "distinct": 10.0, "human": {}, "codes_used": 7}
    assert numbers.alignment_entry([one], 1.0)["interval"] == [None, None]


def test_rates_pool_trials_of_all_seeds_and_tell_tasks_apart() -> None:
    trials = [{"a 1": True, "a 2": False, "b 1": True}, {"a 9": True, "b 9": False}]
    entry = numbers.rate_entry(trials)
    assert (entry["success"], entry["n"], entry["seeds"]) == (0.6, 5, 2)
    assert entry["interval"] == [round(edge, 4) for edge in wilson(3, 5)]
    assert entry["by_task"]["a"]["n"] == 3 and entry["by_seed"] == [0.6667, 0.5]
    only = numbers.rate_entry(trials, ["b"])
    assert (only["success"], only["n"]) == (0.5, 2)
    assert numbers.rate_entry([], ["b"])["interval"] == [0.0, 1.0]


def test_an_alignment_line_pools_seeds() -> None:
    one = {"retrieval": {"a": [1, 2, 4], "b": [1, 4, 4]}, "distinct": 10.0, "human": {}, "codes_used": 7}
    two = {"retrieval": {"a": [3, 4, 4], "b": [3, 4, 4]}, "distinct": 10.0, "human": {}, "codes_used": 9}
    entry = numbers.alignment_entry([one, two], 3.0)
    assert (entry["retrieval_top1"], entry["retrieval_top5"], entry["n"]) == (0.5, 0.875, 16)
    assert entry["retrieval_top1_by_seed"] == [0.25, 0.75] and entry["interval"] == [0.25, 0.75]
    assert entry["chance"] == 0.1 and "human_r2" not in entry and entry["codes_used"] == [7, 9]


def test_a_difference_is_drawn_from_the_same_takes() -> None:
    """Takes differ by far more than the two arms do: unpaired, a gain of 0.1 would drown."""
    rng = np.random.default_rng(2)
    hits = rng.integers(0, 80, size=40)
    takes = [f"{k:02d}" for k in range(40)]

    def arm(more: int) -> list[dict[str, dict[str, list[int]]]]:
        return [
            {
                "retrieval": {t: [int(h) + more, int(h) + more, 100] for t, h in zip(takes, hits, strict=True)},
                "human": {},
            }
        ]

    found = numbers.against(arm(0), arm(10))
    assert found["retrieval_top1"] == {"more": 0.1, "interval": [0.1, 0.1]} and "human_r2" not in found
    low, high = numbers.interval(numbers.stack([arm(0)[0]["retrieval"]]), numbers.share(0, 2))
    assert high - low > 0.05
    assert numbers.against(arm(10), arm(0))["retrieval_top5"]["more"] == -0.1


def test_latency_is_told_with_the_spread_of_its_median() -> None:
    entry = numbers.latency_entry([1.0, 2.0, 3.0, 4.0, 100.0] * 20, 1.0)
    assert entry["p50"] == 3.0 and entry["p99"] == 100.0 and entry["n"] == 100
    assert entry["interval"][0] <= 3.0 <= entry["interval"][1] <= 4.0


def test_heads_are_set_side_by_side_with_the_floor_of_their_errors() -> None:
    def spent(act: float, head: float) -> dict[str, list[float]]:
        return {"act": [act] * 9, "act_cpu": [act / 2] * 9, "head": [head] * 9, "head_cpu": [head / 2] * 9}

    errors = {"rf1": 5.0, "rf4": 4.0, "ntp": 6.0, "codec": 3.0, "windows": 90, "takes": 4, "broken_off": 1}
    found = numbers.pace_entries({"rf1": spent(10, 1), "rf4": spent(12, 4), "ntp": spent(18, 6)}, errors)
    assert set(found) == {"rf", "ntp", "ntp_over_rf", "codec"} and set(found["rf"]) == {"1", "4"}
    assert found["rf"]["4"]["p50"] == 12 and found["rf"]["4"]["head_ms"] == 4 and found["rf"]["4"]["error_mm"] == 4.0
    assert found["ntp_over_rf"]["4"] == {"p50": 1.5, "cpu_ms": 1.5, "head_ms": 1.5, "head_cpu_ms": 1.5}
    assert found["ntp_over_rf"]["1"]["head_ms"] == 6.0 and found["ntp"]["broken_off"] == 1
    assert found["codec"] == {"error_mm": 3.0, "windows": 90, "takes": 4}


def test_notes_of_another_comparison_are_not_gone_on_with(tmp_path: Path) -> None:
    notes = Notes(tmp_path, {"size": "tiny"})
    notes.runs["0/act_vae"] = {"run": "x", "model": "y", "seconds": 1.0}
    notes.trials["0/policy/rf"] = {"a 1": True}
    notes.save()
    assert Notes.open(tmp_path, {"size": "tiny"}) == notes
    with pytest.raises(WorkbenchError, match="another comparison"):
        Notes.open(tmp_path, {"size": "full"})


class Silent:
    """Hears how it goes; starts nothing."""

    def note(self, text: str) -> None: ...

    def progress(self, title: str):
        raise AssertionError(f"{title} was begun")


@pytest.mark.parametrize(("section", "noun"), [("forgetting", "demonstration of purple"), ("transfer", "clip")])
def test_what_the_recorded_takes_cannot_answer_is_said_before_anything_is_trained(
    tmp_path: Path, section: str, noun: str
) -> None:
    home = Home.open(tmp_path)
    with pytest.raises(WorkbenchError, match="Leave out --recorded"):
        bench_learn(home.path, Silent(), only=[section], size="tiny", recorded=True)
    write_reach(home, 0)
    with pytest.raises(WorkbenchError, match=noun):
        bench_learn(home.path, Silent(), only=[section], size="tiny", recorded=True)
    with pytest.raises(WorkbenchError, match="belongs to this section"):
        bench_learn(home.path, Silent(), only=["alignment"], size="tiny", recorded=True, arms=["klap"])


@pytest.fixture
def lab(tmp_path: Path) -> Home:
    """A data folder with eight robot takes, three clips and three takes of a new task."""
    home = Home.open(tmp_path / "home")
    for seed in range(8):
        write_reach(home, seed)
    for seed in range(3):
        write_reach(home, 100 + seed, kind=EpisodeKind.HUMAN)
        write_reach(home, 200 + seed, task=PLANS["tiny"].story.new_task)
    return home


def _command(home: Home, *more: str) -> list[str]:
    base = [sys.executable, "main.py", "bench", "learn", "--json", "--size", "tiny", "--recorded"]
    return [*base, "--home", str(home.path), *more]


def _models(home: Home) -> set[str]:
    return {path.parent.name for path in home.models.glob("*/model.json")}


@pytest.mark.slow
def test_a_killed_comparison_goes_on_from_disk(lab: Home) -> None:
    """Killed with -9 in the middle, its trainers too; the second call trains only what is missing."""
    command = _command(lab, "--only", "alignment", "--arms", "clap,no_contrast,no_human")
    first = subprocess.Popen(
        command, cwd=ROOT, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 180
    while not _models(lab) and time.monotonic() < deadline:
        time.sleep(0.1)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    made = _models(lab)
    assert made, "the first call made no model in time"
    for path in lab.runs.glob("*/process.json"):
        try:
            os.kill(json.loads(path.read_text())["pid"], signal.SIGKILL)
        except ProcessLookupError:
            continue
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    table = json.loads(done.stdout.splitlines()[-1])
    assert set(table["alignment"]) == {"clap", "no_contrast", "no_human"}
    for entry in table["alignment"].values():
        assert 0 <= entry["retrieval_top1"] <= entry["retrieval_top5"] <= 1
        assert entry["takes"] > 1 or entry["interval"] == [None, None]
        assert entry["n"] > 0 and entry["seeds"] == 1 and entry["seconds"] > 0 and entry["codes_used"][0] >= 1
        assert "human_r2" not in entry  # these clips have no true motion
    assert made < _models(lab) and len(_models(lab)) == 4, "something was trained twice"
    assert json.loads(Path(table["file"]).read_text())["alignment"] == table["alignment"]
    before = {path: path.stat().st_mtime_ns for path in lab.runs.glob("*/status.json")}
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(again.stdout.splitlines()[-1])["alignment"] == table["alignment"]
    assert {path: path.stat().st_mtime_ns for path in lab.runs.glob("*/status.json")} == before
