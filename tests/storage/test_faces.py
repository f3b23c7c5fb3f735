"""Finding faces: a real one, near and far, upright and tilted; and nothing where there is none."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from storage.faces import FaceFinder
from storage.videos import Video
from tests.storage.face_pictures import overlap, portrait, table, with_face
from tests.storage.test_interop import DATA
from workbench.core.errors import WorkbenchError


@pytest.fixture(scope="module")
def finder() -> FaceFinder:
    return FaceFinder()


@pytest.mark.parametrize(("side", "angle"), [(25, -40), (25, 40), (60, 0), (160, -40), (160, 40)])
def test_a_face_is_found_from_25_pixels_on_tilted_up_to_40_degrees(finder: FaceFinder, side: int, angle: int) -> None:
    picture, truth = with_face((480, 640), (300.0, 220.0), side, angle)
    found = finder.find(picture)
    assert len(found) == 1 and found[0].score >= 0.5
    assert overlap(found[0].box, truth) > 0.3


@pytest.mark.parametrize("size", [(240, 320), (37, 53), (400, 700)])
def test_boxes_are_in_pixels_of_the_picture_whatever_its_size(finder: FaceFinder, size: tuple[int, int]) -> None:
    side = 0.25 * size[0]
    picture, truth = with_face(size, (0.4 * size[1], 0.5 * size[0]), side)
    found = finder.find(picture)
    assert found and overlap(found[0].box, truth) > 0.5
    grey = finder.find(np.ascontiguousarray(picture.mean(axis=2).astype(np.uint8)))
    assert grey and overlap(grey[0].box, truth) > 0.5


def test_a_face_at_the_edge_is_cut_to_the_picture(finder: FaceFinder) -> None:
    found = finder.find(np.ascontiguousarray(portrait()[:, 156:]))
    assert found and found[0].box.left == 0 and 0 < found[0].box.right <= 144


def test_a_table_without_people_has_no_face(finder: FaceFinder) -> None:
    assert not [find for find in finder.find(table(480, 640)) if find.score >= 0.5]


def test_without_the_detector_the_next_step_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(WorkbenchError, match="make setup"):
        FaceFinder()


@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason="the real clips are not present")
def test_real_clips_show_bystanders_and_few_false_finds(finder: FaceFinder) -> None:
    clips = sorted((DATA / "dexwild_human").rglob("*.mp4"))
    bystanders = {"tracker_cam_ep_14", "tracker_cam_ep_95_3"}
    marked = set()
    for clip in clips:
        _, picture = next(Video.open(clip).frames())
        if any(find.score >= 0.5 for find in finder.find(picture)):
            marked.add(clip.stem)
    assert "tracker_cam_ep_95_3" in marked
    assert len(marked - bystanders) <= 0.1 * len(clips)
