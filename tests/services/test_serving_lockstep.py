"""A server's policy drives the lockstep station; when the server fails, the trial is kept, told and not counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hardware.sim.tasks import DEMONSTRATED
from storage.episode import Episode
from storage.layout import Home
from tests.services.serving_kit import mover, serving
from workbench.services.lockstep import LockstepJob, LockstepSession, LockstepSettings

SMALL = LockstepSettings(front_px=(80, 60), wrist_px=(64, 48), depth=False, max_s=2.0)


def test_a_servers_chunks_drive_and_its_failure_is_told(tmp_path: Path) -> None:
    failing: list[bool] = []
    think = mover()

    def sometimes(message: Any, state: dict[str, Any]) -> dict[str, Any]:
        if failing and state.get("asked", 0) >= failing_from + 3:
            raise RuntimeError("out of memory")
        return think(message, state)

    failing_from = 0
    with serving(sometimes) as server:
        session = LockstepSession(tmp_path, SMALL)
        try:
            job = LockstepJob("rollout", DEMONSTRATED[0], 1, server.url)
            driven = session.run(job)
            assert driven.episode_id and not driven.success and driven.latency_ms > 0
            failing_from = server.counts["answered"]
            failing.append(True)
            broken = session.run(job)
        finally:
            session.close()
    home = Home.open(tmp_path)
    with Episode.open(home, driven.episode_id) as take:
        x = take.vectors("observation.state")[:, list(take.manifest.streams["observation.state"].axes).index("ee.x")]
        assert x[-1] - x[0] == pytest.approx(0.03 * 2.0, abs=0.02), "3 cm/s for two seconds"
    assert broken.episode_id == "" and "out of memory" not in broken.message and "policy failed" in broken.message
    (kept,) = [path for path in home.episodes.glob("*.zarr") if driven.episode_id not in path.name]
    with Episode.open(home, kept.name.removesuffix(".zarr")) as take:
        assert take.manifest.outcome == "unlabelled" and "policy failed" in take.manifest.extra["ended_by"]
        assert take.verify() == []
