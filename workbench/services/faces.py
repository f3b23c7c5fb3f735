"""Faces in takes: in which there are any, and copies in which they are blurred."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from storage.blurring import (
    FacesFound,
    Finder,
    blurred_example,
    look_for_faces,
    pictures_to_look_at,
    pictures_to_write,
)
from storage.catalog import Catalog
from storage.exchange import StoppedError
from storage.face_regions import covered
from storage.faces import FaceFinder
from storage.layout import Home
from storage.reader import Episode, read_manifest
from workbench.core.errors import StateError, WorkbenchError
from workbench.services.exchange import StopSwitch
from workbench.services.giving_way import GIVE_WAY_S, GiveWay

__all__ = ["BlurReport", "FaceLook", "FacePlan", "FaceSight", "blur_planned", "example_of", "plan_blur"]

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class FaceSight:
    """One camera's pictures in which a face is blurred: between which seconds of the take, and how many they are."""

    stream: str
    first_s: float
    last_s: float
    pictures: int


@dataclass(frozen=True, slots=True)
class FaceLook:
    """What was seen in one take. ``found`` is None where ``problem`` says why nobody could look.

    Attributes:
        looked: pictures that were looked at; pictures: those that would be blurred.
    """

    episode_id: str
    task: str
    duration_s: float
    found: FacesFound | None = None
    sights: tuple[FaceSight, ...] = ()
    problem: str = ""

    @property
    def looked(self) -> int:
        return self.found.looked if self.found is not None else 0

    @property
    def pictures(self) -> int:
        return self.found.pictures if self.found is not None else 0


@dataclass(frozen=True, slots=True)
class FacePlan:
    """What blurring would do; nothing is written. ``stopped``: takes after the last one were not looked at."""

    takes: tuple[FaceLook, ...]
    stopped: bool = False

    @property
    def with_faces(self) -> tuple[FaceLook, ...]:
        return tuple(take for take in self.takes if take.pictures)

    @property
    def without(self) -> tuple[FaceLook, ...]:
        return tuple(take for take in self.takes if not take.pictures and not take.problem)

    @property
    def problems(self) -> tuple[FaceLook, ...]:
        return tuple(take for take in self.takes if take.problem)


@dataclass(slots=True)
class BlurReport:
    """What came of blurring.

    Attributes:
        copies: id of the blurred copy, by id of the take that went to the trash.
        pictures: blurred ones in all copies together.
        failed: why, by take; those are as they were. stopped: the takes that are left are as they were.
    """

    copies: dict[str, str] = field(default_factory=dict)
    pictures: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    stopped: bool = False


def plan_blur(
    home: Home,
    episode_ids: Sequence[str],
    progress: Progress | None = None,
    stop: StopSwitch | None = None,
    finder: Finder | None = None,
) -> FacePlan:
    """Look for faces in takes in use. Blocks: 0.1 s a picture, ten pictures of each second; longer while a take is
    being recorded on a busy machine.

    Args:
        progress: told (pictures looked at, pictures in all).
        finder: another detector than the program's own.

    WorkbenchError if there is no detector; a take that cannot be read is told in the plan.
    """
    finder, stop = finder or FaceFinder(), stop or StopSwitch()
    takes = [_summary(home, episode_id) for episode_id in episode_ids]
    count = _Count(sum(pictures for _, pictures in takes), progress, stop, GiveWay(home))
    looks: list[FaceLook] = []
    for look, pictures in takes:
        try:
            looks.append(_looked(home, look, finder, count))
        except StoppedError:
            return FacePlan(tuple(looks), stopped=True)
        count.finish(pictures)
    return FacePlan(tuple(looks))


def blur_planned(
    catalog: Catalog, plan: FacePlan, progress: Progress | None = None, stop: StopSwitch | None = None
) -> BlurReport:
    """Put blurred copies in the place of the takes in which faces were seen; those go to the trash.

    One take that cannot be copied does not keep the others from it. ``progress`` is told (pictures written, in all);
    ``stop`` ends the work within one picture: the take at work is as it was, those before stay done.
    """
    report = BlurReport()
    sizes = {look.episode_id: _pictures(catalog.home, look.episode_id) for look in plan.with_faces}
    count = _Count(sum(sizes.values()), progress, stop or StopSwitch())  # gives no way: a copy looks like a recording
    for look in plan.with_faces:
        if look.found is None:
            continue
        try:
            report.copies[look.episode_id] = catalog.blur(look.found, count)
            report.pictures += look.pictures
        except StoppedError:
            report.stopped = True
            break
        except (WorkbenchError, OSError) as error:
            report.failed[look.episode_id] = str(error)
        count.finish(sizes[look.episode_id])
    return report


def example_of(home: Home, look: FaceLook) -> tuple[str, NDArray[np.uint8]] | None:
    """The stream and the picture of a take in which most would be blurred, as it would become; None without a face.

    (H, W, 3) or (H, W) uint8. NotFoundError or CorruptTakeError if it cannot be read any more.
    """
    if look.found is None:
        return None
    with Episode.open(home, look.episode_id) as take:
        example = blurred_example(take, look.found)
    return None if example is None else (example[0], example[2])


class _Count:
    """Counts pictures over several takes, tells how far the work is, stops it when asked to, lets a recording pass."""

    def __init__(self, total: int, progress: Progress | None, stop: StopSwitch, way: GiveWay | None = None) -> None:
        self._way = way
        self._total = total
        self._progress = progress
        self._stop = stop
        self._before = self._done = 0

    def __call__(self, pictures: int) -> None:
        self._stop()
        while self._way is not None and self._way.must_wait():
            _rest()
            self._stop()
            self._way.look_again()
        self._done += pictures
        self._tell()

    def finish(self, pictures: int) -> None:
        """A take of so many pictures is done, whether all of them were looked at or not."""
        self._before += pictures
        self._done = self._before
        self._tell()

    def _tell(self) -> None:
        if self._progress is not None:
            self._progress(min(self._done, self._total), self._total)


def _rest() -> None:
    time.sleep(GIVE_WAY_S)


def _summary(home: Home, episode_id: str) -> tuple[FaceLook, int]:
    """A take before it was looked at, and how many pictures that will take."""
    try:
        if home.trashed(episode_id).is_dir():
            raise StateError(f"the take {episode_id} is in the trash", "Restore it first")
        manifest = read_manifest(home.sealed(episode_id))
    except WorkbenchError as error:
        return FaceLook(episode_id, "", 0.0, problem=str(error)), 0
    return FaceLook(episode_id, manifest.task, manifest.duration_s), pictures_to_look_at(manifest)


def _looked(home: Home, look: FaceLook, finder: Finder, count: _Count) -> FaceLook:
    if look.problem:
        return look
    try:
        with Episode.open(home, look.episode_id) as take:
            found = look_for_faces(take, finder, count)
            sights = tuple(_sight(take, name, found) for name in found.streams)
    except StoppedError:
        raise
    except WorkbenchError as error:
        return FaceLook(look.episode_id, look.task, look.duration_s, problem=str(error))
    return FaceLook(look.episode_id, look.task, look.duration_s, found, sights)


def _sight(take: Episode, name: str, found: FacesFound) -> FaceSight:
    times, rows = take.times(name)[1], take.row_times()
    begin = int(rows[0]) if len(rows) else int(times[0])
    some = found.streams[name]
    first, last = min(region.first for region in some), max(region.last for region in some)
    first_s, last_s = ((int(times[index]) - begin) / 1e9 for index in (first, last))
    return FaceSight(name, first_s, last_s, covered(some))


def _pictures(home: Home, episode_id: str) -> int:
    try:
        return pictures_to_write(read_manifest(home.sealed(episode_id)))
    except WorkbenchError:
        return 0
