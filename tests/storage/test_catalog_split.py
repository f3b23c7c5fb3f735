"""Splitting and trimming: what the halves hold is what was recorded, item by item."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from storage import copying
from storage.catalog import Catalog
from storage.doctor import examine
from storage.episode import Episode, EpisodeWriter
from storage.layout import Home
from storage.marks import Trim, flags_of, kept_rows, quality_version, tags_of, trim_of
from tests.storage.takes import EXACT, SPECS, frame, info, write_take
from workbench.core.errors import WorkbenchError
from workbench.core.types import Outcome

FRONT = SPECS[0].name
STATE = SPECS[2].name


def gappy(home: Home) -> str:
    writer = EpisodeWriter.create(
        home, info(extra={"model": "m", "trial": {}, "quality": {"flags": ["x"]}}), SPECS, settings=EXACT
    )
    for spec in SPECS:
        for index in range(round(2 * spec.rate_hz)):
            writer.append(spec.name, frame(spec, index, gap=3 if index in (5, 10, 15) else 0))
    return writer.seal(Outcome.SUCCESS).id


@pytest.mark.parametrize("at_ns", [1_000_000_000, 730_000_001, 100_000_000])
def test_the_halves_hold_every_item_in_its_place(home: Home, at_ns: int) -> None:
    whole_id = gappy(home)
    with Catalog(home) as catalog:
        halves = catalog.split(whole_id, at_ns)
        assert {record.id for record in catalog.episodes()} == set(halves)
        assert catalog.episode(whole_id).trashed
        with (
            Episode.open(home, whole_id, trashed=True) as whole,
            Episode.open(home, halves[0]) as a,
            Episode.open(home, halves[1]) as b,
        ):
            assert a.verify() == b.verify() == []
            for spec in SPECS:
                times, first, second = whole.times(spec.name), a.times(spec.name), b.times(spec.name)
                cut = int(np.count_nonzero(times[1] < at_ns))
                again = len(second[1]) - (len(times[1]) - cut)  # vectors: the newest item before the cut
                assert again in ((0, 1) if spec.name == STATE else (0,))
                for clock in (0, 1):
                    assert np.array_equal(first[clock], times[clock][:cut])
                    assert np.array_equal(second[clock], times[clock][cut - again :])
                for part, offset in ((a, 0), (b, cut - again)):
                    for index in range(part.manifest.counts[spec.name]):
                        assert np.array_equal(part.read(spec.name, index), whole.read(spec.name, offset + index))
                assert a.manifest.gaps[spec.name] + b.manifest.gaps[spec.name] == whole.manifest.gaps[spec.name]
            assert (b.row_index(STATE) >= 0).all() and (b.row_index(FRONT) >= 0).all()
            assert len(a.row_times()) + len(b.row_times()) in (len(whole.row_times()), len(whole.row_times()) - 1)
            for number, part in enumerate((a, b), 1):
                assert part.manifest.extra == {"model": "m", "split_of": whole_id, "split_part": number}
            assert a.manifest.started_at == whole.manifest.started_at < b.manifest.started_at
        assert catalog.undo() == "Undone: splitting of 1 take"
        assert [record.id for record in catalog.episodes()] == [whole_id]
        with Episode.open(home, whole_id) as whole:
            assert whole.verify() == []
        assert catalog.redo() and {record.id for record in catalog.episodes()} == set(halves)
    assert examine(home).clean


def test_a_half_is_a_take_for_any_zarr_reader(home: Home) -> None:
    whole = write_take(home, 1.0)
    with Catalog(home) as catalog:
        first, second = catalog.split(whole.id, 400_000_000)
    with Episode.open(home, second) as take:
        group = zarr.open_group(home.sealed(second), mode="r")
        assert np.array_equal(group[FRONT][0], take.read(FRONT, 0))
        assert group[FRONT].shape[0] == 6 == take.manifest.counts[FRONT]
    assert first < second


@pytest.mark.parametrize("at_ns", [-5, 0, 10**12])
def test_a_cut_outside_the_take_is_refused(home: Home, at_ns: int) -> None:
    whole = write_take(home, 0.5)
    with Catalog(home) as catalog:
        catalog.add(whole)
        with pytest.raises(WorkbenchError, match="empty"):
            catalog.split(whole.id, at_ns)
        assert [record.id for record in catalog.episodes(trashed=None)] == [whole.id] and catalog.undo() is None


def test_a_full_disk_leaves_the_take_and_no_pieces(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = write_take(home, 0.5)
    calls: list[Path] = []

    def refuse(path: Path, data: bytes, *, sync: bool) -> None:
        calls.append(path)
        if len(calls) > 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        path.write_bytes(data)

    monkeypatch.setattr(copying, "replace_file", refuse)
    with Catalog(home) as catalog:
        with pytest.raises(OSError, match="No space"):
            catalog.split(whole.id, 200_000_000)
        assert [record.id for record in catalog.episodes(trashed=None)] == [whole.id]
    assert [path.name for path in home.episodes.iterdir()] == [f"{whole.id}.zarr"] and not list(home.trash.iterdir())


def test_trim_marks_are_clipped_to_the_halves(home: Home) -> None:
    whole = write_take(home, 1.0)
    with Catalog(home) as catalog:
        catalog.trim(whole.id, Trim(100_000_000, 300_000_000))
        first, second = catalog.split(whole.id, 250_000_000)
        assert catalog.episode(first).trim == Trim(100_000_000, 249_999_999)
        assert catalog.episode(second).trim == Trim(250_000_000, 300_000_000)
        third, fourth = catalog.split(second, 600_000_000)
        assert catalog.episode(third).trim == Trim(250_000_000, 300_000_000) and catalog.episode(fourth).trim is None


def test_trimming_changes_no_content_and_refuses_to_leave_nothing(home: Home) -> None:
    whole = write_take(home, 1.0)
    with Catalog(home) as catalog:
        with pytest.raises(WorkbenchError, match="nothing of the take"):
            catalog.trim(whole.id, Trim(10**12, 10**13))
        catalog.trim(whole.id, Trim(200_000_000, 500_000_000))
        record = catalog.episode(whole.id)
        assert record.used_s == pytest.approx(0.3) and record.duration_s == whole.duration_s
        with Episode.open(home, whole.id) as take:
            assert take.verify() == []
            assert kept_rows(take.row_times(), take.manifest.extra) == slice(2, 6)
        catalog.trim(whole.id, None)
        assert catalog.episode(whole.id).extra == {}


@given(
    st.lists(st.integers(-(10**12), 10**12), max_size=30).map(sorted),
    st.integers(-(2**63), 2**63 - 1),
    st.integers(0, 10**12),
)
def test_kept_rows_are_those_between_the_marks(times: list[int], start: int, length: int) -> None:
    end = min(start + length, 2**63 - 1)
    kept = kept_rows(np.array(times, np.int64), {"trim": {"start_ns": start, "end_ns": end}})
    assert times[kept] == [at for at in times if start <= at <= end]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["start_ns", "end_ns", "flags", "version", "a"]), inner, max_size=3)
        ),
        max_leaves=6,
    )
)
def test_remarks_of_any_shape_are_read_without_fail(value: object) -> None:
    extra = {"tags": value, "trim": value, "quality": value}
    assert all(isinstance(tag, str) for tag in (*tags_of(extra), *flags_of(extra)))
    trim, version = trim_of(extra), quality_version(extra)
    assert trim is None or trim.start_ns <= trim.end_ns
    assert version is None or version >= 0
    assert kept_rows(np.arange(5), extra).stop <= 5
