"""Models on disk: records, promotion and its undo."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from models.registry import (
    ModelRecord,
    broken_models,
    delete_model,
    dependants,
    list_models,
    model_folder,
    newest,
    overrides,
    promote,
    read_record,
    restore_model,
    rollback,
    trashed_models,
    write_record,
)
from storage.layout import Home
from workbench.core.errors import NotFoundError, WorkbenchError


def _record(model_id: str, stage: str = "rf", **changes: object) -> ModelRecord:
    return ModelRecord(
        model_id,
        stage,
        {"stage": stage},
        "hash",
        tasks=("t",),
        metrics={"rmse_mm": 2.0},
        data=(("e1", "h1"),),
        created_at=f"2026-01-0{model_id[-1]}T00:00:00+00:00",
        **changes,  # type: ignore[arg-type]
    )


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home.open(tmp_path)
    for name in ("m2", "m1", "m3"):
        write_record(home, _record(name, bases={"act_vae": "a1"}))
    write_record(home, _record("a1", "act_vae"))
    return home


def test_records_come_back_whole_and_in_order(home: Home) -> None:
    assert [record.id for record in list_models(home, "rf")] == ["m1", "m2", "m3"]
    assert read_record(home, "m2") == _record("m2", bases={"act_vae": "a1"})
    with pytest.raises(NotFoundError):
        read_record(home, "m9")


def test_promotion_and_its_undo(home: Home) -> None:
    assert newest(home, "rf").id == "m3"
    promote(home, "m1")
    promote(home, "m2")
    promote(home, "m2")
    promote(home, "a1")
    assert [record.id for record in list_models(home) if record.promoted] == ["a1", "m2"]
    assert newest(home, "rf").id == "m2"
    assert rollback(home, "rf").id == "m1"
    assert read_record(home, "m1").promoted and not read_record(home, "m2").promoted
    with pytest.raises(WorkbenchError, match="before the present one"):
        rollback(home, "rf")


def test_a_promoted_model_is_not_deleted_and_a_deleted_one_is_not_promoted(home: Home) -> None:
    promote(home, "m1")
    promote(home, "m2")
    with pytest.raises(WorkbenchError, match="in use"):
        delete_model(home, "m2")
    delete_model(home, "m1")
    with pytest.raises(WorkbenchError):
        rollback(home, "rf")
    assert [record.id for record in list_models(home, "rf")] == ["m2", "m3"]


def test_one_broken_record_hides_one_model(home: Home) -> None:
    (model_folder(home, "m2") / "model.json").write_text("{")
    assert [record.id for record in list_models(home, "rf")] == ["m1", "m3"]
    (model_folder(home, "m3") / "model.json").write_text('{"id": "m3", "colour": 1}')
    assert [record.id for record in list_models(home, "rf")] == ["m1"]


def test_a_deleted_model_comes_back_whole_and_in_use_as_before(home: Home) -> None:
    promote(home, "m1")
    promote(home, "m2")
    delete_model(home, "m2", force=True)
    assert trashed_models(home) == ("m2",)
    assert newest(home, "rf").id == "m1", "the one before is in use again"
    assert restore_model(home, "m2") == read_record(home, "m2") and newest(home, "rf").id == "m2"
    assert trashed_models(home) == ()
    with pytest.raises(NotFoundError):
        restore_model(home, "m2")


def test_a_model_that_others_stand_on_stays_unless_it_is_meant(home: Home) -> None:
    assert dependants(home, "a1") == ("m1", "m2", "m3")
    with pytest.raises(WorkbenchError, match="other models were built on"):
        delete_model(home, "a1")
    delete_model(home, "a1", force=True)
    assert list_models(home, "act_vae") == ()


def test_a_restored_model_never_replaces_another(home: Home) -> None:
    delete_model(home, "m2")
    write_record(home, _record("m2", preset="other"))
    with pytest.raises(WorkbenchError, match="already"):
        restore_model(home, "m2")
    assert read_record(home, "m2").preset == "other" and trashed_models(home) == ("m2",)


def test_what_forgot_is_promoted_only_with_a_reason_and_the_reason_stays(home: Home) -> None:
    write_record(home, _record("m4", gate={"passed": False, "reasons": ["red cube: 9 of 10 became 2 of 10"]}))
    with pytest.raises(WorkbenchError, match="red cube"):
        promote(home, "m4")
    with pytest.raises(WorkbenchError, match="red cube"):
        promote(home, "m4", force="  ")
    assert not any(record.promoted for record in list_models(home))
    assert promote(home, "m4", force="only the new task matters today").promoted
    assert overrides(home, "m4") == ("only the new task matters today",) and overrides(home, "m1") == ()


@pytest.mark.parametrize("model_id", ["../m1", "..", "", "/etc", "m1/../m2", "m1\0", "a" * 65, ".hidden", "m 1"])
def test_an_id_is_never_a_path(home: Home, model_id: str) -> None:
    for ask in (model_folder, read_record, promote, delete_model, restore_model):
        with pytest.raises(WorkbenchError):
            ask(home, model_id)
    with pytest.raises(WorkbenchError):
        write_record(home, _record("m9").__class__(model_id, "rf", {}, "hash"))


HOSTILE: dict[str, Any] = {
    "another id": {"id": "m1"},
    "a path as id": {"id": "../../m3"},
    "a path as parent": {"parent": "../../../etc/passwd"},
    "a path as base": {"bases": {"act_vae": "../a1"}},
    "a path as run": {"run_id": "../../runs"},
    "an unknown stage": {"stage": "pickle"},
    "a list of bases": {"bases": ["a1"]},
    "numbers for takes": {"data": [1, 2]},
    "a recipe that is text": {"recipe": "__import__('os')"},
    "no time": {"created_at": "yesterday"},
    "a table for the parent": {"parent": {"x": 1}},
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE)
def test_a_record_that_lies_hides_its_model_and_is_told(home: Home, change: dict[str, Any]) -> None:
    path = model_folder(home, "m3") / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(WorkbenchError):
        read_record(home, "m3")
    assert [record.id for record in list_models(home, "rf")] == ["m1", "m2"]
    assert list(broken_models(home)) == ["m3"]


def test_a_record_nested_without_end_hides_one_model(home: Home) -> None:
    (model_folder(home, "m3") / "model.json").write_text("[" * 200_000 + "]" * 200_000)
    assert [record.id for record in list_models(home, "rf")] == ["m1", "m2"]
    (model_folder(home, "m3") / "model.json").write_text("[]")
    assert [record.id for record in list_models(home, "rf")] == ["m1", "m2"]


def test_links_out_of_the_folder_are_not_followed(home: Home, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    model_folder(home, "m3").rename(elsewhere)
    model_folder(home, "m3").symlink_to(elsewhere)
    with pytest.raises(WorkbenchError, match="link"):
        read_record(home, "m3")
    record = model_folder(home, "m2") / "model.json"
    record.rename(tmp_path / "model.json")
    record.symlink_to(tmp_path / "model.json")
    with pytest.raises(WorkbenchError, match="link"):
        read_record(home, "m2")
    assert [record.id for record in list_models(home, "rf")] == ["m1"]
