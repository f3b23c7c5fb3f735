"""The shelf of models and two of them side by side: from real records, takes, trials and series."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.registry import ModelRecord, read_record, write_record
from storage.catalog import Catalog
from storage.layout import Home
from tests.services.learnable import write_reach
from workbench.cli import main
from workbench.core.errors import NotFoundError, WorkbenchError
from workbench.core.types import EpisodeKind
from workbench.services import model_shelf
from workbench.services.evaluation import Rate
from workbench.services.library import Library
from workbench.services.model_compare import (
    A_BETTER,
    ALIKE,
    B_BETTER,
    NOT_BOTH,
    OTHER_TAKES,
    compare,
    data_diff,
    verdict,
)
from workbench.services.model_figures import figures
from workbench.services.track_record import series_of, track_record
from workbench.services.trials import Entrant, Result, Series

TASK = "red_cube_to_white_plate"
METRICS = {"windows": 800, "token_accuracy": 0.8, "errors_mm": {"rf": {"4": 6.0}}, "gripper_accuracy": {"rf": 0.99}}
RECIPE = {"stage": "rf", "steps": 100, "horizon_s": 0.8, "step_s": 0.1}


def model(model_id: str, stage: str = "rf", **changes: object) -> ModelRecord:
    made = ModelRecord(model_id, stage, RECIPE, "hash", tasks=(TASK,), metrics=METRICS, run_id="r1")
    return replace(made, created_at=f"2026-01-01T00:00:{len(model_id):02}+00:00", **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def takes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, list[tuple[str, str]]]:
    """Three robot takes, one of a person, and three models; shared, read only."""
    home = Home.open(tmp_path_factory.mktemp("shelf"))
    kinds = (EpisodeKind.TELEOP, EpisodeKind.TELEOP, EpisodeKind.TELEOP, EpisodeKind.HUMAN)
    made = [write_reach(home, seed, kind=kind, steps=6) for seed, kind in enumerate(kinds)]
    data = [(take.id, take.content_hash) for take in made]
    write_record(home, model("code", "act_vae", data=tuple(data[:3])))
    bases = {"act_vae": "code"}
    write_record(home, model("first", bases=bases, data=tuple(data[:3])))
    other = {**METRICS, "token_accuracy": 0.5, "colour": 3.0}
    seen = (data[0], (data[1][0], "f" * 64), data[3])
    recipe = {**RECIPE, "steps": 200, "new": True}
    write_record(home, model("second", parent="first", bases=bases, data=seen, metrics=other, recipe=recipe))
    with Catalog(home) as catalog:
        catalog.rebuild()
        for number in range(20):
            catalog.add_trial("first", TASK, number < 19)
            catalog.add_trial("second", TASK, number < 4)
        catalog.add_trial("first", "blue", True)
    return home, data


@pytest.fixture
def own(takes: tuple[Home, list[tuple[str, str]]], tmp_path: Path) -> Home:
    """A copy that a test may change."""
    shutil.copytree(takes[0].path, tmp_path / "own")
    return Home.open(tmp_path / "own")


def play(series: Series, wins: dict[str, bool]) -> None:
    while (trial := series.next()) is not None:
        series.add(Result(trial.number, wins[trial.entrant.model_id], seconds=1.0))


def test_two_models_side_by_side(takes: tuple[Home, list[tuple[str, str]]]) -> None:
    home, data = takes
    found = compare(home.path, "first", "second")
    assert found.recipe == {"steps": (100, 200), "new": (None, True)}
    assert found.data.only_a == (data[2][0],) and found.data.only_b == (data[3][0],)
    assert found.data.both == tuple(sorted((data[0][0], data[1][0]))) and found.data.changed == (data[1][0],)
    assert found.data.groups == {(TASK, "human"): (0, 1, 0), (TASK, "teleop"): (1, 0, 2)}
    lines = {line.name: line for line in found.metrics}
    assert lines["colour"].a is None and lines["errors_mm.rf.4"].verdict == ""
    assert lines["token_accuracy"].verdict == OTHER_TAKES
    assert {line.task: line.verdict for line in found.trials} == {TASK: A_BETTER, "blue": NOT_BOTH}
    told = json.loads(json.dumps(found.to_json()))
    assert told["trials"][1]["a"]["n"] == 20 and told["data"]["groups"][0]["only_b"] == 1


def test_figures_are_judged_only_on_the_same_takes(own: Home) -> None:
    write_record(own, replace(read_record(own, "second"), id="third", data=read_record(own, "first").data))
    found = {line.name: line for line in compare(own.path, "first", "third").metrics}
    assert found["token_accuracy"].verdict == A_BETTER and found["gripper_accuracy.rf"].verdict == ALIKE


def test_overlapping_windows_do_not_narrow_an_interval() -> None:
    wide, narrow = (
        next(f for f in figures(model("m", recipe={**RECIPE, "horizon_s": h})) if f.name == "token_accuracy")
        for h in (0.8, 0.1)
    )
    assert wide.n == narrow.n == 800 and wide.interval and narrow.interval
    assert wide.interval == Rate.of(80, 100).interval and narrow.interval == Rate.of(640, 800).interval


@given(st.integers(0, 30), st.integers(1, 30), st.integers(0, 30), st.integers(1, 30))
def test_a_verdict_is_given_only_where_intervals_separate(a: int, n_a: int, b: int, n_b: int) -> None:
    first, second = Rate.of(min(a, n_a), n_a), Rate.of(min(b, n_b), n_b)
    said = verdict(first.interval, second.interval)
    assert (said == A_BETTER) == (first.interval[0] > second.interval[1])
    assert (said == B_BETTER) == (second.interval[0] > first.interval[1])
    mirrored = {A_BETTER: B_BETTER, B_BETTER: A_BETTER, ALIKE: ALIKE}[said]
    assert verdict(second.interval, first.interval) == mirrored


IDS = st.dictionaries(st.sampled_from("abcdefgh"), st.sampled_from("xy"))


@settings(max_examples=40)
@given(IDS, IDS)
def test_every_take_is_in_one_place(a: dict[str, str], b: dict[str, str]) -> None:
    found = data_diff(a, b, {"a": ("t", "teleop")})
    assert sorted(found.only_a + found.only_b + found.both) == sorted({*a, *b})
    counted = [sum(group[place] for group in found.groups.values()) for place in range(3)]
    assert counted == [len(found.only_a), len(found.only_b), len(found.both)]
    assert found.same == (a == b)


def test_the_shelf_knows_where_each_came_from(takes: tuple[Home, list[tuple[str, str]]]) -> None:
    home, _ = takes
    with Library(home.path) as library:
        shelf = model_shelf.look(library, home.path)
    found = {entry.id: entry for entry in shelf.models}
    assert [found[name].parent for name in ("code", "first", "second")] == ["", "code", "first"]
    assert found["first"].trials == Rate.of(20, 21) and found["code"].trials.n == 0
    assert model_shelf.against_deleting(home.path, "first") == "1 other models were built on it"
    with pytest.raises(NotFoundError):
        model_shelf.find(home.path, "f" * 3)


def test_series_are_told_with_names_but_blind_ones_only_when_over(tmp_path: Path) -> None:
    home = Home.open(tmp_path)
    both = (Entrant("m1"), Entrant("m2"))
    done = Series.create(home, both, [TASK], 8, blind=True, seed=1)
    play(done, {"m1": True, "m2": False})
    going = Series.create(home, both, [TASK], 8, blind=True, seed=2)
    going.add(Result(0, True))
    alone = Series.create(home, both[:1], [TASK], 2)
    play(alone, {"m1": True})
    (home.path / "series" / "broken").mkdir()
    (home.path / "series" / "broken" / "plan.json").write_text("{")
    found = series_of(home, "m1")
    assert [line.id for line in found] == [alone.plan.id, done.plan.id]
    assert found[1].verdict == "m1 (rf) is better" and found[1].others == ("m2",)
    assert found[1].rates == {TASK: Rate.of(8, 8)} and series_of(home, "m2")[0].rates == {TASK: Rate.of(0, 8)}
    assert found[0].verdict == "" and found[0].rates == {TASK: Rate.of(2, 2)}
    assert track_record(home.path, "m1").to_json()["series"][1]["verdict"] == "m1 (rf) is better"


def test_the_verb_compares_deletes_restores_and_keeps_reasons(own: Home, capsys: pytest.CaptureFixture[str]) -> None:
    home = own

    def ask(*words: str, code: int = 0) -> dict[str, object]:
        assert main(["models", *words, "--home", str(home.path), "--json"], lambda *_: 0) == code
        return dict(json.loads(capsys.readouterr().out.splitlines()[-1]))

    assert ask("compare", "first", "sec")["recipe"] == {"steps": [100, 200], "new": [None, True]}
    assert "built on" in str(ask("delete", "first", code=1)["error"])
    assert ask("delete", "second") == {"deleted": "second"} and ask("list", "--trash") == {"trash": ["second"]}
    assert ask("restore", "sec") == {"restored": "second"}
    write_record(home, replace(read_record(home, "second"), gate={"passed": False, "reasons": ["red fell"]}))
    assert "red fell" in str(ask("promote", "second", code=1)["error"])
    assert ask("promote", "second", "--force", "a demonstration") == {"promoted": "second", "stage": "rf"}
    assert ask("show", "second")["overrides"] == ["a demonstration"]
    with pytest.raises(WorkbenchError, match="in use"):
        model_shelf.delete(home.path, "second")
