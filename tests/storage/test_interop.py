"""Imports of real recordings; skipped where they are not present."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import imagecodecs
import numpy as np
import pytest

from storage.doctor import examine
from storage.episode import Episode, EpisodeWriter
from storage.importing import ImportReport, ImportSettings, inside, task_name
from storage.interop import FORMATS, detect, import_takes
from storage.layout import Home
from tests.storage.takes import SPECS, frame, info
from tests.storage.test_rotations import matrix
from workbench.core.errors import WorkbenchError
from workbench.core.types import EpisodeKind, Outcome, arm_axes

DATA = Path(__file__).parents[2].parent / "shared" / "data"
DROID = DATA / "droid_ctrlworld"
ASTRIBOT = DATA / "astribot_lerobot_openclap"
needs_droid = pytest.mark.skipif(not DROID.is_dir(), reason="the DROID recordings are not present")
needs_astribot = pytest.mark.skipif(not ASTRIBOT.is_dir(), reason="the Astribot recordings are not present")
SMALL = ImportSettings(max_side_px=96)


def copy_droid(target: Path, split: str, *names: str) -> Path:
    """A DROID set of a few takes, writable."""
    part = {"droid_subset": "train", "droid_new_setup": "val"}[split]
    for name in names:
        (target / "annotation" / part).mkdir(parents=True, exist_ok=True)
        (target / "videos" / part / name).mkdir(parents=True)
        shutil.copyfile(DROID / split / "annotation" / part / f"{name}.json", target / f"annotation/{part}/{name}.json")
        for video in (DROID / split / "videos" / part / name).iterdir():
            shutil.copyfile(video, target / "videos" / part / name / video.name)
    return target


def franka_flange(joints: np.ndarray) -> np.ndarray:
    """Forward kinematics of the Franka arm (modified Denavit-Hartenberg, from its manual)."""
    half = np.pi / 2
    links = [(0, 0.333, 0), (0, 0, -half), (0, 0.316, half), (0.0825, 0, half), (-0.0825, 0.384, -half)]
    links += [(0, 0, half), (0.088, 0, half), (0, 0.107, 0)]
    pose = np.eye(4)
    for (a, d, alpha), theta in zip(links, [*joints, 0.0], strict=True):
        ct, st, ca, sa = np.cos(theta), np.sin(theta), np.cos(alpha), np.sin(alpha)
        pose = pose @ np.array(
            [[ct, -st, 0, a], [st * ca, ct * ca, -sa, -d * sa], [st * sa, ct * sa, ca, d * ca], [0, 0, 0, 1]]
        )
    return pose


@needs_droid
@pytest.mark.parametrize(("split", "name"), [("droid_subset", "6"), ("droid_new_setup", "0008")])
def test_droid_poses_agree_with_the_joints(home: Home, tmp_path: Path, split: str, name: str) -> None:
    report = import_takes(copy_droid(tmp_path / split, split, name), home, settings=SMALL)
    assert report.skipped == [] and len(report) == 1
    with Episode.open(home, report.ids[0]) as episode:
        spec = episode.manifest.streams["observation.state"]
        assert spec.axes == arm_axes(7)
        states = episode.vectors("observation.state")
        for state in states[:: len(states) // 6]:
            flange = franka_flange(state[:7].astype(float))
            np.testing.assert_allclose(state[8:11], flange[:3, 3], atol=1e-5)
            np.testing.assert_allclose(matrix(state[11:15].astype(float)), flange[:3, :3], atol=1e-5)
        assert np.abs(np.diff(states[:, 11:15], axis=0)).max() < 0.3
        assert episode.verify() == [] and episode.manifest.kind is EpisodeKind.IMPORTED


@needs_droid
def test_droid_rates_grippers_and_surplus_pictures(home: Home, tmp_path: Path) -> None:
    """0006 has a picture more than states; 3 closes the gripper on a container and has raw 15 Hz numbers."""
    copy_droid(tmp_path / "set" / "a", "droid_subset", "3")
    copy_droid(tmp_path / "set" / "b", "droid_new_setup", "0006")
    progress: list[tuple[int, int]] = []
    report = import_takes(tmp_path / "set", home, lambda done, total: progress.append((done, total)), settings=SMALL)
    assert progress == [(0, 2), (1, 2), (2, 2)] and len(list(report)) == 2
    by_rate = {}
    for episode_id in report:
        with Episode.open(home, episode_id) as episode:
            manifest = episode.manifest
            by_rate[manifest.rows_hz] = manifest
            assert manifest.streams["observation.images.wrist"].shape == (58, 96, 3)
            assert manifest.counts["observation.images.wrist"] == manifest.rows
            assert episode.read("observation.images.side", 3).std() > 10
            gripper = episode.vectors("observation.state")[:, 7]
            assert gripper[0] == pytest.approx(1.0, abs=0.02), "DROID takes begin with an open hand"
            index = episode.row_index("observation.state")
            ratio = round(manifest.streams["observation.state"].rate_hz / manifest.rows_hz)
            np.testing.assert_array_equal(index[:-1], np.arange(manifest.rows - 1) * ratio)
            if ratio == 3:
                assert gripper.min() < 0.5
                annotation = json.loads((tmp_path / "set/a/annotation/train/3.json").read_text())
                expected = np.array(annotation["action.cartesian_position"])[:, :3]
                np.testing.assert_allclose(episode.vectors("action")[:, 8:11], expected, atol=1e-6)
    assert by_rate[5.0].instruction.startswith("Pick up the longer") and by_rate[5.0].outcome is Outcome.SUCCESS
    assert by_rate[4.0].extra["pictures_left_out"] == {"front": 1, "side": 1, "wrist": 1}
    assert "no timestamps" in by_rate[4.0].extra["times"]


@needs_droid
def test_imports_are_idempotent_and_skip_what_is_broken(home: Home, tmp_path: Path) -> None:
    names = ("0006", "0008", "0010", "0001")
    root = copy_droid(tmp_path / "set", "droid_new_setup", *names)
    video = root / "videos/val/0008/1.mp4"
    video.write_bytes(video.read_bytes()[:5000])
    hostile = json.loads((root / "annotation/val/0010.json").read_text())
    hostile["videos"][0]["video_path"] = "../../../../etc/passwd"
    (root / "annotation/val/0010.json").write_text(json.dumps(hostile))
    (root / "annotation/val/0001.json").write_text('{"videos": []')
    first = import_takes(root, home, settings=SMALL)
    assert len(first) == 1 and [name[-4:] for name, _ in first.skipped] == ["0001", "0008", "0010"]
    assert all(reason for _, reason in first.skipped) and "outside" in first.skipped[2][1]
    assert not [path for path in home.episodes.iterdir() if path.suffix == ".partial"]
    copy_droid(tmp_path / "whole", "droid_new_setup", "0008")
    shutil.copyfile(tmp_path / "whole/videos/val/0008/1.mp4", video)
    again = import_takes(root, home, settings=SMALL)
    assert len(again) == 1 and len(again.known) == 1 and len(again.skipped) == 2


@needs_astribot
def test_astribot_poses_videos_and_instructions(home: Home) -> None:
    assert detect(ASTRIBOT) == "lerobot"
    report = import_takes(ASTRIBOT, home, settings=SMALL)
    assert len(report) == 2 and report.skipped == []
    for episode_id, rows, thing in zip(report, (236, 278), ("sika deer", "ham sausage"), strict=True):
        with Episode.open(home, episode_id) as episode:
            manifest = episode.manifest
            assert manifest.instruction == f"put the {thing} in round woven basket" and manifest.rows == rows
            assert set(manifest.counts.values()) == {rows}
            assert manifest.extra["videos_missing"] == ["images_dict.head.rgb"]
            fine = [part["text"] for part in manifest.extra["sub_instructions"]]
            assert fine[0].startswith("the right arm pick up") and fine[-1] == "back home"
            np.testing.assert_array_equal(episode.row_index("action"), np.arange(rows))
            axes = manifest.streams["observation.state"].axes
            state, action = episode.vectors("observation.state"), episode.vectors("action")
            right = action[:, axes.index("right.gripper")]
            assert right[0] == 1.0 and right.min() == 0.0 and right[-1] == 1.0, "open, closed on the object, open"
            assert np.all(action[:, axes.index("left.gripper")] == 1.0), "the left hand does nothing"
            for side in ("left.", "right."):
                at = axes.index(side + "ee.qw")
                np.testing.assert_allclose(np.linalg.norm(state[:, at : at + 4], axis=1), 1, atol=1e-5)
                np.testing.assert_allclose(state[:, at - 3 : at], action[:, at - 3 : at], atol=0.12)
            picture = episode.read("observation.images.right_wrist", 100)
            assert picture.shape == (54, 96, 3) and picture.std() > 20


def test_an_interrupted_import_is_set_aside_and_can_be_repeated(home: Home) -> None:
    writer = EpisodeWriter.create(home, info(kind=EpisodeKind.IMPORTED), SPECS)
    writer.append(SPECS[0].name, frame(SPECS[0], 0))
    writer.flush()
    writer._journal.close()  # as the kernel does when the process dies
    assert examine(home, fix=True).quarantined == [writer.episode_id]


def test_unknown_folders_list_what_is_known(home: Home, tmp_path: Path) -> None:
    with pytest.raises(WorkbenchError, match=r"LeRobot.*"):
        detect(tmp_path)
    with pytest.raises(WorkbenchError, match="no folder"):
        detect(tmp_path / "missing")
    assert {"droid", "lerobot"} <= set(FORMATS.all())
    assert len(ImportReport()) == 0


def test_small_helpers(tmp_path: Path) -> None:
    assert task_name("Put the Ham-Sausage, in!") == "put_the_ham_sausage_in" and task_name("") == "unnamed"
    (tmp_path / "a").write_text("")
    assert inside(tmp_path, "a").name == "a"
    (tmp_path / "link").symlink_to("/etc/hostname")
    for bad in ("../x", "/etc/hostname", "link", "missing"):
        with pytest.raises(WorkbenchError):
            inside(tmp_path, bad)


@pytest.mark.skipif(not (DATA / "realsense_f200_apc").is_dir(), reason="the RealSense F200 frames are not here")
def test_real_depth_frames_become_millimetres_with_both_optics(tmp_path):
    home = Home.open(tmp_path)
    report = import_takes(DATA / "realsense_f200_apc", home)
    assert len(report) == 1 and not report.skipped
    with Episode.open(home, report.ids[0]) as episode:
        assert episode.manifest.counts == {"observation.images.front": 10, "observation.depth.front": 10}
        depth = episode.read("observation.depth.front", 3)
        seen = depth[depth > 0]
        assert 0.2 < len(seen) / depth.size < 0.7 and 300 < np.median(seen) < 1500, (
            "a shelf half a metre to a metre away"
        )
        optics = episode.manifest.devices["front"]["intrinsics"]
        assert optics["color"]["fx"] == pytest.approx(615.19519) and optics["depth"]["cy"] == pytest.approx(245.884354)
        assert optics["depth"]["to_color"][0][3] == pytest.approx(0.025700001)
        assert len(episode.manifest.extra["camera_poses"]) == 10


def test_a_frame_folder_without_optics_is_skipped_with_a_reason(tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    (folder / "cam.info.txt").write_text("# nothing\n")
    (folder / "frame-000000.color.png").write_bytes(imagecodecs.png_encode(np.zeros((4, 6, 3), np.uint8)))
    (folder / "frame-000000.depth.png").write_bytes(imagecodecs.png_encode(np.zeros((4, 6), np.uint16)))
    report = import_takes(folder, Home.open(tmp_path / "home"))
    assert not report.ids and "intrinsics" in report.skipped[0][1]
