from __future__ import annotations

import warnings

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import storage.zarr_jpeg  # noqa: F401  (tells zarr about our codec)
from storage.episode import Episode, EpisodeWriter, StoreSettings
from storage.layout import Home
from tests.storage.takes import DEPTH, EXACT, FRONT, SPECS, STATE, frame, info, item, write_take
from workbench.core.errors import NotFoundError, StateError, WorkbenchError
from workbench.core.types import Frame, Outcome, StreamSpec


def test_what_goes_in_comes_out(home: Home) -> None:
    manifest = write_take(home, 3.0)
    with Episode.open(home, manifest.id) as episode:
        assert episode.manifest == manifest
        assert manifest.outcome is Outcome.SUCCESS and manifest.sealed and manifest.rows == 30
        for spec in SPECS:
            for index in range(manifest.counts[spec.name]):
                np.testing.assert_array_equal(episode.read(spec.name, index), item(spec, index))
        assert episode.vectors(STATE.name).shape == (150, 14)
        device, host = episode.times(STATE.name)
        np.testing.assert_array_equal(device - host, 7)
        np.testing.assert_array_equal(host, np.arange(150) * 20_000_000)
        np.testing.assert_array_equal(episode.row_index(STATE.name), np.minimum(np.arange(30) * 5, 149))
        assert episode.verify() == []


@pytest.mark.parametrize("sync", [False, True])
def test_plain_zarr_reads_the_same(home: Home, sync: bool) -> None:
    manifest = write_take(home, 2.5, StoreSettings(rows_hz=10.0, sync=sync))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        group = zarr.open_group(str(home.sealed(manifest.id)), mode="r")
        names = set(group.array_keys())
    assert {spec.name for spec in SPECS} | {f"{DEPTH.name}.t_host_ns"} <= names
    assert group.attrs["task"] == "cube_to_plate"
    assert group[FRONT.name].metadata.shards == (10, 24, 32, 3) or group[FRONT.name].shards == (10, 24, 32, 3)
    with Episode.open(home, manifest.id) as episode:
        for spec in (FRONT, DEPTH):
            whole = group[spec.name][:]
            assert whole.shape == (25, *spec.shape)
            np.testing.assert_array_equal(whole, np.stack([episode.read(spec.name, k) for k in range(25)]))
        np.testing.assert_array_equal(group[STATE.name][:], episode.vectors(STATE.name))
        np.testing.assert_array_equal(group[f"{STATE.name}.t_device_ns"][:], episode.times(STATE.name)[0])
        np.testing.assert_array_equal(group["rows/t_host_ns"][:], episode.row_times())
        at = group["rows/index"].attrs["streams"].index(STATE.name)
        np.testing.assert_array_equal(group["rows/index"][:, at], episode.row_index(STATE.name))


def test_each_array_opens_alone_without_consolidated_metadata(home: Home) -> None:
    manifest = write_take(home, 1.0)
    array = zarr.open_array(str(home.sealed(manifest.id) / DEPTH.name), mode="r")
    np.testing.assert_array_equal(array[3], item(DEPTH, 3))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=30))
def test_gaps_are_recorded_and_never_closed(home: Home, steps: list[tuple[int, bool]]) -> None:
    writer = EpisodeWriter.create(home, info(), [DEPTH, STATE], settings=EXACT)
    sequence, expected, times = 0, [], []
    for kept, (gap, flush) in enumerate(steps):
        sequence += gap
        t_ns = sequence * 100_000_000
        writer.append(DEPTH.name, Frame(sequence, t_ns, t_ns, gap, item(DEPTH, sequence)))
        writer.append(STATE.name, frame(STATE, kept, t_ns=t_ns))
        expected += [(kept, gap)] if gap else []
        times.append((sequence, t_ns))
        sequence += 1
        if flush:
            writer.flush()
    manifest = writer.seal()
    assert manifest.gap_positions[DEPTH.name] == tuple(expected)
    assert manifest.gaps == {DEPTH.name: sum(gap for _, gap in expected), STATE.name: 0}
    with Episode.open(home, manifest.id) as episode:
        assert episode.manifest == manifest
        np.testing.assert_array_equal(episode.times(DEPTH.name)[1], [t_ns for _, t_ns in times])
        for index, (number, _) in enumerate(times):
            np.testing.assert_array_equal(episode.read(DEPTH.name, index), item(DEPTH, number))
        assert episode.verify() == []


def test_damage_is_noticed(home: Home) -> None:
    manifest = write_take(home, 2.0)
    for name in (DEPTH.name, STATE.name, f"{STATE.name}.t_device_ns"):
        path = next(path for path in (home.sealed(manifest.id) / name).iterdir() if path.name.startswith("c."))
        good = path.read_bytes()
        path.write_bytes(bytes([good[0] ^ 1]) + good[1:])
        with Episode.open(home, manifest.id) as episode:
            assert episode.verify() != []
        path.write_bytes(good)
    with Episode.open(home, manifest.id) as episode:
        assert episode.verify() == []


def test_same_content_same_hash_whatever_the_blocks(home: Home) -> None:
    plain = write_take(home, 1.5)
    writer = EpisodeWriter.create(home, info(task="another"), SPECS, settings=EXACT)
    for spec in reversed(SPECS):
        for index in range(round(1.5 * spec.rate_hz)):
            writer.append(spec.name, frame(spec, index))
            if index % 4 == 0:
                writer.flush()
    assert writer.seal(notes="other words").content_hash == plain.content_hash
    longer = write_take(home, 1.6)
    assert longer.content_hash != plain.content_hash


def test_wrong_items_and_closed_takes_are_refused(home: Home) -> None:
    writer = EpisodeWriter.create(home, info(), SPECS, settings=EXACT)
    with pytest.raises(NotFoundError, match="front"):
        writer.append("observation.images.fronk", frame(FRONT, 0))
    with pytest.raises(WorkbenchError, match="instead of"):
        writer.append(FRONT.name, frame(DEPTH, 0))
    assert writer.counts[FRONT.name] == 0
    writer.append(FRONT.name, frame(FRONT, 0))
    writer.seal()
    with pytest.raises(StateError):
        writer.append(FRONT.name, frame(FRONT, 1))
    with pytest.raises(StateError):
        writer.seal()


def test_discarded_takes_lie_in_the_trash_and_empty_ones_vanish(home: Home) -> None:
    writer = EpisodeWriter.create(home, info(), SPECS, settings=EXACT)
    writer.append(FRONT.name, frame(FRONT, 0))
    writer.discard()
    assert not list(home.episodes.iterdir())
    with Episode.open(home, writer.episode_id, trashed=True) as episode:
        np.testing.assert_array_equal(episode.read(FRONT.name, 0), item(FRONT, 0))
    empty = EpisodeWriter.create(home, info(), SPECS, settings=EXACT)
    empty.discard()
    assert not list(home.episodes.iterdir()) and len(list(home.trash.iterdir())) == 1


def test_unstorable_descriptions_are_refused_before_the_take(home: Home) -> None:
    for values in ({"extra": {"x": float("nan")}}, {"devices": {"x": object()}}, {"settings": {"x": {1, 2}}}):
        with pytest.raises(WorkbenchError):
            EpisodeWriter.create(home, info(**values), SPECS)
    for name in ("../escape", "a/b", "rows", ".hidden", "a..b", ""):
        with pytest.raises(WorkbenchError):
            EpisodeWriter.create(home, info(), [StreamSpec(name, (3,), "float32")])
    assert not list(home.episodes.iterdir())


def test_an_empty_take_can_be_sealed_and_read(home: Home) -> None:
    manifest = EpisodeWriter.create(home, info(), SPECS, settings=EXACT).seal()
    with Episode.open(home, manifest.id) as episode:
        assert episode.verify() == [] and len(episode.row_times()) == 0
        assert episode.vectors(STATE.name).shape == (0, 14)
        with pytest.raises(IndexError):
            episode.read(FRONT.name, 0)


def test_unknown_ids_name_the_nearest(home: Home) -> None:
    manifest = write_take(home, 0.5)
    wrong = manifest.id[:-1] + ("0" if manifest.id[-1] != "0" else "1")
    with pytest.raises(NotFoundError, match=manifest.id):
        Episode.open(home, wrong)
    with pytest.raises(NotFoundError):
        Episode.open(home, "../../etc")
