"""Stopping a take costs the same after ten seconds and after ten minutes: nothing recorded is read again."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from storage.episode import Episode, EpisodeWriter, StoreSettings
from storage.layout import Home
from tests.storage.takes import info
from workbench.core.types import Frame, StreamSpec

CAMERAS = [StreamSpec(f"observation.images.c{number}", (12, 16, 3), "uint8", rate_hz=30.0) for number in range(4)]
VECTORS = [StreamSpec(f"numbers.v{number}", (14,), "float32", rate_hz=100.0) for number in range(4)]


def seal_after(home: Home, seconds: int) -> float:
    """Record that much of four cameras and four vectors as fast as possible; returns how long ``seal`` took."""
    writer = EpisodeWriter.create(home, info(), [*CAMERAS, *VECTORS], settings=StoreSettings(sync=False))
    picture, vector = np.zeros((12, 16, 3), np.uint8), np.zeros(14, np.float32)
    for tick in range(seconds * 100):
        t_ns = 1 + tick * 10_000_000
        for spec in VECTORS:
            writer.append(spec.name, Frame(tick, t_ns, t_ns, 0, vector))
        for spec in CAMERAS if tick % 10 < 3 else ():
            writer.append(spec.name, Frame(tick, t_ns, t_ns, 0, picture))
        if tick % 100 == 98:
            writer.flush()
    started = time.perf_counter()
    manifest = writer.seal()
    spent_s = time.perf_counter() - started
    assert manifest.counts[VECTORS[0].name] == seconds * 100 and manifest.rows >= seconds * 29
    with Episode.open(home, manifest.id) as episode:
        assert episode.verify() == []
    return spent_s


@pytest.mark.slow
def test_ten_minutes_are_sealed_as_quickly_as_ten_seconds(tmp_path: Path) -> None:
    home = Home.open(tmp_path)
    short_s, long_s = seal_after(home, 10), seal_after(home, 600)
    assert long_s < 0.3, f"{long_s * 1e3:.0f} ms for ten minutes, {short_s * 1e3:.0f} ms for ten seconds"


def test_sealing_reads_no_item_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures and numbers that are on disk already could as well be gone: their digests and times are known."""
    home = Home.open(tmp_path)
    writer = EpisodeWriter.create(home, info(), [CAMERAS[0], VECTORS[0]], settings=StoreSettings(sync=False))
    for tick in range(3000):
        t_ns = 1 + tick * 10_000_000
        writer.append(VECTORS[0].name, Frame(tick, t_ns, t_ns, 0, np.full(14, tick, np.float32)))
        writer.append(CAMERAS[0].name, Frame(tick, t_ns, t_ns, 0, np.full((12, 16, 3), tick % 250, np.uint8)))
        if tick == 2900:
            writer.flush()
    aside = []
    for name in (VECTORS[0].name, f"{VECTORS[0].name}.t_host_ns", CAMERAS[0].name):
        path = min((writer.folder / name).iterdir(), key=lambda path: int(path.name.split(".")[1]))
        aside.append((path, path.read_bytes()))
        path.unlink()
    manifest = writer.seal()
    for path, data in aside:
        (home.sealed(manifest.id) / path.relative_to(writer.folder)).write_bytes(data)
    with Episode.open(home, manifest.id) as episode:
        assert episode.verify() == [] and manifest.rows == 900
