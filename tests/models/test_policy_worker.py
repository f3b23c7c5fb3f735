"""The policy's process at real rings: single chunks, continuous inference, and what it says when one is missing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from models import policy_worker
from models.policy import Policy
from storage.episode import Episode
from tests.models.conftest import Set
from workbench.core.bus import Bus
from workbench.core.chunks import chunk_spec, unpack_chunk
from workbench.core.errors import WorkbenchError
from workbench.core.events import Failed
from workbench.core.ring import Ring
from workbench.core.types import ActionChunk
from workbench.services.hosting import Child, Host

STREAMS = ("observation.images.front", "observation.images.wrist", "observation.state")


@pytest.fixture
def folder(small_policy: Path) -> Path:
    return small_policy


@pytest.fixture
def rings(small_set: Set, tmp_path: Path) -> Iterator[dict[str, Ring]]:
    with Episode.open(small_set.home, small_set.robot[0]) as episode:
        made = {name: Ring.create(tmp_path / name, episode.manifest.streams[name], 4) for name in STREAMS}
    yield made
    for ring in made.values():
        ring.close()


def show(small_set: Set, rings: dict[str, Ring], row: int, t_ns: int) -> None:
    with Episode.open(small_set.home, small_set.robot[0]) as episode:
        for name, ring in rings.items():
            ring.write(episode.read(name, row), sequence=row, t_device_ns=t_ns, t_host_ns=t_ns)


def start(host: Host, folder: Path, rings: dict[str, Ring], chunks: Path | None = None, head: str = "rf") -> Child:
    paths = {name: str(ring.path) for name, ring in rings.items()}
    target = "models.policy_worker:main"
    return host.start(
        "policy", target, folder=str(folder), rings=paths, chunks=str(chunks) if chunks else None, head=head
    )


@pytest.mark.parametrize("head", ["rf", "ntp"])
def test_answers_from_the_newest_ring_contents(small_set: Set, folder: Path, rings: dict[str, Ring], head: str) -> None:
    with Host(threads=True) as host:
        policy = start(host, folder, rings, head=head)
        with pytest.raises(WorkbenchError, match="no task"):
            policy.call("act")
        policy.call("set_task", instruction="put the red cube on the white plate")
        with pytest.raises(WorkbenchError, match="nothing has arrived"):
            policy.call("act")
        for row in (0, 3):
            show(small_set, rings, row, t_ns=1000 + row)
        chunk: ActionChunk = policy.call("act")
        assert chunk.t_observed_ns == 1003
        assert policy.call("act", t_observed_ns=77).t_observed_ns == 77
        same = Policy.load(folder)
        pictures = {name: rings[f"observation.images.{name}"].latest().data for name in same.cameras}
        state = rings["observation.state"].latest().data
        axes = rings["observation.state"].spec.axes
        expected = same.act(pictures, state, axes, "put the red cube on the white plate", 1003, head=head)
        assert np.allclose(chunk.targets, expected.targets, atol=1e-5)
        stats = policy.call("stats")
        assert stats["head"] == head
        assert stats["latency_ms_p50"] > 0


@pytest.mark.parametrize(("head", "least_s"), [("rf", 0.09), ("ntp", 0.19)])
def test_thinks_on_at_its_own_pace_from_new_pictures_only(
    small_set: Set, folder: Path, rings: dict[str, Ring], tmp_path: Path, head: str, least_s: float
) -> None:
    """The token head executes more of a chunk before it is asked again."""
    out = Ring.create(tmp_path / "chunks", chunk_spec(4), 8)
    with Host(threads=True) as host:
        policy = start(host, folder, rings, chunks=out.path, head=head)
        policy.call("set_task", instruction="put the red cube on the white plate")
        begun = time.monotonic()
        policy.call("start")
        row = 0
        while out.written < 3 and time.monotonic() < begun + 20:
            show(small_set, rings, row % 8, t_ns=time.monotonic_ns())
            row += 1
            time.sleep(0.01)
        assert out.written >= 3
        assert time.monotonic() - begun > least_s, "one chunk per policy step, not one per picture"
        frame = out.latest()
        assert frame is not None
        chunk = unpack_chunk(frame, "x")
        assert chunk.targets.shape == (4, 8)
        assert chunk.step_s == 0.1
        time.sleep(0.25)
        settled = out.written
        time.sleep(0.25)
        assert out.written == settled, "no new picture, no new chunk"
        policy.call("pause")
        for _ in range(5):
            show(small_set, rings, 0, t_ns=time.monotonic_ns())
            time.sleep(0.05)
        assert out.written == settled
        assert policy.call("stats")["running"] is False
    out.close()


def test_a_failing_policy_says_so_once_and_writes_nothing(
    small_set: Set, folder: Path, rings: dict[str, Ring], tmp_path: Path
) -> None:
    out = Ring.create(tmp_path / "chunks", chunk_spec(4), 8)
    paths = {name: str(ring.path) for name, ring in rings.items()}
    worker = policy_worker.Worker(Policy.load(folder), paths, str(out.path), "rf")
    worker.set_task("put the red cube on the white plate")
    worker.start()
    broken = np.full(rings["observation.state"].spec.shape, np.nan, np.float32)
    for t_ns in (10**9, 2 * 10**9):
        for camera in ("front", "wrist"):
            picture = np.zeros(rings[f"observation.images.{camera}"].spec.shape, np.uint8)
            rings[f"observation.images.{camera}"].write(picture, sequence=0, t_device_ns=t_ns, t_host_ns=t_ns)
        rings["observation.state"].write(broken, sequence=9, t_device_ns=t_ns, t_host_ns=t_ns)
        said = worker.think()
        assert ("not finite" in said) == (t_ns == 10**9), "said once"
        assert out.written == 0
        time.sleep(worker.wait_s())
    show(small_set, rings, 1, t_ns=3 * 10**9)
    assert worker.think() == ""
    assert out.written == 1
    worker.close()
    out.close()


def test_a_missing_stream_ends_it_with_a_sentence(folder: Path, rings: dict[str, Ring]) -> None:
    bus = Bus()
    heard: list[Failed] = []
    bus.subscribe(Failed, heard.append)
    with Host(bus, threads=True) as host:
        policy = start(host, folder, {name: ring for name, ring in rings.items() if "wrist" not in name})
        end = time.monotonic() + 20
        while policy.alive and time.monotonic() < end:
            time.sleep(0.02)
    assert heard
    assert "observation.images.wrist" in heard[0].message
