"""Joining takes that follow one another: what was cut becomes bit for bit what it was."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.catalog import Catalog
from storage.doctor import examine
from storage.edits import change_manifest
from storage.episode import Episode, EpisodeWriter
from storage.layout import Home
from tests.storage.takes import EXACT, FRONT, SPECS, STATE, frame, info, rewrite_manifest, write_take
from workbench.core.errors import WorkbenchError
from workbench.core.types import Outcome


def write_from(home: Home, start_ns: int, count: int = 10, clock: str = "lockstep", **values: object) -> str:
    """A take whose items begin at a host time."""
    about = dataclasses.replace(info(**values), clock=clock)
    writer = EpisodeWriter.create(home, about, SPECS, settings=EXACT)
    for spec in SPECS:
        for index in range(round(count * spec.rate_hz / FRONT.rate_hz)):
            t_ns = start_ns + round(index * 1e9 / spec.rate_hz)
            writer.append(spec.name, frame(spec, index, t_ns=t_ns, gap=2 if index == 4 else 0))
    return writer.seal().id


@settings(max_examples=3, deadline=None)
@given(st.lists(st.integers(1, 8), min_size=1, max_size=3, unique=True), st.integers(0, 99))
def test_a_take_that_was_cut_and_merged_is_the_same_again(cuts: list[int], beside_ms: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Home.open(Path(folder))
        writer = EpisodeWriter.create(home, info(), SPECS, settings=EXACT)
        for spec in SPECS:
            for index in range(round(2 * spec.rate_hz)):
                writer.append(spec.name, frame(spec, index, gap=3 if index % 7 == 5 else 0))
        whole = writer.seal(Outcome.SUCCESS)
        with Catalog(home) as catalog:
            parts = [whole.id]
            for cut in sorted(cuts):
                parts += catalog.split(parts.pop(), (200 * cut + beside_ms) * 1_000_000)
            merged = catalog.merge(parts[::-1])
            with Episode.open(home, merged) as take:
                assert take.manifest.content_hash == whole.content_hash and take.verify() == []
                assert take.manifest.gap_positions == whole.gap_positions and take.manifest.outcome is Outcome.SUCCESS
                assert take.manifest.extra["merged_of"] == parts and "split_of" not in take.manifest.extra
            assert [record.id for record in catalog.episodes()] == [merged]
            assert catalog.undo() == f"Undone: merging of {len(parts)} takes"
            assert {record.id for record in catalog.episodes()} == set(parts)
        assert examine(home).clean


def test_the_pause_between_two_takes_stays_a_pause(home: Home) -> None:
    first, second = write_from(home, 0), write_from(home, 3_000_000_000)
    change_manifest(home.sealed(first), notes="left", extra={"tags": ["a"], "trim": {"start_ns": 0, "end_ns": 5}})
    change_manifest(home.sealed(second), outcome="failure", notes="right", extra={"tags": ["b"]})
    with Catalog(home) as catalog:
        merged = catalog.merge([second, first])
        record = catalog.episode(merged)
        assert record.tags == ("a", "b") and record.notes == "left\nright" and record.outcome is Outcome.FAILURE
        assert record.trim is None and record.duration_s == pytest.approx(3.9, abs=0.11)
    with Episode.open(home, merged) as take:
        host_ns = take.times(FRONT.name)[1]
        assert np.diff(host_ns).max() == pytest.approx(2.1e9) and len(host_ns) == 20
        assert take.manifest.gap_positions[FRONT.name] == ((4, 2), (14, 2))
        assert np.array_equal(take.vectors(STATE.name)[50:], take.vectors(STATE.name)[:50])


def test_takes_that_do_not_follow_one_another_are_refused_and_stay(home: Home) -> None:
    first, overlapping = write_from(home, 0), write_from(home, 500_000_000)
    late, other = write_from(home, 60_000_000_000), write_from(home, 1_200_000_000, task="another")
    archived = write_from(home, 1_100_000_000)
    change_manifest(home.sealed(archived), extra={"archive": {"original_hash": "0" * 64}})
    with Catalog(home) as catalog:
        for pair, words in (
            ((first, overlapping), "does not go on|overlap"),
            ((first, late), "does not go on"),
            ((first, other), "differ in task"),
            ((first, archived), "archived"),
            ((first, first), "one take alone"),
        ):
            with pytest.raises(WorkbenchError, match=words):
                catalog.merge(pair)
        assert len(catalog.episodes(trashed=None)) == 5 and catalog.undo() is None
        catalog.trash([first])
        with pytest.raises(WorkbenchError, match="in the trash"):
            catalog.merge([first, late])


def test_takes_of_two_days_are_refused_though_their_clocks_would_fit(home: Home) -> None:
    """After a restart the host's clock begins anew."""
    ids = []
    for start_ns, day in ((0, "2026-05-01"), (1_000_000_000, "2026-05-02")):
        ids.append(write_from(home, start_ns, clock="realtime"))

        rewrite_manifest(home.sealed(ids[-1]), lambda about, day=day: about.update(started_at=f"{day}T12:00:00+00:00"))
    with Catalog(home) as catalog, pytest.raises(WorkbenchError, match="does not go on"):
        catalog.merge(ids)


def test_a_merged_take_is_written_whole_or_not_at_all(home: Home) -> None:
    whole = write_take(home, 1.0)
    with Catalog(home) as catalog:
        parts = catalog.split(whole.id, 500_000_000)
        shard = next((home.sealed(parts[1]) / FRONT.name).glob("c*"))
        shard.write_bytes(shard.read_bytes()[:40])
        with pytest.raises(WorkbenchError):
            catalog.merge(parts)
        assert {record.id for record in catalog.episodes()} == set(parts)
    assert not list(home.episodes.glob("*.partial")) and len(list(home.trash.iterdir())) == 1
