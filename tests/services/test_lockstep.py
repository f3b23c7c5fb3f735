"""Lockstep takes go through the real recorder and lose nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hardware.sim.tasks import DEMONSTRATED, TASKS
from storage.episode import Episode
from storage.evaluation import read_truth
from storage.layout import Home
from workbench.core.ring import runtime_directory
from workbench.core.types import POSE_AXES, ActionChunk
from workbench.services.driver import HANDOVER_S
from workbench.services.lockstep import LockstepJob, LockstepSession, LockstepSettings, paced
from workbench.services.lockstep_batch import run_batch

SMALL = LockstepSettings(front_px=(80, 60), wrist_px=(64, 48))


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LockstepSession]:
    made = LockstepSession(tmp_path_factory.mktemp("home"), SMALL)
    yield made
    made.close()


def test_a_demonstration_is_a_whole_take(session: LockstepSession) -> None:
    result = session.run(LockstepJob("demonstration", DEMONSTRATED[0], seed=3))
    assert result.success, result.message
    episode = Episode.open(session.home, result.episode_id)
    manifest = episode.manifest
    assert (
        manifest.sealed and manifest.clock == "lockstep" and manifest.instruction == TASKS[DEMONSTRATED[0]].instruction
    )
    assert sum(manifest.gaps.values()) == 0
    device, host = episode.times("observation.images.front")
    assert np.array_equal(device, host), "device time is simulated time"
    assert np.all(np.diff(device) == round(1e9 / SMALL.camera_hz)), "no exposure is missing"
    control, _ = episode.times("action")
    assert np.all(np.diff(control) == round(1e9 / SMALL.control_hz)), "no tick is missing"
    pictures = episode.row_index("observation.images.front")
    assert np.all(pictures >= 0) and np.array_equal(pictures, np.sort(pictures))
    assert episode.read("observation.images.front", 0).std() > 10, "the picture shows something"
    assert episode.verify() == []


def test_actions_lead_the_state(session: LockstepSession) -> None:
    """What is sent at a tick is where the arm is a little later, and stays within reach of it."""
    result = session.run(LockstepJob("demonstration", DEMONSTRATED[1], seed=4))
    episode = Episode.open(session.home, result.episode_id)
    state, action = episode.vectors("observation.state"), episode.vectors("action")
    axes = episode.manifest.streams["action"].axes
    x = [axes.index(name) for name in ("ee.x", "ee.y", "ee.z")]
    lag = 4
    now = np.linalg.norm(action[:-lag, x] - state[:-lag, x], axis=1).mean()
    later = np.linalg.norm(action[:-lag, x] - state[lag:, x], axis=1).mean()
    assert later < now < 0.05


def test_a_human_take_holds_cameras_only_and_hides_the_truth(session: LockstepSession) -> None:
    result = session.run(LockstepJob("human", DEMONSTRATED[0], seed=5))
    episode = Episode.open(session.home, result.episode_id)
    assert all(".images." in name or ".depth." in name for name in episode.manifest.streams)
    times, poses = read_truth(session.home, result.episode_id)
    assert len(times) == len(poses) >= 5 and np.shape(poses)[1] == 8
    inside = {path.name for path in (session.home.episodes / f"{result.episode_id}.zarr").iterdir()}
    assert not any("truth" in name or "hand" in name for name in inside)


def test_the_same_seed_gives_the_same_take(session: LockstepSession) -> None:
    takes = [session.run(LockstepJob("demonstration", DEMONSTRATED[2], seed=11)) for _ in range(2)]
    first, second = (Episode.open(session.home, take.episode_id).vectors("action") for take in takes)
    assert first.shape == second.shape and np.allclose(first, second, atol=1e-4)


class RecordedPlan:
    """Answers like a policy, with what a recorded take did next."""

    def __init__(self, actions: np.ndarray, axes: tuple[str, ...]) -> None:
        columns = [axes.index(name) for name in (*POSE_AXES, "gripper")]
        self._targets = actions[:, columns].astype(np.float64)
        self._start_ns = -1

    def call(self, verb: str, **values: int) -> ActionChunk | None:
        if verb != "act":
            return None
        now_ns = values["t_observed_ns"]
        self._start_ns = now_ns if self._start_ns < 0 else self._start_ns
        first = round((now_ns - self._start_ns) * SMALL.control_hz / 1e9)
        rows = first + round(SMALL.control_hz / 10) * np.arange(1, 9)
        return ActionChunk(now_ns, 0.1, self._targets[rows.clip(max=len(self._targets) - 1)], "recorded")


def test_a_recorded_takes_own_actions_do_the_task_again(
    session: LockstepSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chunks, blending, inverse kinematics and guard add no more than a few millimetres to what was sent before.

    But for the hand-over, in which the arm joins the plan softly from where it stands.
    """
    job = LockstepJob("demonstration", DEMONSTRATED[3], seed=31)
    first = Episode.open(session.home, session.run(job).episode_id)
    actions, axes = first.vectors("action"), first.manifest.streams["action"].axes
    monkeypatch.setattr(session, "_policy", lambda _job: RecordedPlan(actions, axes))
    again = session.run(LockstepJob("rollout", job.task, job.seed, model_id="recorded"))
    assert again.success, again.message
    sent = Episode.open(session.home, again.episode_id).vectors("action")
    x = [axes.index(name) for name in ("ee.x", "ee.y", "ee.z")]
    both, joined = min(len(sent), len(actions)), round(2 * HANDOVER_S * SMALL.control_hz)
    assert np.linalg.norm(sent[joined:both, x] - actions[joined:both, x], axis=1).mean() < 0.003


def test_an_unknown_task_is_a_result_with_a_sentence(session: LockstepSession) -> None:
    result = session.run(LockstepJob("demonstration", DEMONSTRATED[0] + "x", seed=1))
    assert not result.success and DEMONSTRATED[0] in result.message


def test_workers_share_the_batch_and_leave_nothing_behind(tmp_path: Path) -> None:
    before = set(runtime_directory().iterdir())
    steps: list[tuple[int, int]] = []
    jobs = [LockstepJob("demonstration", DEMONSTRATED[i % 2], seed=20 + i) for i in range(3)]
    results = run_batch(tmp_path, jobs, settings=SMALL, workers=2, progress=lambda done, of: steps.append((done, of)))
    assert [result.job for result in results] == jobs
    assert sum(result.success for result in results) >= 2
    assert steps[-1] == (3, 3)
    assert len(list(Home.open(tmp_path).episodes.glob("*.zarr"))) == sum(result.success for result in results)
    assert set(runtime_directory().iterdir()) <= before


@pytest.mark.parametrize(("head", "wanted_s", "asked_s"), [("rf", 0.2, 0.2), ("ntp", 0.2, 0.4), ("ntp", 0.6, 0.6)])
def test_the_token_head_executes_more_of_a_chunk(head: str, wanted_s: float, asked_s: float) -> None:
    assert paced(LockstepSettings(execute_s=wanted_s), head).execute_s == asked_s
