"""The catalogue's file is deleted, emptied, cut or overwritten: it comes back equal from the takes on disk."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pytest

from storage.layout import Home
from storage.records import EpisodeRecord
from tests.storage.takes import write_take
from workbench.core.errors import WorkbenchError
from workbench.core.types import Outcome
from workbench.services.catalogue_care import examine_catalogue
from workbench.services.library import Library


def contents(library: Library) -> list[tuple[EpisodeRecord, ...]]:
    return [library.episodes(trashed=trashed) for trashed in (False, True)]


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[tuple[EpisodeRecord, ...]]]:
    """Twelve takes, some labelled, noted or in the trash, and what the whole catalogue says of them."""
    home = Home.open(tmp_path_factory.mktemp("shelf"))
    ids = [write_take(home, 0.2, task=f"task_{number % 3}").id for number in range(12)]
    with Library(home.path) as library:
        library.label(ids[0], Outcome.FAILURE)
        library.note(ids[1], "the cube slipped")
        library.trash(ids[4:7])
        whole = contents(library)
    assert [len(part) for part in whole] == [9, 3]
    return home.path, whole


def overwrite(path: Path, start: float, stop: float) -> None:
    raw = bytearray(path.read_bytes())
    first, last = int(start * len(raw)), int(stop * len(raw))
    raw[first:last] = np.random.default_rng(3).bytes(last - first)
    path.write_bytes(raw)


DAMAGE = {
    "deleted": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:5000]),
    "no database": lambda path: path.write_bytes(b"not a database at all" * 500),
    "header": lambda path: overwrite(path, 0.0, 0.005),
    "schema": lambda path: overwrite(path, 0.005, 0.05),
    "middle": lambda path: overwrite(path, 0.2, 0.6),
    "all": lambda path: overwrite(path, 0.0, 1.0),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_catalogue_comes_back_equal(shelf: tuple[Path, list[tuple[EpisodeRecord, ...]]], name: str) -> None:
    home, whole = shelf
    for beside in home.glob("catalog.db-*"):
        beside.unlink()
    DAMAGE[name](home / "catalog.db")
    assert examine_catalogue(home, fix=True)["ok"]
    with Library(home) as library:
        assert contents(library) == whole
        library.note(whole[0][0].id, whole[0][0].notes)
    assert examine_catalogue(home, fix=False)["ok"]


def test_a_catalogue_of_a_newer_program_is_not_touched(shelf: tuple[Path, list[tuple[EpisodeRecord, ...]]]) -> None:
    home, whole = shelf
    with Library(home) as library:
        assert contents(library) == whole
    with sqlite3.connect(home / "catalog.db") as database:
        (known,) = database.execute("select version_num from alembic_version").fetchone()
        database.execute("update alembic_version set version_num = 'from_the_future'")
    before = (home / "catalog.db").stat().st_size
    with pytest.raises(WorkbenchError, match="newer"):
        Library(home)
    assert (home / "catalog.db").stat().st_size == before
    with sqlite3.connect(home / "catalog.db") as database:
        database.execute("update alembic_version set version_num = ?", (known,))
