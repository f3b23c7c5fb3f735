"""The catalogue's database: migrations, damage, and two kinds of server."""

from __future__ import annotations

import importlib
import json
import sqlite3
from pathlib import Path

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, inspect, text

from storage.catalog import Catalog
from storage.database import BrokenDatabaseError, open_database
from storage.filters import TakeFilter
from storage.layout import Home
from storage.migrate import migration_config
from storage.tables import HEAD
from tests.storage.takes import write_take
from workbench.core.errors import WorkbenchError
from workbench.core.types import Outcome


def _as_0001(path: Path) -> None:
    """Bring a new file to the first migration only."""
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        command.upgrade(migration_config(connection), "0001")
    engine.dispose()


def _schema(connection: Connection) -> dict[str, object]:
    """Columns, keys and indexes by table."""
    found = inspect(connection)
    return {
        name: (
            [(c["name"], str(c["type"]), c["nullable"], c["default"]) for c in found.get_columns(name)],
            found.get_pk_constraint(name)["constrained_columns"],
            sorted((i["name"], i["column_names"]) for i in found.get_indexes(name)),
            sorted((k["constrained_columns"], k["referred_table"], k["options"]) for k in found.get_foreign_keys(name)),
            sorted(k["column_names"] for k in found.get_unique_constraints(name)),
        )
        for name in sorted(found.get_table_names())
    }


def test_migrations_lead_to_the_tables_and_back(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'a.db'}"
    opened = open_database(url, tmp_path / "lock")
    assert opened.fresh
    with opened.engine.begin() as connection:
        config = migration_config(connection)
        assert ScriptDirectory.from_config(config).get_current_head() == HEAD
        command.check(config)
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
        command.downgrade(config, "base")
    opened.engine.dispose()
    again = open_database(url, tmp_path / "lock")
    assert again.fresh
    with again.engine.begin() as connection:
        command.check(migration_config(connection))
        made = _schema(connection)
    again.engine.dispose()
    other = create_engine(f"sqlite:///{tmp_path / 'b.db'}")
    with other.begin() as connection:
        command.upgrade(migration_config(connection), "head")
        command.check(migration_config(connection))
        assert _schema(connection) == made, "a new catalogue has the same tables as one that was migrated"
    other.dispose()
    third = open_database(url, tmp_path / "lock")
    assert not third.fresh
    third.engine.dispose()


def test_a_catalogue_of_the_first_version_keeps_takes_trials_and_undo(home: Home) -> None:
    kept, other = write_take(home, 0.3, operator="Ada"), write_take(home, 0.3)
    _as_0001(home.path / "catalog.db")
    connection = sqlite3.connect(home.path / "catalog.db")
    for manifest in (kept, other):
        connection.execute(
            "INSERT INTO episodes (id, kind, task, instruction, operator, scene, station, clock, outcome, notes,"
            " started_at, duration_s, rows, rows_hz, counts, gaps, extra, content_hash, trashed) VALUES"
            " (?, 'teleop', ?, ?, ?, '', '', 'lockstep', 'success', 'as it was', '2026-01-01 00:00:00', 0.2, 3, 10.0,"
            " '{}', '{}', '{}', ?, 0)",
            (manifest.id, manifest.task, manifest.instruction, manifest.operator, manifest.content_hash),
        )
    connection.execute(
        "INSERT INTO trials VALUES ('t1', '2026-01-01 00:00:00', 'm', 'cube', 1, '', 'rf', 0, 1.0, 2.0, '', '{}')"
    )
    undo_label = json.dumps({"set": "outcome", "values": {kept.id: "failure"}})
    undo_move = json.dumps({"move": True, "ids": [other.id]})
    for inverse in (undo_move, undo_label):
        connection.execute(
            "INSERT INTO edits (at, description, inverse) VALUES ('2026-01-01 00:00:00', 'an old edit', ?)", (inverse,)
        )
    connection.commit()
    connection.close()
    with Catalog(home) as catalog:
        assert catalog.page(TakeFilter(operator="Ada")).records == (catalog.episode(kept.id),)
        assert catalog.episodes(text="ada CUBE") == (catalog.episode(kept.id),)
        assert catalog.episode(kept.id).notes == "", "what the disk says counts"
        assert catalog.episode(kept.id).counts == kept.counts
        assert [trial.id for trial in catalog.trials("m")] == ["t1"]
        assert catalog.undo() == "Undone: an old edit" and catalog.episode(kept.id).outcome is Outcome.FAILURE
        assert catalog.undo() == "Undone: an old edit" and catalog.episode(other.id).trashed
        assert catalog.undo() is None
        assert catalog.redo() is not None and not catalog.episode(other.id).trashed


def test_the_migration_alone_makes_filters_work(home: Home) -> None:
    """Names and words are filled in by the migration, not only by reading the takes again."""
    _as_0001(home.path / "catalog.db")
    connection = sqlite3.connect(home.path / "catalog.db")
    connection.execute(
        "INSERT INTO episodes (id, kind, task, instruction, operator, scene, station, clock, outcome, notes,"
        " started_at, duration_s, rows, rows_hz, counts, gaps, extra, content_hash, trashed) VALUES"
        " ('a', 'human', 'pour', 'pour Tea', 'Bo', 'kitchen', '', 'realtime', 'success', '',"
        " '2026-01-01 00:00:00', 0.2, 3, 10.0, '{}', '{}', '{}', '', 0)"
    )
    connection.commit()
    connection.close()
    engine = create_engine(f"sqlite:///{home.path / 'catalog.db'}")
    with engine.begin() as connection:
        command.upgrade(migration_config(connection), "head")
    engine.dispose()
    with Catalog(home) as catalog:
        for wanted in (
            TakeFilter(operator="Bo"),
            TakeFilter(text="TEA kitchen"),
            TakeFilter(task="pour", scene="kitchen"),
        ):
            assert [record.id for record in catalog.page(wanted).records] == ["a"]
        assert catalog.page(TakeFilter(text="coffee")).total == 0
        assert catalog.sync().gone == ("a",)


@pytest.mark.parametrize("damage", ["garbage", "page", "cut"])
def test_a_damaged_catalogue_is_set_aside_and_rebuilt(home: Home, damage: str) -> None:
    manifests = [write_take(home, 0.1) for _ in range(3)]
    with Catalog(home) as catalog:
        catalog.tag([manifests[0].id], ["good"])
        catalog.trash([manifests[1].id])
        before = catalog.episodes(trashed=None)
    path = home.path / "catalog.db"
    raw = bytearray(path.read_bytes())
    if damage == "garbage":
        raw = bytearray(b"no database at all, but long enough to be read as one" * 100)
    elif damage == "page":
        raw[8192:60000] = bytes(60000 - 8192)
    else:
        del raw[len(raw) // 2 :]
    path.write_bytes(raw)
    with pytest.raises(BrokenDatabaseError):
        open_database(f"sqlite:///{path}", home.path / "lock")
    with Catalog(home) as catalog:
        (notice,) = catalog.notices
        assert "damaged" in notice and "rebuilt" in notice
        assert catalog.episodes(trashed=None) == before
        assert catalog.events()[0].words == notice and catalog.events()[0].severity == "warning"
    (aside,) = home.path.glob("catalog.db.broken-*")
    assert aside.read_bytes() == bytes(raw) and aside.name in notice
    with Catalog(home) as catalog:
        assert catalog.notices == ()


def test_a_newer_catalogue_is_left_alone(home: Home, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'newer.db'}"
    opened = open_database(url, tmp_path / "lock")
    with opened.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    opened.engine.dispose()
    with pytest.raises(WorkbenchError, match="newer version"):
        Catalog(home, url)
    assert (tmp_path / "newer.db").exists()


def test_a_wrong_url_and_a_silent_server_are_said_in_words(home: Home) -> None:
    with pytest.raises(WorkbenchError, match="WORKBENCH_CATALOG_URL"):
        Catalog(home, "nonsense://here")
    if importlib.util.find_spec("psycopg"):
        with pytest.raises(WorkbenchError, match="database server runs"):
            Catalog(home, f"postgresql+psycopg://u@/nowhere?host={home.path}")
