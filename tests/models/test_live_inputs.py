"""A recorded take, played through the live path, gives the network the inputs of training, bit for bit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from models.observing import Observer
from models.policy import Policy
from models.policy_metrics import as_seen_by
from models.policy_worker import Worker
from models.takes import load_takes
from storage.episode import Episode, EpisodeWriter, StoreSettings
from storage.layout import Home
from tests.models.conftest import Set, draw, make_story
from workbench.core.errors import WorkbenchError
from workbench.core.ring import Ring
from workbench.core.types import EpisodeKind, Frame, Outcome, StreamSpec, TakeInfo, arm_axes

MS = 1_000_000
STREAMS = ("observation.images.front", "observation.images.wrist", "observation.state")


def write_uneven_take(home: Home) -> str:
    """Cameras of 10 and 15 Hz that do not wait for each other, an arm of 50 Hz: each with its own jitter."""
    story, rng = make_story(77), np.random.default_rng(5)
    seconds = 0.1 * (len(story.path) - 1)
    axes = arm_axes(6)
    shape = draw(story, 0, (35, 35, 40), (150, 150, 155), "front").shape
    rates = {"observation.images.front": 10.0, "observation.images.wrist": 15.0}
    specs = [StreamSpec(name, shape, "uint8", rate_hz=rate) for name, rate in rates.items()]
    specs += [StreamSpec(name, (14,), "float32", "SI", 50.0, axes) for name in ("observation.state", "action")]
    info = TakeInfo(EpisodeKind.TELEOP, story.task, story.instruction)
    writer = EpisodeWriter.create(home, info, specs, settings=StoreSettings(rows_hz=10.0, sync=False))
    items = []
    for spec in specs:
        count = int(seconds * spec.rate_hz)
        times = 10**9 + (np.arange(count) / spec.rate_hz * 1e9).astype(np.int64) + rng.integers(0, 6 * MS, count)
        for number, t in enumerate(times):
            place = min((t - 10**9) / 1e8, len(story.path) - 1.001)
            k, share = int(place), place - int(place)
            if spec.name.startswith("observation.images"):
                data = draw(story, k, (35, 35, 40), (150, 150, 155), spec.name.rsplit(".", 1)[1])
            else:
                turn = 0.4 * np.sin(place)
                xyz = story.path[k] * (1 - share) + story.path[k + 1] * share
                data = np.concatenate([np.zeros(6), [story.gripper[k]], xyz, [np.cos(turn), 0, 0, np.sin(turn)]])
                data = data.astype(np.float32)
            items.append((int(t), spec.name, Frame(number, int(t), int(t), 0, data)))
    for _, name, frame in sorted(items, key=lambda item: item[:2]):
        writer.append(name, frame)
    return writer.seal(Outcome.SUCCESS).id


class Playback:
    """Puts a take's items into rings in the order in which they came."""

    def __init__(self, episode: Episode, folder: Path) -> None:
        specs = episode.manifest.streams
        self._episode = episode
        self.rings = {name: Ring.create(folder / name, specs[name], 16) for name in STREAMS}
        self._left = sorted((int(t), name, index) for name in STREAMS for index, t in enumerate(episode.times(name)[1]))

    def until(self, t_ns: int) -> None:
        """Up to the moment at which every stream has reached ``t_ns``, plus the item that reaches it."""
        while self._left and any(ring.newest_host_ns() < t_ns for ring in self.rings.values()):
            t, name, index = self._left.pop(0)
            self.rings[name].write(self._episode.read(name, index), sequence=index, t_device_ns=t, t_host_ns=t)

    def close(self) -> None:
        for ring in self.rings.values():
            ring.close()


@pytest.fixture(params=["uneven clocks", "one clock"])
def take(request: pytest.FixtureRequest, small_set: Set) -> str:
    return write_uneven_take(small_set.home) if request.param == "uneven clocks" else small_set.robot[0]


def test_the_live_path_gives_the_network_the_numbers_of_training(
    small_set: Set, small_policy: Path, take: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = Policy.load(small_policy)
    takes = load_takes(small_set.home, [take], policy.model.encoder, policy.cameras, policy.step_s)
    windows = as_seen_by(policy.model, takes)
    trained = windows.train.all("robot")
    assert len(trained) > 10
    got = []
    see = policy.model.ntp.see
    monkeypatch.setattr(policy.model.ntp, "see", lambda *inputs: (got.append(inputs), see(*inputs))[1])
    with Episode.open(small_set.home, take) as episode:
        live = Playback(episode, tmp_path)
        worker = Worker(policy, {name: str(ring.path) for name, ring in live.rings.items()}, None, "rf")
        worker.set_task(episode.manifest.instruction)
        got.clear()
        for row in trained.row_B.tolist():
            instant = int(takes[0].t_ns[row])
            live.until(instant)
            worker._act_on(instant)
        worker.close()
        live.close()
    assert len(got) == len(trained)
    for row, (features, state, said, robot) in enumerate(got):
        assert np.array_equal(features[0].numpy(), trained.features_BCKF[row].numpy())
        assert np.array_equal(state[0].numpy(), trained.state_BS[row].numpy())
        assert np.array_equal(said[0].numpy(), trained.text_BE[row].numpy())
        assert bool(robot[0]) == bool(trained.has_action_B[row])


def rings_of(folder: Path, cameras: dict[str, float]) -> dict[str, Ring]:
    specs = [StreamSpec(f"observation.images.{name}", (2, 2, 3), "uint8", rate_hz=hz) for name, hz in cameras.items()]
    specs.append(StreamSpec("observation.state", (14,), "float32", "SI", 100.0, arm_axes(6)))
    return {spec.name: Ring.create(folder / spec.name, spec, 32) for spec in specs}


def put(ring: Ring, t_ms: int, value: float) -> None:
    if ring.spec.dtype == "uint8":
        item = np.full(ring.spec.shape, value, np.uint8)
    else:
        item = np.array([*[0] * 6, 1.0, value, 0, 0, 1, 0, 0, 0], np.float32)
    ring.write(item, sequence=ring.written, t_device_ns=0, t_host_ns=t_ms * MS)


@pytest.fixture
def rings(tmp_path: Path) -> Iterator[dict[str, Ring]]:
    made = rings_of(tmp_path, {"front": 30.0, "wrist": 30.0})
    yield made
    for ring in made.values():
        ring.close()


def test_all_streams_are_taken_at_the_instant_of_the_slowest(rings: dict[str, Ring]) -> None:
    front, wrist, state = rings.values()
    for t_ms, value in ((100, 1), (133, 2), (166, 3)):
        put(front, t_ms, value)
    for t_ms, value in ((110, 5), (143, 6)):
        put(wrist, t_ms, value)
    for k in range(10):
        put(state, 100 + 10 * k, 0.01 * k)
    eyes = Observer(rings, ("front", "wrist"))
    instant = eyes.instant_ns()
    assert instant == 143 * MS
    seen = eyes.observe(instant)
    assert seen.pictures["wrist"][0, 0, 0] == 6
    assert seen.pictures["front"][0, 0, 0] == 2, "not the newest one, which shows a later moment"
    assert seen.pose[0] == pytest.approx(0.043, abs=1e-6), "between the states of 140 and 150 ms"
    assert seen.skew_s == pytest.approx(0.010)


def test_two_states_of_one_time_count_once(rings: dict[str, Ring]) -> None:
    for name, ring in rings.items():
        put(ring, 100, 7)
        if name == "observation.state":
            put(ring, 100, 9)
    assert Observer(rings, ("front", "wrist")).observe(100 * MS).pose[0] == 7


def test_a_camera_that_lags_too_far_behind_is_refused_by_name(rings: dict[str, Ring]) -> None:
    front, wrist, state = rings.values()
    put(front, 100, 1)
    for t_ms in (100, 300, 310):
        put(state, t_ms, 0.0)
    put(wrist, 300, 2)
    put(front, 310, 3)
    front_gone = Observer(rings, ("front", "wrist"))
    assert front_gone.instant_ns() == 300 * MS
    with pytest.raises(WorkbenchError, match="'front' is 200 ms older"):
        front_gone.observe(300 * MS)
    assert Observer(rings, ("front", "wrist"), skew_s=0.25).observe(300 * MS).skew_s == pytest.approx(0.2)


def test_a_hole_in_the_state_and_an_overwritten_past_are_refused(rings: dict[str, Ring]) -> None:
    front, wrist, state = rings.values()
    eyes = Observer(rings, ("front", "wrist"))
    with pytest.raises(WorkbenchError, match="nothing has arrived"):
        eyes.instant_ns()
    for ring in (front, wrist):
        put(ring, 500, 1)
    put(state, 100, 0.0)
    put(state, 900, 1.0)
    with pytest.raises(WorkbenchError, match="hole"):
        eyes.observe(500 * MS)
    for k in range(40):
        put(front, 600 + k, 1)
    with pytest.raises(WorkbenchError, match="no item of the time"):
        eyes.observe(500 * MS)
