"""What may be replayed and what is refused, and how a recorded motion steers an arm that follows, lags or is stuck."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware.motion import Motion
from hardware.sim.limits import DEFAULT_LIMITS
from hardware.teleop import TELEOPS
from hardware.teleops.recorded import AWAY_RAD, AWAY_TICKS, LAG_S, RAMP_RAD_S
from storage.episode import EpisodeWriter, StoreSettings
from storage.layout import Home
from tests.hardware.planar import START_RAD, state
from workbench.core.errors import DeviceError, WorkbenchError
from workbench.core.types import EpisodeKind, Frame, Pose, StreamSpec, TakeInfo, arm_axes, arm_vector
from workbench.services.replay_plan import ReplayRequest, plan_replay
from workbench.services.settings import LimitSettings, simulated_settings

PERIOD_S, HZ, SECONDS = 0.01, 50.0, 4.0
SETTINGS = simulated_settings()
OTHER_ARM = SETTINGS.model_copy(update={"arm": SETTINGS.arm.model_copy(update={"kind": "ur"})})


def write_take(home: Home, *, place_m=(0.45, 0.0, 0.3), settings=SETTINGS, hole_s=0.0, extra=None, joints=6):
    """A swing of the first joint; state and command are alike."""
    axes = arm_axes(joints)
    specs = [StreamSpec(name, (joints + 8,), "float32", "SI", HZ, axes) for name in ("observation.state", "action")]
    plain = settings.plain() if settings else {}
    info = TakeInfo(EpisodeKind.TELEOP, "red_cube_to_white_plate", "do it", settings=plain, extra=extra or {})
    writer = EpisodeWriter.create(home, info, specs, settings=StoreSettings(sync=False))
    for k in range(round(SECONDS * HZ)):
        t_s = k / HZ + (hole_s if k > 60 else 0.0)
        place = np.array([0.3 * np.sin(2.0 * t_s), *np.zeros(joints - 1)])
        item = arm_vector(place, 0.5, Pose(np.array(place_m), np.array([0.0, 1.0, 0.0, 0.0])))
        for spec in specs:
            writer.append(spec.name, Frame(k, round(t_s * 1e9), 10**12 + round(t_s * 1e9), 0, item))
    return writer.seal().id


def plan(home: Home, episode_id: str, settings=SETTINGS, **asked):
    return plan_replay(home, settings, ReplayRequest(episode_id, **asked))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.open(tmp_path)


def test_the_asked_part_at_the_asked_speed(home: Home) -> None:
    whole = plan(home, write_take(home))
    assert whole.motion.duration_s == pytest.approx(SECONDS - 1 / HZ)
    part = plan(home, whole.request.episode_id, speed=0.5, from_s=1.0, to_s=3.0)
    assert part.motion.duration_s == pytest.approx(4.0)
    joints, gripper = part.motion.at(1.0)
    assert joints[0] == pytest.approx(0.3 * np.sin(2.0 * 1.5), abs=1e-5) and gripper == 0.5
    assert part.measured is not None and np.allclose(part.measured.joints_rad, part.motion.joints_rad)
    assert part.extra() == {"replay_of": whole.request.episode_id,
                            "replay": {"stream": "action", "speed": 0.5, "from_s": 1.0, "to_s": 3.0}}  # fmt: skip


def test_trim_marks_count_and_seconds_count_from_them(home: Home) -> None:
    marks = {"trim": {"start_ns": 10**12 + 10**9, "end_ns": 10**12 + 3 * 10**9}, "seed": 7}
    found = plan(home, write_take(home, extra=marks), from_s=0.5)
    assert found.motion.duration_s == pytest.approx(1.5) and found.seed == 7
    assert found.motion.at(0.0)[0][0] == pytest.approx(0.3 * np.sin(3.0), abs=1e-5)


def limited(**changes):
    return SETTINGS.model_copy(update={"limits": LimitSettings(**{**SETTINGS.limits.model_dump(), **changes})})


@pytest.mark.parametrize(
    ("take", "settings", "asked", "words"),
    [
        ({}, SETTINGS, {"speed": 2.0}, "not between"),
        ({}, SETTINGS, {"stream": "action.wanted"}, "cannot be replayed"),
        ({}, SETTINGS, {"from_s": 9.0}, "empty"),
        ({}, SETTINGS, {"from_s": 2.0, "to_s": 1.0}, "ends before it begins"),
        ({}, SETTINGS.model_copy(update={"limits": None}), {}, "limits"),
        ({}, limited(joint_speed_rad_s=(0.3, *DEFAULT_LIMITS.joint_speed_rad_s[1:])), {}, r"--speed 0.5"),
        ({}, limited(joint_speed_rad_s=(0.1, *DEFAULT_LIMITS.joint_speed_rad_s[1:])), {}, "another take"),
        ({}, limited(joint_min_rad=(-0.1, *DEFAULT_LIMITS.joint_min_rad[1:])), {}, "joint 1 0.20 rad beyond"),
        ({"place_m": (0.45, 0.0, -0.2)}, SETTINGS, {}, "workspace"),
        ({"settings": None}, SETTINGS, {}, "not known with which arm"),
        ({"settings": OTHER_ARM}, SETTINGS, {}, "kind 'ur'"),
        ({"joints": 7}, SETTINGS, {}, "7 joints"),
        ({"hole_s": 0.8}, SETTINGS, {}, "hole of 0.8 s after 1.2 s"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_a_sentence(home: Home, take, settings, asked, words) -> None:
    with pytest.raises(WorkbenchError, match=words):
        plan(home, write_take(home, **take), settings, **asked)


def test_slower_than_the_limit_asks_for_is_accepted(home: Home) -> None:
    slow = limited(joint_speed_rad_s=(0.3, *DEFAULT_LIMITS.joint_speed_rad_s[1:]))
    assert plan(home, write_take(home), slow, speed=0.5).motion.fastest_rad_s()[0] <= 0.3 * 1.02


@given(st.lists(st.floats(0.001, 0.5), min_size=2, max_size=40), st.floats(-1.0, 40.0))
def test_a_motion_never_leaves_what_was_recorded(steps, t_s):
    rng = np.random.default_rng(len(steps))
    times = np.concatenate([[0.0], np.cumsum(steps)])
    motion = Motion(times, rng.normal(size=(len(times), 3)), rng.uniform(size=len(times)))
    joints, gripper = motion.at(t_s)
    high = min(max(int(np.searchsorted(times, t_s)), 1), len(times) - 1)
    pair = motion.joints_rad[high - 1 : high + 1]
    assert np.all(joints >= pair.min(axis=0) - 1e-9) and np.all(joints <= pair.max(axis=0) + 1e-9)
    assert 0.0 <= gripper <= 1.0


def device_of(tmp_path: Path, motion: Motion):
    motion.save(tmp_path / "m.npz")
    device = TELEOPS.build("recorded", path=str(tmp_path / "m.npz"))
    device.open()
    return device


def swing(start=START_RAD, seconds=2.0):
    t_s = np.linspace(0.0, seconds, 201)
    joints = np.tile(start, (201, 1))
    joints[:, 0] += 0.4 * np.sin(3.0 * t_s)
    return Motion(t_s, joints, np.full(201, 0.5))


def follow(device, arm, ticks=1500, first_ns=10**9):
    """Ticks until the device is done; ``arm(wanted)`` returns where the arm is. Wishes, and the phase of each."""
    wishes, phases, where = [], [], np.array(START_RAD, float)
    for tick in range(ticks):
        now_ns = first_ns + tick * round(PERIOD_S * 1e9)
        action = device.read(state(where, now_ns, 0.5), now_ns, PERIOD_S)
        if device.done:
            assert action is None
            break
        wishes.append(action.joints_rad)
        phases.append(device.facts["phase"])
        where = arm(action.joints_rad)
    return np.array(wishes), phases


def test_it_goes_to_the_beginning_slowly_and_then_keeps_the_takes_own_time(tmp_path: Path) -> None:
    motion = swing(START_RAD + 0.6)
    device = device_of(tmp_path, motion)
    wishes, phases = follow(device, lambda wanted: wanted)
    assert (
        device.done
        and device.facts["problem"] == ""
        and list(dict.fromkeys(phases))[:3] == ["approach", "settle", "play"]
    )
    ramp = wishes[: phases.index("settle")]
    assert np.abs(np.diff(ramp, axis=0)).max() <= RAMP_RAD_S * PERIOD_S + 1e-9
    first = (device.facts["started_ns"] - 10**9) // 10**7
    for tick in (50, 100, 150):
        np.testing.assert_allclose(wishes[first + tick], motion.at(tick * PERIOD_S)[0], atol=0.4 * 3.0 * PERIOD_S)
    assert device.facts["t_s"] == pytest.approx(motion.duration_s)


def test_a_healthy_lag_is_no_obstacle(tmp_path: Path) -> None:
    device, sent = device_of(tmp_path, swing()), []

    def lagging(wanted):
        sent.append(wanted)
        return sent[max(0, len(sent) - 16)]  # 150 ms behind, at up to 1.2 rad/s: 0.18 rad

    follow(device, lagging)
    assert device.facts["problem"] == "" and device.done


def test_an_arm_that_is_stuck_ends_it_and_is_not_pushed_any_further(tmp_path: Path) -> None:
    t_s = np.linspace(0.0, 2.0, 201)
    wide = np.tile(START_RAD, (201, 1)) + np.outer(1.2 * np.sin(t_s), [1.0, 0.0, 0.0])
    device = device_of(tmp_path, Motion(t_s, wide, np.full(201, 0.5)))
    stuck = START_RAD + np.array([0.15, 0.0, 0.0])
    wishes, _ = follow(device, lambda wanted: np.minimum(wanted, stuck))
    assert device.done and "does not follow" in device.facts["problem"] and "aborted" in device.words
    most_rad = AWAY_RAD + 1.2 * (LAG_S + (AWAY_TICKS + 1) * PERIOD_S)
    assert (wishes - stuck)[:, 0].max() < most_rad < 0.55, "the take goes on to 1.05 rad beyond"
    np.testing.assert_allclose(wishes[-1], stuck)
    assert device.read(state(stuck, 10**12, 0.5), 10**12, PERIOD_S) is None


def test_a_pause_of_the_loop_is_not_caught_up(tmp_path: Path) -> None:
    device = device_of(tmp_path, swing())
    wishes, _ = follow(device, lambda wanted: wanted, ticks=100)
    assert device.facts["phase"] == "play"
    late_ns = 10**9 + 10**9 + 600_000_000
    action = device.read(state(wishes[-1], late_ns, 0.5), late_ns, PERIOD_S)
    assert np.abs(action.joints_rad - wishes[-1]).max() <= 0.4 * 3.0 * 3 * PERIOD_S + 1e-9


def test_a_file_that_is_no_motion_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_bytes(b"PK\x03\x04 nonsense")
    for path in ("", str(tmp_path / "x.npz"), str(tmp_path / "none")):
        with pytest.raises(DeviceError):
            TELEOPS.build("recorded", path=path).open()
    good = swing()
    with pytest.raises(WorkbenchError, match="finite"):
        replace(good, gripper=np.full(201, np.nan))
