"""What one click decides: which takes are only measured on, how long it may take, what is refused and tried again."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from models.recipes import preset
from models.registry import PENDING, ModelRecord, newest, promote, read_record, set_gate, write_record
from models.split import held_out_ids, place
from models.stages import RunSpec
from storage.layout import Home
from storage.records import EpisodeRecord
from tests.services.learnable import write_reach
from tests.services.tuning import NEW, OLD
from workbench.core.errors import NotFoundError, WorkbenchError
from workbench.core.files import write_json
from workbench.services.finetune import KNOWLEDGE_MATCHING, KNOWN_TASKS, candidates, gather, seen_by
from workbench.services.finetune_check import trouble, warnings
from workbench.services.finetune_plan import FILE, LADDER, Options, Plan, one_click, prepare, retry
from workbench.services.finetune_time import MATCHING_COST, run_pace
from workbench.services.jobs import Jobs
from workbench.services.library import Library


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.open(tmp_path / "home")


def write_model(home: Home, model_id: str, seen: tuple[str, ...] = (), parent: str = "", **more: object) -> None:
    recipe = preset("tiny", "rf").to_json()
    for stage in ("act_vae", "ntp"):
        write_record(home, ModelRecord(f"{stage}-1", stage, {}, "hash"))
    data = tuple((episode_id, "hash") for episode_id in seen)
    bases = {"act_vae": "act_vae-1", "ntp": "ntp-1"}
    write_record(home, ModelRecord(model_id, "rf", recipe, "hash", parent, bases, tasks=(OLD,), data=data, **more))


def stock(home: Home, old: int = 20, new: int = 8) -> None:
    seen = tuple(write_reach(home, seed, task=OLD, steps=8).id for seed in range(old))
    write_model(home, "parent", seen)
    for seed in range(new):
        write_reach(home, 100 + seed, task=NEW, steps=8)


def test_what_is_measured_is_never_learned_from(home: Home) -> None:
    stock(home)
    material = gather(home.path)
    spec, plan = prepare(home, material, Options(preset="tiny"))
    measured = {i for ids in plan.measured.values() for i in ids}
    assert set(plan.measured) == {OLD, NEW} and set(spec.hold_out) == measured
    assert {material.tasks[i] for i in plan.measured[OLD]} == {OLD}
    assert set(plan.measured[OLD]) <= held_out_ids([(i, False) for i in material.replay], 0.12), (
        "as the parent held out"
    )
    assert len(plan.measured[NEW]) < 8 / 2 + 1 and spec.unchecked
    assert plan.new_tasks == (NEW,) and plan.old_tasks == (OLD,)
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


def test_a_new_task_is_learned_where_old_instructions_are_not_and_known_ones_as_measured(home: Home) -> None:
    stock(home)
    recipe = prepare(home, gather(home.path), Options(preset="tiny"))[0].recipe.to_json()
    assert {name: recipe[name] for name in KNOWLEDGE_MATCHING} == dict(KNOWLEDGE_MATCHING) and recipe["protect_old"]
    again = [write_reach(home, 200 + seed, task=OLD, steps=8).id for seed in range(8)]
    recipe = prepare(home, gather(home.path, "parent", again), Options(preset="tiny"))[0].recipe.to_json()
    assert {name: recipe[name] for name in KNOWN_TASKS} == dict(KNOWN_TASKS) and not recipe["protect_old"]


def test_few_new_takes_are_all_learned_from(home: Home) -> None:
    stock(home, new=4)
    _, plan = prepare(home, gather(home.path), Options(preset="tiny"))
    assert NEW not in plan.measured


def test_a_real_station_is_not_driven_and_says_why(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    stock(home)
    material = gather(home.path)
    _, plan = prepare(home, material, Options(preset="tiny", trials=3))
    assert plan.trials == 3 and plan.driven == (OLD, NEW)
    _, plan = prepare(home, material, Options(preset="tiny", trials=0))
    assert plan.driven == () and "no trials" in plan.why_not_driven[""]
    from workbench.services import finetune_plan

    real = finetune_plan.load_settings(home.path).model_copy(update={"simulated": False})
    monkeypatch.setattr(finetune_plan, "load_settings", lambda _path: real)
    _, plan = prepare(home, material, Options(preset="tiny", trials=3))
    assert plan.driven == () and "not simulated" in plan.why_not_driven[""]


def write_pace(home: Home, run_id: str, steps: int, seconds: float, batch: int = 64) -> None:
    recipe = preset("tiny", "rf", batch=batch)
    RunSpec("rf", recipe, ("take",), home.path, {"act_vae": "a", "ntp": "n"}, run_id=run_id).write()
    lines = [{"step": 20, "seconds": 0.0}, {"step": 20 + steps, "seconds": seconds}]
    (home.runs / run_id / "progress.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_the_time_is_guessed_from_what_really_ran_here(home: Home) -> None:
    stock(home)
    material = gather(home.path)
    _, plan = prepare(home, material, Options(preset="tiny", trials=0))
    assert plan.estimate.seconds is None and "first steps will be timed" in plan.estimate.how
    write_pace(home, "parents-run", 100, 10.0)
    write_model(home, "parent", tuple(material.replay), run_id="parents-run")
    material = gather(home.path)
    assert run_pace(home.runs / "parents-run") == 640
    spec, plan = prepare(home, material, Options(preset="tiny", trials=0))
    assert plan.estimate.parts["train"] == pytest.approx(spec.recipe.steps * 64 * MATCHING_COST / 640, abs=0.1)
    assert "matching takes" in plan.estimate.how
    write_pace(home, "tuned", 100, 20.0)
    write_json(
        home.runs / "tuned" / "receipt.json", {"run": "tuned", "seconds": {"measure": 8}, "units": {"measure": 4}}
    )
    _, plan = prepare(home, material, Options(preset="tiny", trials=0))
    assert plan.estimate.parts["train"] == pytest.approx(spec.recipe.steps * 64 / 320, abs=0.1)
    assert plan.estimate.parts["measure"] == 2.0 * sum(map(len, plan.measured.values()))
    assert plan.estimate.seconds == pytest.approx(sum(plan.estimate.parts.values()))


def test_a_slow_machine_gets_a_shorter_training(home: Home) -> None:
    stock(home, new=30)
    write_pace(home, "parents-run", 10, 100.0, batch=160)
    write_model(home, "parent", tuple(gather(home.path).replay), run_id="parents-run")
    material = gather(home.path)
    usual = prepare(home, material, Options(minutes=0.0, trials=0))[0].recipe.steps
    short = prepare(home, material, Options(minutes=60.0, trials=0))[0].recipe.steps
    asked = prepare(home, material, Options(minutes=60.0, trials=0, changes={"steps": 444}))[0].recipe.steps
    assert usual == 480 and 300 <= short < usual and asked == 444


def test_a_retry_holds_on_harder_until_the_ladder_ends(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    stock(home)
    launched: list[str] = []
    monkeypatch.setattr(Jobs, "launch", lambda self, run_id, **_: launched.append(run_id))
    jobs = Jobs(home.path)
    run_id = one_click(jobs, gather(home.path), Options(preset="tiny", trials=2, changes={"lr": 1e-3}))
    recipes = [RunSpec.read(home.runs / run_id).recipe]
    for rung in range(1, len(LADDER)):
        run_id = retry(jobs, run_id)
        plan = Plan.read(home.runs / run_id)
        assert plan.rung == rung and plan.retry_of == launched[-2] and plan.trials == 2
        recipes.append(RunSpec.read(home.runs / run_id).recipe)
    weights = [(recipe.km_token_weight, recipe.replay_share) for recipe in recipes]
    assert weights == sorted(weights) and len(set(weights)) == len(LADDER)
    assert {recipe.lr for recipe in recipes} == {1e-3} and len({recipe.steps for recipe in recipes}) == 1
    with pytest.raises(WorkbenchError, match="strongest attempt"):
        retry(jobs, run_id)
    with pytest.raises(NotFoundError):
        prepare(home, gather(home.path), Options(rung=len(LADDER)))


def test_a_broken_plan_is_told(home: Home) -> None:
    (home.runs / "run").mkdir(parents=True)
    write_json(home.runs / "run" / FILE, {"parent": "x"})
    with pytest.raises(WorkbenchError, match="not readable"):
        Plan.read(home.runs / "run")


# what it learns from --------------------------------------------------------------------------------------------------


def test_what_ancestors_saw_is_not_new_again(home: Home) -> None:
    first = write_reach(home, 0, task=OLD, steps=8).id
    second = write_reach(home, 1, task=OLD, steps=8).id
    third = write_reach(home, 2, task=NEW, steps=8).id
    write_model(home, "grandparent", (first,))
    write_model(home, "parent", (second,), parent="grandparent")
    assert seen_by(home, read_record(home, "parent")) == {first, second}
    assert [found.episode_id for found in candidates(home.path, "parent")] == [third]
    assert set(gather(home.path, "parent").replay) == {first, second}


def test_damage_and_what_does_not_fit_the_model_are_seen(home: Home) -> None:
    take = write_reach(home, 0, task=NEW, steps=8).id
    write_model(home, "parent")
    parent = read_record(home, "parent")
    with Library(home.path) as library:
        record = library.find(take)

    def flagged(*flags: str) -> tuple[str, bool]:
        return trouble(replace(record, extra={"quality": {"version": 1, "flags": list(flags), "figures": {}}}), parent)

    assert flagged() == ("", True) == flagged("jerky")
    assert flagged("unreadable", "jerky") == ("cannot be read", False)
    assert flagged("frozen") == ("has a frozen picture", True)
    blind = replace(record, counts={"observation.state": 8, "action": 8, "observation.images.side": 8})
    assert trouble(blind, parent) == ("has no picture of front or wrist", False)
    assert trouble(replace(record, counts={"observation.images.front": 8}), parent) == ("holds no arm", False)
    half = replace(record, counts={"observation.state": 8, "action": 8, "observation.images.front": 8})
    other = replace(record, task="other")
    said = " | ".join(warnings([half, other], ("old",), parent))
    assert "1 of 2 takes have no picture of wrist" in said and f"is the instruction of {NEW} and other" in said


def test_a_take_nothing_can_be_learned_from_is_refused_by_name_and_left_out_otherwise(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    takes = [write_reach(home, seed, task=NEW, steps=8).id for seed in range(2)]
    write_model(home, "parent")
    from workbench.services import finetune

    bad = takes[0]

    def told(record: EpisodeRecord, _parent: ModelRecord) -> tuple[str, bool]:
        return ("cannot be read", False) if record.id == bad else ("", True)

    monkeypatch.setattr(finetune, "trouble", told)
    assert gather(home.path).episodes == (takes[1],)
    with pytest.raises(WorkbenchError, match="nothing can be learned"):
        gather(home.path, episodes=[bad])


def test_refused_models_are_not_offered_and_cannot_be_promoted_without_a_reason(home: Home) -> None:
    write_model(home, "a-good")
    write_model(home, "b-forgot", gate=PENDING)
    assert newest(home, "rf").id == "a-good"
    with pytest.raises(WorkbenchError, match="has not ended"):
        promote(home, "b-forgot")
    set_gate(home, "b-forgot", {"passed": False, "reasons": ["stack fell"]})
    with pytest.raises(WorkbenchError, match="stack fell"):
        promote(home, "b-forgot")
    set_gate(home, "b-forgot", {"passed": True, "reasons": []})
    assert promote(home, "b-forgot").id == "b-forgot" and newest(home, "rf").id == "b-forgot"


def test_the_place_of_a_take_is_its_own() -> None:
    assert 0 <= place("a") < 1 and place("a") == place("a") != place("b")
