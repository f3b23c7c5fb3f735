"""The driver and a policy's chunks on the simulated arm: what is refused, what is waited for, what is written down."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.services.test_driver import HZ, Bench
from workbench.core.chunks import PLAYED, Blend, Played
from workbench.core.errors import WorkbenchError
from workbench.core.types import ActionChunk
from workbench.services.driver import Driver
from workbench.services.inference import Playback, playback_of
from workbench.services.settings import load_settings


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.close()


def ticks(bench: Bench) -> list[Played]:
    ring = bench.rings[PLAYED]
    frames = (ring.read(index) for index in range(max(0, ring.written - ring.slots + 1), ring.written))
    return [Played.from_vector(frame.data) for frame in frames if frame is not None]


def test_a_plan_far_out_of_the_workspace_means_hold_and_is_not_followed(bench: Bench) -> None:
    bench.driver.ready()
    chunk = bench.chunk()
    chunk.targets[4:, 1] = 2.0
    bench.driver.drive(lambda: chunk)
    place = bench.arm.read().pose.position_m.copy()
    bench.run(0.2)
    status = bench.driver.status()
    assert status.state == "holding" and "outside of its workspace" in status.reason
    assert status.playing["answers"] == {"out_of_reach": 1}
    assert np.linalg.norm(bench.arm.read().pose.position_m - place) < 0.004


def test_every_tick_says_which_chunk_it_executes(bench: Bench) -> None:
    bench.driver.ready()
    chunk = ActionChunk(
        *(getattr(bench.chunk(), name) for name in ("t_observed_ns", "step_s", "targets")), "m", 3.0, 42
    )
    bench.driver.drive(lambda: chunk)
    bench.run(0.4)
    said = [played for played in ticks(bench) if played.chunk >= 0]
    assert {played.chunk for played in said} == {42}
    assert np.diff([played.step for played in said]) == pytest.approx(1 / HZ / 0.1, abs=1e-3)
    assert said[-1].age_s == pytest.approx(0.38, abs=0.001) and said[-1].pace == 1.0
    epoch = said[-1].epoch
    bench.driver.hold("test")
    bench.run(0.1)
    assert ticks(bench)[-1].chunk == -1 and ticks(bench)[-1].epoch > epoch


def test_a_plan_with_the_epoch_before_a_hold_is_refused_whatever_its_time(bench: Bench) -> None:
    bench.driver.ready()
    bench.driver.drive(lambda: None)
    bench.run(0.02)
    before = ticks(bench)[-1].epoch
    bench.driver.hold("test")
    made = bench.chunk(0.2)
    stale = ActionChunk(made.t_observed_ns + 10**9, 0.1, made.targets, "m", 0.0, 7, before)
    bench.driver.drive(lambda: stale)
    place = bench.arm.read().pose.position_m.copy()
    bench.run(0.4)
    assert bench.driver.status().playing["answers"] == {"old": 1}
    assert np.linalg.norm(bench.arm.read().pose.position_m - place) < 0.004


def test_in_synchronous_mode_the_arm_waits_and_goes_on(bench: Bench) -> None:
    """Between two chunks it stands and keeps its state; only a policy that has gone silent makes it hold."""
    driver = bench.driver = Driver(
        bench.arm,
        bench.driver._limits,
        bench.rings,
        bench.clock,
        1 / HZ,
        playback=Playback(Blend.SYNCHRONOUS, execute_s=0.2),
    )
    driver.ready()
    chunk = [bench.chunk(0.04)]
    driver.drive(lambda: chunk[0])
    bench.run(0.2)
    start = bench.arm.read().pose.position_m.copy()
    bench.run(0.6)
    assert driver.state == "driving" and driver.status().playing["stalls"] > 20
    stood = bench.arm.read().pose.position_m
    assert np.linalg.norm(stood - start) < 0.01
    chunk[0] = bench.chunk(0.04)
    bench.run(0.3)
    assert bench.arm.read().pose.position_m[0] - stood[0] > 0.005
    bench.run(5.5)
    assert driver.state == "holding" and "run out" in driver.status().reason


def test_the_section_runtime_reaches_the_player(tmp_path: Path) -> None:
    (tmp_path / "station.toml").write_text('[runtime]\nblend = "switch"\nfade_s = 0.1\nexecute_s = 0.4\n')
    assert playback_of(load_settings(tmp_path).runtime) == Playback(Blend.SWITCH, 0.1, 0.4)
    (tmp_path / "station.toml").write_text('[runtime]\nblend = "smooth"\n')
    with pytest.raises(WorkbenchError, match=r"runtime\.blend"):
        load_settings(tmp_path)
