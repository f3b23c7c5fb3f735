"""Plain videos of people become takes with the times of the files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from storage.episode import Episode
from storage.exchange import StoppedError
from storage.importing import ImportSettings
from storage.interop import detect, import_takes, preview_takes
from storage.layout import Home
from tests.storage.foreign import write_clip
from tests.storage.test_interop import DATA
from workbench.core.errors import WorkbenchError
from workbench.core.types import EpisodeKind, Outcome

FRONT = "observation.images.front"
UNEVEN_MS = [0, 33, 100, 101, 350, 400, 900]


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv", "webm"])
def test_uneven_times_of_every_container_are_kept(home: Home, tmp_path: Path, suffix: str) -> None:
    write_clip(tmp_path / "fold_the_cloth" / f"a.{suffix}", UNEVEN_MS)
    assert detect(tmp_path / "fold_the_cloth") == "videos"
    report = import_takes(tmp_path / "fold_the_cloth", home)
    assert len(report) == 1 and report.skipped == []
    with Episode.open(home, report.ids[0]) as take:
        device_ns, host_ns = take.times(FRONT)
        assert (host_ns / 1e6).round().astype(int).tolist() == UNEVEN_MS
        assert np.array_equal(device_ns, host_ns)
        manifest = take.manifest
        assert manifest.kind is EpisodeKind.HUMAN and manifest.task == "fold_the_cloth"
        assert manifest.instruction == "fold the cloth" and list(manifest.streams) == [FRONT]
        grey = [int(take.read(FRONT, index)[24, 50].mean()) for index in range(len(UNEVEN_MS))]
        assert np.abs(np.array(grey) - (40 + 6 * np.arange(len(UNEVEN_MS)))).max() <= 3
        assert take.verify() == []


@pytest.mark.parametrize("rotation", [-90, 90, 180])
def test_a_phone_held_upright_gives_upright_pictures(home: Home, tmp_path: Path, rotation: int) -> None:
    """The red edge is at the left of the stored picture: turned as asked it is on top, below or at the right."""
    clip = write_clip(tmp_path / "clips" / "a.mp4", [0, 40, 80], rotation=rotation)
    with Episode.open(home, import_takes(clip, home).ids[0]) as take:
        picture = take.read(FRONT, 1).astype(int)
        assert picture.shape == ((48, 64, 3) if rotation == 180 else (64, 48, 3))
        edges = {-90: picture[4, :], 90: picture[-4, :], 180: picture[:, -4]}
        redness = {turn: float((edge[:, 0] - edge[:, 1]).mean()) for turn, edge in edges.items()}
        assert redness[rotation] > 150 and sum(value > 100 for value in redness.values()) == 1
        assert take.manifest.extra["turned_degrees"] == rotation % 360


def test_a_list_names_the_tasks_and_wrong_lines_are_told(home: Home, tmp_path: Path) -> None:
    for step_ms, name in enumerate(("one.mp4", "deep/two.mp4", "three.mp4"), 40):
        write_clip(tmp_path / "set" / name, range(0, 3 * step_ms, step_ms))
    lines = ["file,task,operator,outcome,instruction", "one.mp4,fold_cloth,Ada,success,fold the cloth twice"]
    lines += ["two,spray,,,", "gone.mp4,spray,,,"]
    (tmp_path / "set" / "tasks.csv").write_text("\n".join(lines))
    kind, plan = preview_takes(tmp_path / "set", home)
    assert kind == "videos" and len(plan) == 4 and not list(home.episodes.iterdir())
    assert {take.name: take.task for take in plan if not take.problem} == {
        "one.mp4": "fold_cloth", "deep/two.mp4": "spray", "three.mp4": "set",
    }  # fmt: skip
    assert [take.problem.startswith("the list of tasks names gone.mp4") for take in plan if take.problem] == [True]
    report = import_takes(tmp_path / "set", home)
    assert len(report) == 3 and [name for name, _ in report.skipped] == ["gone.mp4"]
    takes = {}
    for episode_id in report:
        with Episode.open(home, episode_id) as take:
            takes[take.manifest.extra["source"]["name"]] = take.manifest
    one = takes["one.mp4"]
    assert (one.instruction, one.operator, one.outcome) == ("fold the cloth twice", "Ada", Outcome.SUCCESS)
    (tmp_path / "set" / "tasks.csv").write_text("file,outcome\none.mp4,great\n")
    with pytest.raises(WorkbenchError, match=r"line 2, has the outcome 'great'"):
        import_takes(tmp_path / "set", home)
    (tmp_path / "set" / "tasks.csv").unlink()
    (tmp_path / "set" / "tasks.json").write_text('{"one.mp4": "stack cups"}')
    assert {take.task for take in preview_takes(tmp_path / "set", home)[1]} == {"stack_cups", "deep", "set"}


def test_broken_videos_are_skipped_and_nothing_comes_twice(home: Home, tmp_path: Path) -> None:
    good = write_clip(tmp_path / "set" / "good.mkv", range(0, 4000, 40), size=(240, 320))
    data = good.read_bytes()
    (tmp_path / "set" / "short.mkv").write_bytes(data[: len(data) * 2 // 3])
    torn = bytearray(write_clip(tmp_path / "set" / "torn.mp4", range(0, 4000, 40), size=(240, 320)).read_bytes())
    torn[len(torn) // 3 : len(torn) // 3 + 400] = bytes(400)
    (tmp_path / "set" / "torn.mp4").write_bytes(torn)
    (tmp_path / "set" / "text.mp4").write_text("no video")
    (tmp_path / "set" / ".hidden.mp4").write_text("not looked at")
    report = import_takes(tmp_path / "set", home)
    reasons = dict(report.skipped)
    assert len(report) == 1 and reasons.keys() == {"short.mkv", "text.mp4", "torn.mp4"}
    assert "cannot be opened" in reasons["text.mp4"] and "ends after 2.4 of 4.0 s" in reasons["short.mkv"]
    assert len(list(home.episodes.iterdir())) == 1
    (tmp_path / "set" / "hello again.mkv").write_bytes(good.read_bytes())
    again = import_takes(tmp_path / "set", home)
    assert again.ids == [] and again.known == ["good.mkv", "hello again.mkv"]
    assert [take.known for take in preview_takes(tmp_path / "set", home)[1]] == [True, True, False, False, False]


def test_stopping_keeps_whole_takes_only(home: Home, tmp_path: Path) -> None:
    for name in "abc":
        write_clip(tmp_path / "set" / f"{name}.mp4", range(0, 800, 40 + ord(name)))
    pictures = []

    def watch() -> None:
        pictures.append(1)
        if len(pictures) == 15:
            raise StoppedError("it was stopped")

    report = import_takes(tmp_path / "set", home, watch=watch)
    assert report.stopped and 0 < len(report) < 3 and report.skipped == []
    assert sorted(path.name.partition(".")[0] for path in home.episodes.iterdir()) == sorted(report.ids)
    assert len(import_takes(tmp_path / "set", home)) == 3 - len(report)


def test_the_camera_of_plain_videos_can_be_named(home: Home, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", [0, 40, 80])
    with Episode.open(home, import_takes(clip, home, settings=ImportSettings(camera="wrist")).ids[0]) as take:
        assert list(take.manifest.streams) == ["observation.images.wrist"]
    with pytest.raises(WorkbenchError, match="camera's name"):
        import_takes(clip, home, settings=ImportSettings(camera="../up"))


@pytest.mark.slow
@pytest.mark.skipif(not (DATA / "sam2_hands").is_dir(), reason="the videos of hands are not present")
def test_real_videos_with_sound_and_a_broken_rate(home: Home, tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "cups.mp4").symlink_to(DATA / "sam2_hands" / "02_cups.mp4")
    with Episode.open(home, import_takes(tmp_path / "clips", home, settings=ImportSettings(160)).ids[0]) as take:
        host_ns = take.times(FRONT)[1]
        assert len(host_ns) == 300 and host_ns[-1] == 299 * 1001 * 1_000_000_000 // 30000
        assert take.manifest.streams[FRONT].shape == (90, 160, 3)
