"""Blurring faces: the copy shows nobody, holds all else bit for bit, and the take as it was comes back."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest

from storage import copying
from storage.archive import archive_take
from storage.blurring import FacesFound, blurred_example, blurred_of, look_for_faces, pictures_to_look_at
from storage.catalog import Catalog
from storage.derived import derived, derived_path
from storage.doctor import examine
from storage.episode import Episode
from storage.faces import FaceFinder
from storage.layout import Home
from storage.marks import Trim
from storage.recoding import ArchiveSettings
from storage.splitting import split_take
from tests.storage.face_pictures import (
    CAMERA,
    COUNT,
    FACE_FROM,
    FACE_TO,
    KnowsFaces,
    face_at,
    painted,
    record,
    table,
)
from tests.storage.takes import DEPTH, EXACT, STATE, write_take
from workbench.core.errors import CorruptTakeError, NotFoundError, StateError
from workbench.core.types import Outcome

FRONT = CAMERA.name


def look(home: Home, episode_id: str, ticks: list[int] | None = None) -> FacesFound:
    with Episode.open(home, episode_id) as take:
        return look_for_faces(take, KnowsFaces(), (ticks if ticks is not None else []).append)


def face_of(picture: np.ndarray, index: int) -> np.ndarray:
    """The pixels of the face that ``record`` put there."""
    at = face_at(index)
    assert at is not None
    x, y = round(at[0]), round(at[1])
    return picture[y - 28 : y + 29, max(0, x - 20) : x + 21].astype(float)


def sharpness(pixels: np.ndarray) -> float:
    return float(np.abs(np.diff(pixels.mean(axis=2), axis=0)).mean())


def test_the_copy_shows_no_face_and_holds_everything_else_bit_for_bit(home: Home) -> None:
    whole, ticks = record(home), []
    found = look(home, whole.id, ticks)
    assert sum(ticks) == found.looked == pictures_to_look_at(whole) == 26 and set(found.streams) == {FRONT}
    assert FACE_TO - FACE_FROM < found.pictures < COUNT
    written: list[int] = []
    with Catalog(home) as catalog:
        copy_id = catalog.blur(found, written.append)
        assert sum(written) == COUNT + 25, "every picture, depth too"
        assert [record.id for record in catalog.episodes()] == [copy_id] and catalog.episode(whole.id).trashed
    with Episode.open(home, whole.id, trashed=True) as before, Episode.open(home, copy_id) as after:
        assert before.verify() == after.verify() == []
        blurred = {i for one in found.streams[FRONT] for i in range(one.first, one.last + 1)}
        for index in range(COUNT):
            one, other = before.read(FRONT, index), after.read(FRONT, index)
            if index in blurred:
                assert not np.array_equal(one, other)
            else:
                assert np.array_equal(one, other)
            if face_at(index) is not None:
                assert sharpness(face_of(other, index)) < 0.4 * sharpness(face_of(one, index)), index
        for spec in (DEPTH, STATE):
            for clock in (0, 1):
                assert np.array_equal(before.times(spec.name)[clock], after.times(spec.name)[clock])
        for index in range(25):
            assert np.array_equal(before.read(DEPTH.name, index), after.read(DEPTH.name, index))
        assert np.array_equal(before.vectors(STATE.name), after.vectors(STATE.name))
        assert np.array_equal(before.row_times(), after.row_times())
        assert after.manifest.content_hash != before.manifest.content_hash
        told = blurred_of(after.manifest.extra)
        assert told is not None and (told.episode_id, told.detector) == (whole.id, "known")
        assert told.streams == found.streams and told.pictures == found.pictures
    assert examine(home, deep=True).clean


@pytest.mark.slow
def test_the_real_detector_finds_who_walks_through(home: Home) -> None:
    whole = record(home)
    with Episode.open(home, whole.id) as take:
        found = look_for_faces(take, FaceFinder(), lambda _pictures: None)
        example = blurred_example(take, found)
    assert found.detector.startswith("CenterFace") and example is not None and example[0] == FRONT
    for index in range(FACE_FROM, FACE_TO + 1):
        x, y = face_at(index) or (0.0, 0.0)
        regions = [one.box for one in found.streams[FRONT] if one.first <= index <= one.last]
        assert any(b.left <= x - 20 and b.right >= x + 20 and b.top <= y - 26 and b.bottom >= y + 26 for b in regions)
    assert found.pictures < COUNT


def test_undo_brings_the_take_back_and_redo_the_copy(home: Home) -> None:
    whole = record(home)
    with Catalog(home) as catalog:
        catalog.add(whole)
        catalog.sets.collect("monday", [whole.id])
        catalog.sets.freeze("paper", [whole.id])
        copy_id = catalog.blur(look(home, whole.id))
        assert [use.id for use in catalog.sets.takes("monday")] == [copy_id]
        assert [use.id for use in catalog.sets.takes("paper")] == [whole.id], "what is frozen stays"
        assert catalog.undo() == "Undone: blurring of faces in 1 take"
        assert [record.id for record in catalog.episodes()] == [whole.id] and catalog.episode(copy_id).trashed
        assert [use.id for use in catalog.sets.takes("monday")] == [whole.id]
        with Episode.open(home, whole.id) as take:
            assert take.verify() == [] and take.manifest.content_hash == whole.content_hash
        catalog.redo()
        assert [record.id for record in catalog.episodes()] == [copy_id]
        catalog.undo()
        assert catalog.purge([copy_id], confirm=True).ids == (copy_id,)


def test_what_is_labelled_meanwhile_is_kept_and_what_was_judged_of_the_pictures_is_not(home: Home) -> None:
    quality = {"version": 1, "flags": ["dark"], "figures": {}}
    whole = record(home, extra={"tags": ["a", "b"], "model": "m", "trial": {"id": "x"}, "quality": quality})
    with Catalog(home) as catalog:
        catalog.add(whole)
        found = look(home, whole.id)
        changed: list[int] = []

        def meanwhile(pictures: int) -> None:
            if not changed:
                catalog.label(whole.id, Outcome.FAILURE)
                catalog.note(whole.id, "who is that?")
                catalog.untag([whole.id], ["b"])
                catalog.trim(whole.id, Trim(0, 10**9))
            changed.append(pictures)

        copy = catalog.episode(catalog.blur(found, meanwhile))
        assert (copy.outcome, copy.notes, copy.tags, copy.trim) == ("failure", "who is that?", ("a",), Trim(0, 10**9))
        assert set(copy.extra) == {"tags", "model", "trim", "faces"}


def test_arrays_computed_from_the_pictures_are_removed(home: Home) -> None:
    whole, other = record(home), write_take(home, 0.5)
    paths = [derived_path(home, "pictures/8x8", manifest, "front") for manifest in (whole, other)]
    for path in paths:
        derived(path, lambda: np.zeros((2, 2), np.uint8))
    with Catalog(home) as catalog:
        catalog.blur(look(home, whole.id))
    assert [path.exists() for path in paths] == [False, True]


def test_an_archived_take_is_blurred_as_jpeg_and_can_then_be_cut(home: Home) -> None:
    whole = record(home, settings=EXACT)
    with Catalog(home) as catalog:
        catalog.add(whole)
        archive_take(home, whole.id, ArchiveSettings(sync=False))
        catalog.refresh([whole.id])
        copy_id = catalog.blur(look(home, whole.id))
        assert "archive" not in catalog.episode(copy_id).extra
        with Episode.open(home, copy_id) as copy:
            assert copy.verify() == [] and copy.manifest.layout[FRONT].codec is not None
            for index in (0, COUNT - 1):
                assert np.abs(copy.read(FRONT, index).astype(int) - table(240, 320)).mean() < 6
            for index in (FACE_FROM, FACE_TO):
                assert sharpness(face_of(copy.read(FRONT, index), index)) < 0.4 * sharpness(
                    face_of(painted(index), index)
                )
        assert len(split_take(home, copy_id, 10**9)) == 2
        catalog.purge([whole.id], confirm=True)
        assert not list((home.trash / "originals").iterdir()), "its first form shows the face, too"


def test_blurring_twice_keeps_telling_of_the_first_time(home: Home) -> None:
    whole = record(home)
    with Catalog(home) as catalog:
        first = catalog.blur(look(home, whole.id))
        manifest = Episode.open(home, first).manifest
        told = blurred_of(manifest.extra)
        assert told is not None
        again = FacesFound(first, manifest.content_hash, "other", 0, {FRONT: told.streams[FRONT][:1]})
        second = blurred_of(catalog.episode(catalog.blur(again)).extra)
    assert second is not None and (second.episode_id, second.detector) == (first, "other")
    assert second.streams[FRONT] == (*told.streams[FRONT], told.streams[FRONT][0])


def test_a_take_that_changed_is_looked_at_again(home: Home) -> None:
    whole = record(home)
    found = look(home, whole.id)
    with Catalog(home) as catalog:
        catalog.add(whole)

        def archived(_pictures: int) -> None:
            if not (home.trash / "originals").exists():
                archive_take(home, whole.id, ArchiveSettings(sync=False))

        with pytest.raises((StateError, CorruptTakeError)):
            catalog.blur(found, archived)
        catalog.refresh([whole.id])
        assert not list(home.trash.glob("*.zarr"))
        with pytest.raises(StateError, match="changed since"):
            catalog.blur(found)
        catalog.trash([whole.id])
        with pytest.raises(NotFoundError):
            catalog.blur(found)
    with Episode.open(home, whole.id, trashed=True) as take:
        assert take.verify() == []


class _StopError(Exception):
    pass


@pytest.mark.parametrize("how", ["stopped", "disk full"])
def test_whatever_ends_it_leaves_the_take_and_no_pieces(home: Home, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, done = record(home), []

    def tick(pictures: int) -> None:
        done.append(pictures)
        if how == "stopped" and len(done) == 30:
            raise _StopError

    def refuse(path: Path, data: bytes, *, sync: bool) -> None:
        if how == "disk full" and len(done) > 20:
            raise OSError(errno.ENOSPC, "No space left on device")
        path.write_bytes(data)

    found = look(home, whole.id)
    monkeypatch.setattr(copying, "replace_file", refuse)
    with Catalog(home) as catalog:
        with pytest.raises((_StopError, OSError)):
            catalog.blur(found, tick)
        assert [record.id for record in catalog.episodes(trashed=None)] == [whole.id] and catalog.undo() is None
    assert [path.name for path in home.episodes.iterdir()] == [f"{whole.id}.zarr"] and not list(home.trash.iterdir())
    assert examine(home, deep=True).clean


def test_a_manifest_from_elsewhere_may_say_anything(home: Home) -> None:
    for told in (None, 3, [], {}, {"streams": 3}, {"streams": {"a": 3}}):
        found = blurred_of({"faces": told})
        assert found is None or found.pictures == 0
    wild = blurred_of({"faces": {"of": 5, "streams": {"a": [[0, 2**31 - 1, 0, 0, 1, 1], "x", [1]]}}})
    assert wild is not None and wild.pictures == 2**31 and wild.episode_id == "5"
