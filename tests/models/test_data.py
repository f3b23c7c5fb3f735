"""Takes on the grid and windows over them: right times, right pairs, bad takes counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from models import normalize, takes
from models.data import Windows, fit_encoder, held_out_ids, keyframes, load_takes
from models.encoders import ENCODERS, Encoder
from models.recipes import VdVaeRecipe
from storage.episode import EpisodeWriter, StoreSettings
from storage.layout import Home
from tests.models.conftest import Set, make_story, write_take
from workbench.core.errors import WorkbenchError
from workbench.core.types import Authority, EpisodeKind, Frame, Outcome, StreamSpec, TakeInfo, arm_axes

CAMERAS = ("front", "wrist")


@pytest.fixture(scope="module")
def encoder(small_set: Set) -> Encoder:
    return fit_encoder(small_set.home, small_set.ids, VdVaeRecipe(clusters=16), pictures=40)


@pytest.fixture(scope="module")
def windows(small_set: Set, encoder: Encoder) -> Windows:
    return Windows(load_takes(small_set.home, small_set.ids, encoder, CAMERAS, 0.1), 8)


def _arm_take(
    home: Home,
    states: np.ndarray,
    *,
    rate_hz: float = 50.0,
    prefixes: tuple[str, ...] = ("",),
    kind: EpisodeKind = EpisodeKind.TELEOP,
    outcome: Outcome = Outcome.SUCCESS,
    actions: bool = True,
    authority: np.ndarray | None = None,
    extra: dict[str, str] | None = None,
    times_s: np.ndarray | None = None,
) -> str:
    """A take without pictures: (T, prefixes * 8) poses x y z qw qx qy qz gripper per arm."""
    axes = tuple(p + a for p in prefixes for a in (*arm_axes(0)[1:], "gripper"))
    names = ["observation.state"] + ["action"] * actions
    specs = [StreamSpec(name, (len(axes),), "float32", "SI", rate_hz, axes) for name in names]
    if authority is not None:
        specs.append(StreamSpec("authority", (1,), "float32", "", rate_hz))
    known = {"robot_type": "somebot"} if kind is EpisodeKind.IMPORTED else {}
    info = TakeInfo(kind, "task", "do it", extra={**known, **(extra or {})})
    writer = EpisodeWriter.create(home, info, specs, settings=StoreSettings(sync=False))
    times_s = np.arange(len(states)) / rate_hz if times_s is None else times_s
    for k, (t, state) in enumerate(zip(times_s, states, strict=True)):
        t_ns = 5_000_000_000 + round(t * 1e9)
        for name in names:
            writer.append(name, Frame(k, t_ns, t_ns, 0, state.astype(np.float32)))
        if authority is not None:
            writer.append("authority", Frame(k, t_ns, t_ns, 0, np.array([authority[k]], np.float32)))
    return writer.seal(outcome).id


def _line(count: int, rate_hz: float = 50.0) -> np.ndarray:
    """x moves 0.1 m/s while turning 0.2 rad/s about z; the gripper closes half way."""
    t = np.arange(count) / rate_hz
    poses = np.zeros((count, 8))
    poses[:, 0] = 0.1 * t
    poses[:, 3:7] = normalize.from_rotation_vector(np.stack([0 * t, 0 * t, 0.2 * t], 1))
    poses[:, 7] = (t < t[-1] / 2).astype(float)
    return poses


def test_robot_and_human_takes_load(small_set: Set, encoder: Encoder) -> None:
    loaded = load_takes(small_set.home, small_set.ids, encoder, CAMERAS, 0.1)
    assert len(loaded) == 18 and not loaded.skipped
    for take in loaded:
        assert set(take.features) == set(CAMERAS) and take.features["front"].shape == (len(take), 16, 5)
        assert (take.targets_T8 is None) == take.is_human
    story = make_story(0)
    first = next(take for take in loaded if take.episode_id == small_set.robot[0])
    assert len(first) == len(story.path)
    assert first.targets_T8 is not None
    assert np.allclose(first.targets_T8[:, :3], story.path, atol=1e-6)


def test_features_are_those_of_the_row_and_come_from_the_cache_unchanged(
    small_set: Set, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    cold = load_takes(small_set.home, small_set.robot[:1], encoder, CAMERAS, 0.1)[0]
    with takes.Episode.open(small_set.home, small_set.robot[0]) as episode:
        assert np.array_equal(cold.features["wrist"][7], encoder.encode(episode.read("observation.images.wrist", 7)))
    monkeypatch.setattr(takes, "_encode", lambda *_: pytest.fail("the cache was not used"))
    warm = load_takes(small_set.home, small_set.robot[:1], encoder, CAMERAS, 0.1)[0]
    assert np.array_equal(cold.features["front"], warm.features["front"])


def test_a_broken_cache_file_is_made_anew(small_set: Set, encoder: Encoder) -> None:
    cold = load_takes(small_set.home, small_set.robot[:1], encoder, CAMERAS, 0.1)[0]
    for path in (small_set.home.cache / "features" / encoder.hash()).glob(f"{small_set.robot[0]}*"):
        path.write_bytes(path.read_bytes()[:100])
    again = load_takes(small_set.home, small_set.robot[:1], encoder, CAMERAS, 0.1)[0]
    assert np.array_equal(cold.features["front"], again.features["front"])


def test_chunks_undo_to_the_targets_that_were_sent(windows: Windows) -> None:
    batch = windows.train.all("robot")
    assert len(batch) > 100
    for b in range(0, len(batch), 37):
        take, row = windows.takes[int(batch.take_B[b])], int(batch.row_B[b])
        assert take.pose_T8 is not None and take.targets_T8 is not None
        told = normalize.apply_actions(take.pose_T8[row], windows.scaler.invert(batch.actions_BHA[b].numpy()))
        rows = np.minimum(row + 1 + np.arange(8), len(take) - 1)
        assert np.allclose(told[:, :3], take.targets_T8[rows, :3], atol=1e-5)
        assert np.allclose(told[:, 7], take.targets_T8[rows, 7], atol=1e-5)
        end = min(row + 8, len(take) - 1)
        assert np.array_equal(batch.features_BCKF[b, 1].numpy(), take.features["wrist"][row])
        assert np.array_equal(batch.future_BCKF[b, 0].numpy(), take.features["front"][end])


def test_human_rows_carry_no_action(windows: Windows) -> None:
    human = windows.train.all("human")
    assert len(human) and not human.has_action_B.any() and not human.has_state_B.any()
    assert not human.actions_BHA.any() and not human.state_BS.any() and torch.isnan(human.keyframe_BG).all()
    both = windows.train.sample(torch.Generator().manual_seed(0), 50, "both", 0.4)
    assert int(both.is_human_B.sum()) == 20


def test_no_episode_is_on_both_sides(windows: Windows) -> None:
    def ids(rows: object) -> set[str]:
        return {windows.takes[int(t)].episode_id for t in rows.all().take_B}  # type: ignore[attr-defined]

    assert not ids(windows.train) & ids(windows.held_out)
    assert ids(windows.held_out) == windows.held_out_ids
    assert windows.held_out.count("robot") and windows.held_out.count("human")


def test_sampling_depends_on_the_generator_alone(windows: Windows) -> None:
    first = windows.train.sample(torch.Generator().manual_seed(4), 16)
    again = windows.train.sample(torch.Generator().manual_seed(4), 16)
    assert torch.equal(first.row_B, again.row_B) and torch.equal(first.take_B, again.take_B)


def test_rows_of_some_takes_only(windows: Windows) -> None:
    wanted = windows.takes[0].episode_id, windows.takes[1].episode_id
    rows = windows.train.of(wanted)
    assert {windows.takes[int(t)].episode_id for t in rows.all().take_B} <= set(wanted)
    with pytest.raises(WorkbenchError, match="no window"):
        windows.train.of([]).sample(torch.Generator(), 4)


def test_tokens_travel_with_their_windows(windows: Windows) -> None:
    count = len(windows.take_W)
    windows.set_tokens(torch.arange(count)[:, None].expand(-1, 6), torch.linspace(0, 1, count))
    batch = windows.batch(torch.tensor([5, 3]))
    assert batch.tokens_BN[:, 0].tolist() == [5, 3]
    with pytest.raises(ValueError, match="token rows"):
        windows.set_tokens(torch.zeros(3, 6), torch.zeros(3))


def test_keyframes_point_to_the_next_change_of_the_gripper(windows: Windows) -> None:
    take = next(t for t in windows.takes if not t.is_human)
    assert take.targets_T8 is not None and take.pose_T8 is not None
    found, closed = keyframes(take), take.targets_T8[:, 7] < 0.5
    events = np.flatnonzero(np.diff(closed.astype(int))) + 1
    for row in range(len(take)):
        later = events[events > row]
        if len(later):
            assert np.allclose(found[row], take.pose_T8[later[0], :3] - take.pose_T8[row, :3], atol=1e-6)
        else:
            assert np.isnan(found[row]).all()


def test_poses_are_interpolated_by_time(tmp_path: Path) -> None:
    home = Home.open(tmp_path)
    rng = np.random.default_rng(0)
    times = np.sort(np.concatenate([[0.0], rng.uniform(0, 4, 200), [4.0]]))
    poses = np.zeros((len(times), 8))
    poses[:, 1] = 0.1 * times
    poses[:, 3:7] = normalize.from_rotation_vector(np.stack([0.5 * times, 0 * times, 0 * times], 1))
    poses[:, 7] = times < 2
    take = load_takes(home, [_arm_take(home, poses, times_s=times)], None, CAMERAS, 0.1)[0]
    seconds = (take.t_ns - take.t_ns[0]) / 1e9
    assert take.targets_T8 is not None
    assert np.allclose(take.targets_T8[:, 1], 0.1 * seconds, atol=1e-5)
    turned = normalize.rotation_vector(take.targets_T8[:, 3:7])[:, 0]
    assert np.allclose(turned, 0.5 * seconds, atol=1e-5)


def test_a_hole_in_the_states_is_never_bridged(tmp_path: Path) -> None:
    home = Home.open(tmp_path)
    poses, times = _line(300), np.arange(300) / 50.0
    keep = (times < 2.0) | (times > 3.5)
    take = load_takes(home, [_arm_take(home, poses[keep], times_s=times[keep])], None, CAMERAS, 0.1)[0]
    seconds = (take.t_ns - take.t_ns[0]) / 1e9
    assert not take.usable_T[(seconds > 2.05) & (seconds < 3.45)].any()
    windows = Windows([take], 8, pictures=False, held_out=0)
    starts = seconds[windows.row_W.numpy()]
    assert not ((starts > 2.0 - 0.8 + 0.05) & (starts < 3.4)).any() and (starts < 1.1).any() and (starts > 3.5).any()


def test_two_armed_robots_give_two_takes_and_idle_arms_none(tmp_path: Path) -> None:
    home = Home.open(tmp_path)
    both = np.concatenate([_line(200), _line(200) * [2, 1, 1, 1, 1, 1, 1, 1]], axis=1)
    idle = np.concatenate([np.tile(_line(1)[0], (200, 1)), _line(200)], axis=1)
    arms, kind = ("left.", "right."), EpisodeKind.IMPORTED
    ids = [_arm_take(home, poses, prefixes=arms, kind=kind, actions=False) for poses in (both, idle)]
    loaded = load_takes(home, ids, None, CAMERAS, 0.1)
    assert [(take.episode_id, take.arm) for take in loaded] == [(ids[0], "left"), (ids[0], "right"), (ids[1], "right")]
    assert loaded.skipped == {"arms that never move": 1}
    assert {take.source for take in loaded} == {"somebot"}
    left, right = loaded[0].targets_T8, loaded[1].targets_T8
    assert left is not None and right is not None and np.allclose(2 * left[:, 0], right[:, 0], atol=1e-6)


def test_bad_takes_are_left_out_and_counted(tmp_path: Path, small_set: Set) -> None:
    home = Home.open(tmp_path)
    encoder = ENCODERS.build("colour_keypoints", clusters=4)
    encoder.fit([np.zeros((8, 8, 3), np.uint8)], 0)
    broken = _line(200)
    broken[20:180] = np.nan
    ids = [
        _arm_take(home, broken),
        _arm_take(home, _line(10)),
        _arm_take(home, np.tile(_line(1)[0], (200, 1))),
        _arm_take(home, _line(200), outcome=Outcome.FAILURE),
        _arm_take(home, _line(200), kind=EpisodeKind.HUMAN),
        "0" * 32,
        _arm_take(home, _line(200)),
    ]
    loaded = load_takes(home, ids, encoder, CAMERAS, 0.1)
    assert [take.episode_id for take in loaded] == ids[-1:]
    assert loaded.skipped == {
        "arms with broken numbers": 1,
        "takes shorter than four steps": 1,
        "arms that never move": 1,
        "demonstrations marked as failed": 1,
        "human clips without usable pictures": 1,
        "unreadable takes": 1,
        "robot takes without pictures (actions only)": 2 + 1,
    }
    with pytest.raises(WorkbenchError, match="no take has a window"):
        Windows(loaded, 8)
    assert len(Windows(loaded, 8, pictures=False).take_W)


def test_a_few_broken_numbers_cost_only_their_own_rows(tmp_path: Path) -> None:
    home = Home.open(tmp_path)
    poses = _line(300)
    poses[100:103] = np.nan
    take = load_takes(home, [_arm_take(home, poses)], None, CAMERAS, 0.1)[0]
    assert take.usable_T.all() and take.targets_T8 is not None and np.isfinite(take.targets_T8).all()


def test_of_a_corrected_rollout_only_the_operators_rows_are_imitated_however_it_ended(tmp_path: Path) -> None:
    home = Home.open(tmp_path)
    alone = np.full(300, Authority.POLICY.code)
    codes = alone.copy()
    codes[100:200] = Authority.OPERATOR.code

    def usable(outcome: Outcome, authority: np.ndarray, **extra: str) -> int:
        take_id = _arm_take(
            home, _line(300), kind=EpisodeKind.ROLLOUT, outcome=outcome, authority=authority, extra=extra
        )
        takes = load_takes(home, [take_id], None, CAMERAS, 0.1)
        return int(takes[0].usable_T.sum()) if takes else 0

    whole = usable(Outcome.SUCCESS, alone)
    assert whole > 50
    for outcome in Outcome:
        assert usable(outcome, codes) == 20
        worth = whole if outcome is Outcome.SUCCESS else 0
        assert usable(outcome, alone) == usable(outcome, codes, replay_of="another take") == worth


def test_a_grasp_that_is_not_imitated_is_no_keyframe(tmp_path: Path) -> None:
    home = Home.open(tmp_path)
    codes = np.full(300, Authority.OPERATOR.code)
    codes[100:200] = Authority.POLICY.code
    poses = _line(300)
    poses[:, 7] = np.where((np.arange(300) >= 150) & (np.arange(300) < 250), 0.0, 1.0)
    take_id = _arm_take(home, poses, kind=EpisodeKind.ROLLOUT, outcome=Outcome.SUCCESS, authority=codes)
    take = load_takes(home, [take_id], None, CAMERAS, 0.1)[0]
    known = np.isfinite(keyframes(take)).all(axis=1)
    closes, opens = np.searchsorted(take.t_ns, take.t_ns[0] + np.array([150, 250]) * 20_000_000)
    assert not known[: closes - 1].any() and known[closes + 1 : opens - 1].all()


def test_a_missing_camera_is_zeros(tmp_path: Path, encoder: Encoder) -> None:
    home = Home.open(tmp_path)
    take_id = write_take(home, 3)
    loaded = load_takes(home, [take_id], encoder, ("front", "ceiling"), 0.1)
    windows = Windows(loaded, 8, cameras=("front", "ceiling"), held_out=0)
    batch = windows.train.all()
    assert batch.features_BCKF[:, 0].any() and not batch.features_BCKF[:, 1].any()


def test_actions_of_a_robot_without_scale_are_not_used(tmp_path: Path) -> None:
    home = Home.open(tmp_path)
    ids = [_arm_take(home, _line(200)), _arm_take(home, _line(200), kind=EpisodeKind.IMPORTED)]
    loaded = load_takes(home, ids, None, CAMERAS, 0.1)
    whole = Windows(loaded, 8, pictures=False, held_out=0)
    assert set(whole.scalers) == {"station", "somebot"}
    part = Windows(loaded, 8, pictures=False, held_out=0, scalers={"station": whole.scaler})
    assert part.train.count("robot") == whole.train.count("robot") // 2


def test_adding_takes_does_not_move_old_ones_across_the_split() -> None:
    ids = [(f"{i:032x}", False) for i in range(400)]
    before, after = held_out_ids(ids[:200], 0.12), held_out_ids(ids, 0.12)
    assert before == {i for i in after if int(i, 16) < 200}
    assert 0.06 < len(after) / 400 < 0.18
    assert not held_out_ids(ids[:1], 0.5) and not held_out_ids(ids, 0.0)
    assert len(held_out_ids(ids[:3], 1e-9)) == 1
