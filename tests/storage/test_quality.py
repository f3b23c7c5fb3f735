"""Known faults put into real takes are found, at their true size, and healthy takes have none."""

from __future__ import annotations

import json
import math
import os
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.episode import Episode, EpisodeWriter, StoreSettings
from storage.layout import Home
from storage.quality import VERSION, Flag, Quality, Reference, Thresholds, assess, assess_at, is_current
from storage.quality_judge import judge
from storage.quality_motion import even
from tests.storage.signals import ACTION, DEPTH, FRONT, START_NS, STATE, Scene, record, vector
from workbench.core.errors import NotFoundError
from workbench.core.types import POSE_AXES, EpisodeKind, Frame, StreamSpec, TakeInfo

FRONT_KEY, STATE_KEY = f"{FRONT.name}/", f"{STATE.name}/"


def found(home: Home, scene: Scene, **values: object) -> Quality:
    with record(home, scene) as episode:
        return assess(episode, **values)


def sentence(quality: Quality, flag: Flag) -> str:
    (text,) = [remark.sentence for remark in quality.remarks if remark.flag is flag]
    return text


def test_a_healthy_take_has_true_figures_and_no_flags(home):
    quality = found(home, Scene(), reference=Reference((5.8, 6.1, 6.0, 6.2, 5.9)))
    assert quality.remarks == ()
    figures = quality.figures
    assert figures[FRONT_KEY + "rate_hz"] == pytest.approx(30, rel=1e-3)
    assert figures[STATE_KEY + "rate_hz"] == pytest.approx(100, rel=1e-3)
    assert figures[FRONT_KEY + "gaps"] == figures[FRONT_KEY + "missing"] == 0
    assert figures[FRONT_KEY + "drift_ms"] == pytest.approx(0, abs=1e-6)
    assert figures["coverage"] == 1.0 and figures["still_share"] == 0.0
    assert figures["lag_s"] == pytest.approx(0, abs=1e-4)
    assert figures["travel_m"] == pytest.approx(0.1 * math.pi * 6, rel=0.02)
    # A circle of radius r at angular speed w has a jerk of r * w^3.
    assert figures["jerk_m_s3"] == pytest.approx(0.1 * math.pi**3, rel=0.1)
    assert abs(figures["length_z"]) < 1


def test_missing_items_are_counted(home):
    lost = set(range(60, 72)) | {100, 120}
    quality = found(home, Scene(keep=lambda name, index: name != FRONT.name or index not in lost))
    assert quality.figures[FRONT_KEY + "gaps"] == 3 and quality.figures[FRONT_KEY + "missing"] == 14
    assert quality.figures[FRONT_KEY + "longest_gap_s"] == pytest.approx(13 / 30, rel=1e-6)
    assert Flag.GAPS in quality.flags and "camera 'front' misses 14 of 180" in sentence(quality, Flag.GAPS)


def test_silence_that_the_device_did_not_count_is_a_gap_too(home):
    quality = found(home, Scene(arrives=lambda name, t: t + (0.6 if name == FRONT.name and t > 3 else 0.0)))
    assert quality.figures[FRONT_KEY + "missing"] == 0 and "silent for 0.63 s" in sentence(quality, Flag.GAPS)


def test_a_slow_camera_is_flagged_with_both_rates(home):
    with record(home, Scene(rate=0.71), (FRONT, STATE)) as episode:
        quality = assess(episode)
    assert quality.figures[FRONT_KEY + "rate_hz"] == pytest.approx(21.3, rel=0.01)
    texts = [remark.sentence for remark in quality.remarks if remark.flag is Flag.SLOW]
    assert "camera 'front' ran at 21.3 instead of 30 Hz" in texts


def test_jitter(home):
    rng = np.random.default_rng(0)
    shaken = found(home, Scene(arrives=lambda name, t: t + (rng.choice([0, 0.03], p=[0.9, 0.1]) if t else 0)))
    assert Flag.JITTER in shaken.flags and Flag.SLOW not in shaken.flags
    assert shaken.figures[FRONT_KEY + "interval_p99_ms"] == pytest.approx(63.3, abs=4)


@pytest.mark.parametrize("ppm", [0.0, 3000.0, -5000.0])
def test_clock_offset_and_drift_despite_late_arrivals(home, ppm):
    rng = np.random.default_rng(1)
    scene = Scene(
        device=lambda name, t: 50.0 + t / (1 + ppm * 1e-6),
        arrives=lambda name, t: t + abs(rng.normal(0, 0.001)) + (0.05 if rng.random() < 0.05 else 0.0),
    )
    quality = found(home, scene)
    assert quality.figures[FRONT_KEY + "drift_ppm"] == pytest.approx(ppm, abs=150)
    assert quality.figures[FRONT_KEY + "offset_ms"] == pytest.approx(-50_000 + ppm * 3e-3, abs=5)
    assert (Flag.CLOCK_DRIFT in quality.flags) == (ppm != 0)


@pytest.mark.parametrize("late_s", [0.07, 0.123, 0.4])
def test_the_lag_of_the_arm_behind_its_commands(home, late_s):
    quality = found(home, Scene(late_s=late_s, moves=lambda t: t + 0.3 * math.sin(2.1 * t)))
    assert quality.figures["lag_s"] == pytest.approx(late_s, abs=0.003)
    assert (Flag.LAG in quality.flags) == (late_s > 0.25)


def test_lag_is_found_in_the_tools_place_where_no_joints_are_recorded(home):
    axes = tuple(f"left.{name}" for name in ("gripper", *POSE_AXES))
    specs = [replace(spec, shape=(8,), axes=axes, rate_hz=30.0) for spec in (STATE, ACTION)]
    writer = EpisodeWriter.create(home, TakeInfo(EpisodeKind.IMPORTED, "t", "t"), specs)
    for index in range(200):
        for spec in specs:
            t = index / 30 - (0.1 if spec.name == STATE.name else 0.0)
            writer.append(spec.name, Frame(index, 0, index * 33_333_333, 0, vector(Scene(), t)[6:]))
    with Episode.open(home, writer.seal().id) as episode:
        figures = assess(episode).figures
    assert figures["lag_s"] == pytest.approx(0.1, abs=0.005) and figures["travel_m"] > 1


def test_no_lag_is_claimed_where_nothing_resembles(home):
    rng = np.random.default_rng(2)
    scene = Scene()
    writer = EpisodeWriter.create(home, TakeInfo(EpisodeKind.TELEOP, "t", "t"), (STATE, ACTION))
    for index in range(400):
        for spec in (STATE, ACTION):
            t_ns = index * 10_000_000
            writer.append(spec.name, Frame(index, t_ns, t_ns, 0, rng.normal(size=14).astype(np.float32)))
    with Episode.open(home, writer.seal().id) as episode:
        assert assess(episode).figures["lag_s"] is None
    assert scene.late_s == 0


def test_a_frozen_camera_is_told_from_a_still_scene(home):
    frozen = found(home, Scene(shown=lambda t: t if t < 2 else (2.0 if t < 3.5 else t)))
    assert frozen.figures[FRONT_KEY + "frozen_s"] == pytest.approx(1.5, abs=0.25)
    assert frozen.figures[FRONT_KEY + "frozen_travel_m"] == pytest.approx(1.5 * 0.1 * math.pi, rel=0.2)
    assert Flag.FROZEN in frozen.flags and "while the tool moved" in sentence(frozen, Flag.FROZEN)
    still = found(home, Scene(moves=lambda t: min(t, 1.0)))
    assert Flag.FROZEN not in still.flags and still.figures[FRONT_KEY + "frozen_s"] == 0.0


def test_a_frozen_camera_without_an_arm(home):
    scene = Scene(seconds=9.0, kind=EpisodeKind.HUMAN, shown=lambda t: min(t, 2.0))
    with record(home, scene, (FRONT,)) as episode:
        quality = assess(episode)
    assert "showed one picture for" in sentence(quality, Flag.FROZEN)
    assert quality.figures["idle_tail_s"] == pytest.approx(7.0, abs=0.3)


@pytest.mark.parametrize(("light", "flag"), [(0.02, Flag.UNDER_EXPOSED), (4.0, Flag.OVER_EXPOSED)])
def test_exposure(home, light, flag):
    assert flag in found(home, Scene(seconds=2, light=light)).flags


def test_idleness_at_both_ends(home):
    quality = found(home, Scene(seconds=9, moves=lambda t: min(max(t - 3, 0), 2.0)))
    assert quality.figures["idle_head_s"] == pytest.approx(3, abs=0.15)
    assert quality.figures["idle_tail_s"] == pytest.approx(4, abs=0.15)
    assert quality.figures["still_share"] == pytest.approx(7 / 9, abs=0.03)
    assert {Flag.IDLE_HEAD, Flag.IDLE_TAIL, Flag.MOSTLY_STILL} <= set(quality.flags)


def test_idleness_of_a_person_is_seen_in_the_pictures(home):
    scene = Scene(kind=EpisodeKind.HUMAN, moves=lambda t: min(max(t - 2.5, 0), 2.5))
    with record(home, scene, (FRONT,)) as episode:
        figures = assess(episode).figures
    assert figures["idle_head_s"] == pytest.approx(2.6, abs=0.3) and figures["idle_tail_s"] == pytest.approx(1, abs=0.3)


def test_a_take_without_motion_says_only_that(home):
    quality = found(home, Scene(moves=lambda t: 0.0))
    assert quality.flags == (Flag.NO_MOTION,)


def test_jerk_is_that_of_the_motion_and_not_of_the_noise(home):
    shaken = found(home, Scene(shake_m=0.004))
    assert Flag.JERKY in shaken.flags and "jerkily" in sentence(shaken, Flag.JERKY)
    assert shaken.figures["jerk_m_s3"] == pytest.approx(0.004 * (12 * math.pi) ** 3 / math.sqrt(2), rel=0.35)
    rng = np.random.default_rng(3)
    noisy = found(home, Scene(moves=lambda t: t + rng.normal(0, 1e-4)))  # a thirtieth of a millimetre at the tool
    assert noisy.figures["jerk_m_s3"] == pytest.approx(0.1 * math.pi**3, rel=0.2)


def test_short_takes_and_outliers_of_length(home):
    usual = Reference((6.0, 6.2, 5.9, 6.1, 6.0, 5.8))
    assert Flag.SHORT in found(home, Scene(seconds=0.6)).flags
    long = found(home, Scene(seconds=12), reference=usual)
    assert "much longer" in sentence(long, Flag.LENGTH_OUTLIER) and "usually 6.0 s" in sentence(
        long, Flag.LENGTH_OUTLIER
    )
    assert Flag.LENGTH_OUTLIER not in found(home, Scene(seconds=12), reference=Reference((6.0, 6.1))).flags


def test_depth_without_readings_and_a_stream_without_items(home):
    scene = Scene(seconds=2, keep=lambda name, index: name != ACTION.name, depth_share=0.2)
    with record(home, scene, (FRONT, DEPTH, STATE, ACTION)) as episode:
        quality = assess(episode)
    assert sentence(quality, Flag.EMPTY) == "'action' recorded nothing" and "lag_s" not in quality.figures
    assert quality.figures[f"{DEPTH.name}/valid_share"] == pytest.approx(0.2, abs=0.02)
    assert Flag.DEPTH_EMPTY in quality.flags
    assert Flag.UNCOVERED in quality.flags and quality.figures["coverage"] == 0.0


def test_numbers_that_are_none_are_counted_and_left_out(home):
    writer = EpisodeWriter.create(home, TakeInfo(EpisodeKind.TELEOP, "t", "t"), (STATE,))
    for index in range(300):
        data = np.full(14, np.nan if index % 3 == 0 else index * 0.001, np.float32)
        writer.append(STATE.name, Frame(index, index * 10**7, index * 10**7, 0, data))
    with Episode.open(home, writer.seal().id) as episode:
        quality = assess(episode)
    assert "100 items that are not numbers" in sentence(quality, Flag.NOT_FINITE)
    assert quality.figures["travel_m"] == pytest.approx(0.3 * math.sqrt(3), rel=0.05)


def test_a_damaged_part_is_named_and_the_rest_still_measured(home):
    with record(home, Scene(seconds=2)) as episode:
        shard = next((episode.folder / FRONT.name).glob("c.1*"))
        data = bytearray(shard.read_bytes())
        data[100:4000] = os.urandom(3900)
        data[-1] ^= 255
        shard.write_bytes(bytes(data))
        quality = assess(episode)
    assert Flag.UNREADABLE in quality.flags and FRONT.name in sentence(quality, Flag.UNREADABLE)
    assert quality.figures["lag_s"] == pytest.approx(0, abs=1e-3)
    hollow = home.sealed("0" * 32)
    hollow.mkdir()
    broken = assess_at(hollow)
    assert broken.flags == (Flag.UNREADABLE,) and "manifest" in broken.remarks[0].sentence


def test_only_every_kth_picture_is_decoded_and_the_caller_may_end_it(home):
    looked: list[int] = []
    with record(home, Scene(seconds=2)) as episode:
        assess(episode, between=lambda: looked.append(1))
        assert len(looked) == 10, "five a second"

        def stop() -> None:
            raise InterruptedError

        with pytest.raises(InterruptedError):
            assess(episode, between=stop)


def test_thresholds_move_flags_and_make_stored_answers_old(home):
    strict = Thresholds.with_changes({"lag_s": 0.02, "idle_s": 1})
    with record(home, Scene(seconds=3, late_s=0.07, moves=lambda t: t + 0.3 * math.sin(2.1 * t))) as episode:
        usual, picky = assess(episode), assess(episode, limits=strict)
    assert Flag.LAG not in usual.flags and Flag.LAG in picky.flags
    stored = json.loads(json.dumps(picky.to_json(), allow_nan=False))
    assert is_current(stored, strict) and not is_current(stored) and not is_current(None)
    assert not is_current({**stored, "version": VERSION + 1}, strict)
    assert stored["thresholds"] == {"lag_s": 0.02, "idle_s": 1}
    with pytest.raises(NotFoundError, match="lag_s"):
        Thresholds.with_changes({"lag": 1.0})


SMALL = StreamSpec("observation.images.front", (4, 4, 3), "uint8", rate_hz=30.0)
TIMES = st.integers(-(2**62), 2**62)
ITEM = st.tuples(TIMES, TIMES, st.floats(width=32, allow_nan=True, allow_infinity=True), st.integers(0, 3))


@settings(max_examples=12)
@given(vectors=st.lists(ITEM, max_size=30), pictures=st.lists(ITEM, max_size=15), constant=st.booleans())
def test_no_take_is_too_strange_to_be_assessed(tmp_path_factory, vectors, pictures, constant):
    home = Home.open(tmp_path_factory.mktemp("strange"))
    specs = (SMALL, STATE, replace(STATE, name="action", axes=()))
    writer = EpisodeWriter.create(
        home, TakeInfo(EpisodeKind.TELEOP, "t", "t"), specs, settings=StoreSettings(sync=False)
    )
    for index, (device_ns, host_ns, value, gap) in enumerate(vectors):
        data = np.full(14, 1.0 if constant else value, np.float32)
        for name in (STATE.name, "action"):
            writer.append(name, Frame(index, device_ns, 0 if constant else host_ns, gap, data))
    # Rows are laid out at sealing over the pictures' times: those stay within minutes.
    for index, (device_ns, host_ns, value, gap) in enumerate(pictures):
        level = int(value) % 256 if math.isfinite(value) else 0
        data = np.full(SMALL.shape, level, np.uint8)
        writer.append(SMALL.name, Frame(index, device_ns, host_ns % 10**11, gap, data))
    with Episode.open(home, writer.seal().id) as episode:
        quality = assess(episode, Reference((1.0,) * 5))
    json.dumps(quality.to_json(), allow_nan=False)
    assert Flag.UNREADABLE not in quality.flags
    assert quality.flags == tuple(flag for flag in Flag if flag in set(quality.flags))


def test_a_long_silence_costs_no_more_than_its_items():
    times = np.array([*range(40), 10**18], np.int64)
    signal = even(times, np.random.default_rng(0).normal(size=(41, 14)), STATE.axes)
    assert signal is None or len(signal.seconds) <= 4 * 41 + 1
    day = even(np.array([*range(0, 400, 10), 86_400_000]) * 10**6, np.ones((41, 14)), STATE.axes)
    assert day is not None and len(day.seconds) <= 4 * 41 + 1


@given(st.dictionaries(st.sampled_from(["jerk_m_s3", "lag_s", "x/rate_hz", "x/items"]), st.none() | st.floats(0, 1e9)))
def test_judging_needs_no_figure(figures):
    judge(figures, (STATE, FRONT), Thresholds())


def test_the_epoch_of_a_clock_does_not_matter(home):
    assert START_NS > 0 and found(home, Scene(device=lambda name, t: t - 1e3)).flags == ()
