"""The shelf of takes over a real catalogue and real takes."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from storage.layout import Home
from tests.services.learnable import write_reach
from workbench.core.bus import Bus
from workbench.core.errors import NotFoundError, WorkbenchError
from workbench.core.events import LibraryChanged
from workbench.core.types import EpisodeKind, Outcome
from workbench.services.library import Library

Shelf = Callable[..., Library]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.open(tmp_path / "home")


@pytest.fixture
def shelf() -> Iterator[Shelf]:
    """Opens libraries and closes them after the test."""
    with contextlib.ExitStack() as stack:
        yield lambda *values: stack.enter_context(Library(*values))


def test_sealed_takes_appear_by_themselves(shelf: Shelf, home: Home) -> None:
    library = shelf(home.path)
    assert library.episodes() == ()
    manifest = write_reach(home, 0)
    assert library.sync() == (manifest.id,)
    assert library.sync() == ()
    assert [record.id for record in library.episodes()] == [manifest.id]


def test_a_lost_catalogue_loses_no_take(shelf: Shelf, home: Home) -> None:
    ids = [write_reach(home, seed).id for seed in range(3)][::-1]
    assert [record.id for record in shelf(home.path).episodes()] == ids
    for path in home.path.glob("catalog.db*"):
        path.unlink()
    assert [record.id for record in shelf(home.path).episodes()] == ids


def test_a_damaged_take_hides_only_itself(shelf: Shelf, home: Home) -> None:
    broken, whole = write_reach(home, 0), write_reach(home, 1)
    for path in home.sealed(broken.id).glob("*.json"):  # the manifest, and its copy
        path.write_text("{")
    assert [record.id for record in shelf(home.path).episodes()] == [whole.id]


def test_filters(shelf: Shelf, home: Home) -> None:
    write_reach(home, 0, task="red_cube_to_white_plate")
    write_reach(home, 1, task="yellow_box_to_pink_mat", outcome=Outcome.FAILURE)
    write_reach(home, 2, kind=EpisodeKind.HUMAN)
    library = shelf(home.path)
    assert len(library.episodes()) == 3
    assert [r.kind for r in library.episodes(kind=EpisodeKind.HUMAN)] == [EpisodeKind.HUMAN]
    assert [r.task for r in library.episodes(outcome=Outcome.FAILURE)] == ["yellow_box_to_pink_mat"]
    assert [r.task for r in library.episodes(text="yellow")] == ["yellow_box_to_pink_mat"]
    assert library.counts() == {"human": 1, "teleop": 2, "rollout": 0, "imported": 0}


def test_every_change_can_be_undone_and_is_told(shelf: Shelf, home: Home) -> None:
    episode_id = write_reach(home, 0).id
    bus, heard = Bus(), []
    bus.subscribe(LibraryChanged, heard.append)
    library = shelf(home.path, bus)
    heard.clear()
    library.label(episode_id, Outcome.FAILURE)
    library.note(episode_id, "the cube slipped")
    assert library.find(episode_id).outcome == Outcome.FAILURE
    library.trash([episode_id])
    assert library.episodes() == () and [r.id for r in library.episodes(trashed=True)] == [episode_id]
    assert library.undo() and [r.notes for r in library.episodes()] == ["the cube slipped"]
    assert library.undo() and library.find(episode_id).notes == ""
    assert library.undo() and library.find(episode_id).outcome == Outcome.SUCCESS
    assert library.undo() is None
    assert [event.episode_ids for event in heard[:3]] == [(episode_id,)] * 3 and len(heard) == 6


def test_trash_and_restore_keep_the_take_bit_true(shelf: Shelf, home: Home) -> None:
    episode_id = write_reach(home, 0).id
    library = shelf(home.path)
    library.trash([episode_id])
    assert not home.sealed(episode_id).exists()
    library.restore([episode_id])
    with library.open(episode_id) as view:
        assert view.verify() == ()


def test_a_take_opened_for_looking(shelf: Shelf, home: Home) -> None:
    library, manifest = shelf(home.path), write_reach(home, 0, steps=30)
    library.sync()
    with library.open(manifest.id) as view:
        assert view.rows == 30 and view.row_times_s[0] == 0.0
        assert np.allclose(np.diff(view.row_times_s), 0.1)
        picture = view.picture("observation.images.front", 29)
        assert picture is not None and picture.shape == (48, 64, 3) and picture.dtype == np.uint8
        seconds, values, axes = view.signal("action")
        assert values.shape == (30, 14) and len(axes) == 14 and np.allclose(seconds, view.row_times_s)
        with pytest.raises(NotFoundError, match="action"):
            view.signal("actoin")


def test_ids_may_be_shortened_while_they_are_clear(shelf: Shelf, home: Home) -> None:
    first, second = write_reach(home, 0).id, write_reach(home, 1).id
    library = shelf(home.path)
    shared = next(k for k in range(32) if first[:k] != second[:k]) - 1
    assert library.find(first[: shared + 1]).id == first
    with pytest.raises(WorkbenchError, match="beginning of 2 takes"):
        library.find(first[:shared])
    with pytest.raises(NotFoundError, match="no take named"):
        library.find("zz")


def test_importing_what_is_no_recording_is_refused_in_a_sentence(shelf: Shelf, home: Home, tmp_path: Path) -> None:
    library = shelf(home.path)
    with pytest.raises(WorkbenchError, match="no folder"):
        library.import_from(tmp_path / "nowhere")
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "a.txt").write_text("no robot here")
    with pytest.raises(WorkbenchError, match="no known format"):
        library.import_from(tmp_path / "letters")


@pytest.mark.slow
def test_real_recordings_come_in_as_imported_takes(shelf: Shelf, home: Home, tmp_path: Path, shared_data: Path) -> None:
    source = tmp_path / "set"
    shutil.copytree(shared_data / "astribot_lerobot_openclap", source)
    library = shelf(home.path)
    ids = library.import_from(source, max_side_px=160).ids
    assert len(ids) == 2 and {record.kind for record in library.episodes()} == {EpisodeKind.IMPORTED}
    assert sorted(record.id for record in library.episodes()) == sorted(ids)
