"""Models on disk: records, promotion and its undo."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.registry import (
    ModelRecord,
    delete_model,
    list_models,
    model_folder,
    newest,
    promote,
    read_record,
    rollback,
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
