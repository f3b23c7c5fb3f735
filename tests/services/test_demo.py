"""The plan of the unattended story and the summary of what happened, without running it (tests/walk does)."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from hardware.sim.tasks import DEMONSTRATED, NEW_TASK, TASKS
from models.recipes import PRESETS
from storage.layout import Home
from workbench.cli_output import Output
from workbench.core.errors import NotFoundError
from workbench.services.demo import Demo, demonstration_jobs
from workbench.services.demo_plan import PLANS, demo_plan
from workbench.services.evaluation import Rate
from workbench.services.story import Story, summary


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_every_plan_can_be_carried_out(plan) -> None:
    assert set(plan.tasks) <= set(DEMONSTRATED) and plan.new_task in TASKS and plan.new_task not in plan.tasks
    for stage in PRESETS[plan.preset]:
        PRESETS[plan.preset][stage].with_(**plan.changes.get(stage, {}))
    PRESETS[plan.preset]["rf"].with_(**plan.changes.get("finetune", {}))
    assert json.dumps(Story(plan, 0, "home").to_json())


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_demonstrations_are_spread_evenly_and_never_repeat_a_scene(plan) -> None:
    jobs = demonstration_jobs(plan, seed=3)
    assert len(jobs) == plan.demonstrations and len({job.seed for job in jobs}) == len(jobs)
    counts = [sum(job.task == task for job in jobs) for task in plan.tasks]
    assert max(counts) - min(counts) <= 1
    changed = sum(job.randomised for job in jobs) / len(jobs)
    assert changed == pytest.approx(plan.randomised_share, abs=max(0.05, len(plan.tasks) / len(jobs)))


def test_an_unknown_size_is_answered_with_the_nearest() -> None:
    with pytest.raises(NotFoundError, match="quick"):
        demo_plan("quik")


def test_an_interrupted_story_is_found_again_as_it_was(tmp_path: Path) -> None:
    home = Home.open(tmp_path)
    story = Story(PLANS["quick"], 7, str(home.path))
    story.episodes = {"demonstrations": ("a", "b")}
    story.before = {"x": Rate.of(2, 3), NEW_TASK: Rate.of(0, 20)}
    story.trials, story.seconds = {"before": ("c",)}, {"record": 1.5}
    story.save()
    assert Story.load(home, story.run_id) == story
    with pytest.raises(NotFoundError, match=story.run_id):
        Story.load(home, story.run_id[:-1])


def test_finished_steps_are_not_done_again(tmp_path: Path) -> None:
    """A story whose every step is done is told without recording, training or driving anything."""
    story = Story(PLANS["tiny"], 0, str(tmp_path))
    heard: list[str] = []

    class Listener:
        def note(self, text: str) -> None:
            heard.append(text)

        def progress(self, title: str):
            raise AssertionError(f"{title} was done again")

    names = (
        "record,import,train act_vae,train vd_vae,train ntp,train rf,drive before,record new task,fine-tune,drive after"
    )
    story.seconds = dict.fromkeys(names.split(","), 1.0)
    Demo(story, Listener()).run()
    assert len(heard) == 10 and all(text.endswith("done before") for text in heard)


def test_the_summary_counts_what_the_story_holds() -> None:
    story = Story(PLANS["tiny"], 7, str(Path("home")))
    story.episodes = {"demonstrations": ("a", "b"), "new": ("c",), "human": ("d",), "imported": ()}
    story.trials = {"before": ("e",), "after": ("f", "g")}
    story.before = {"x": Rate.of(1, 2), NEW_TASK: Rate.of(0, 2)}
    story.after = {"x": Rate.of(2, 2), NEW_TASK: Rate.of(1, 2)}
    story.seconds = {"one": 1.5, "two": 2.0}
    told = summary(story)
    assert told["episodes"] == {"human": 1, "teleop": 3, "imported": 0, "rollout": 3}
    assert told["success"]["x"]["before"] == {"success": 0.5, "n": 2, "interval": [0.0945, 0.9055]}
    assert told["success"][NEW_TASK]["new"] is True
    assert told["seconds"]["total"] == 3.5
    assert json.loads(json.dumps(told)) == told


def test_takes_of_an_interrupted_recording_are_not_made_twice(tmp_path: Path) -> None:
    """What was recorded before the end of the program counts; only the rest is recorded."""
    plan = replace(demo_plan("tiny"), demonstrations=2, human_clips=0, workers=0)
    first = Demo(Story(plan, 0, str(tmp_path)), Output(as_json=True))
    first._make("some", demonstration_jobs(plan, 0)[:1])
    again = Story(plan, 0, str(tmp_path), made=dict(first.story.made))
    Demo(again, Output(as_json=True))._record()
    takes = {path.name.removesuffix(".zarr") for path in Home.open(tmp_path).episodes.glob("*.zarr")}
    assert len(takes) == 2 and set(again.episodes["demonstrations"]) == takes
    assert set(first.story.made.values()) < takes
