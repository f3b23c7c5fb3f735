"""Random access to what learning looks at: pictures at t and t + H, the state at t and the actions that follow.

Windows of many takes are numbered from 0; every take has its own clock, and all its streams are aligned by time: at
every grid time the newest item not after it counts, and a row where that item is too old (a gap) is left out. Rows
outside a take's trim marks are left out, too. Letters: W windows, T grid rows, C cameras, S state numbers, K action
steps, A action numbers.
"""

from __future__ import annotations

import os
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from storage.derived import derived, derived_path
from storage.layout import Home
from storage.manifest import Manifest
from storage.marks import trim_of
from storage.reader import Episode
from storage.rows import newest_not_after
from workbench.core.errors import CorruptTakeError, NotFoundError, WorkbenchError
from workbench.core.files import hash_bytes

Times = NDArray[np.int64]
TOLERANCE_NS = 2_000_000
_STATE, _ACTION, _IMAGES = "observation.state", "action", "observation.images."
_OPEN_TAKES = 8
_ARRAYS = 64


@dataclass(frozen=True, slots=True)
class WindowSpec:
    """What a window holds.

    Attributes:
        cameras: every take must have them.
        step_s: distance of windows, and of actions.
        horizon: the second picture is this many steps after the first.
        actions: K; actions are those in force at 1 .. K steps after t, the last one repeated at a take's end.
        small: (height, width) of pictures from the decoded cache; None reads the stored pictures.
    """

    cameras: tuple[str, ...]
    step_s: float = 0.1
    horizon: int = 8
    actions: int = 16
    small: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """One window.

    Attributes:
        t_ns: its host time. pictures: per camera (2, H, W, 3) uint8. state: (S,) float32, actions: (K, A) float32;
            both empty for takes without an arm.
    """

    episode_id: str
    t_ns: int
    pictures: dict[str, NDArray[np.uint8]]
    state: NDArray[np.float32]
    actions: NDArray[np.float32]


class WindowReader:
    """All windows of some takes. ``len``, ``[index]`` and pickling work as a map-style data set expects.

    Safe to hand to worker processes, forked or spawned: every process opens its own files. Memory does not grow with
    what has been read. One thread per reader.

    Args:
        report: called with (done, takes) while takes are aligned.

    Attributes:
        skipped: in words, how many takes were left out and why.

    Raises WorkbenchError if no window remains.
    """

    def __init__(
        self,
        home: Home,
        episode_ids: Sequence[str],
        spec: WindowSpec,
        report: Callable[[int, int], None] = lambda done, takes: None,
    ) -> None:
        self._home = home
        self.spec = spec
        self.skipped: Counter[str] = Counter()
        self._takes: list[Manifest] = []
        self._forget()
        starts = [np.zeros(0, np.int64)]
        owners = [np.zeros(0, np.int64)]
        for done, episode_id in enumerate(episode_ids):
            report(done, len(episode_ids))
            try:
                with Episode.open(home, episode_id) as episode:
                    rows = self._usable(episode)
            except WorkbenchError as error:
                self.skipped[_reason(error)] += 1
                continue
            owners.append(np.full(len(rows), len(self._takes)))
            starts.append(rows)
            self._takes.append(_slim(episode.manifest))
        report(len(episode_ids), len(episode_ids))
        self._take_W, self._row_W = np.concatenate(owners).astype(np.int32), np.concatenate(starts).astype(np.int32)
        if not len(self._take_W):
            reasons = "; ".join(f"{count} {reason}" for reason, count in self.skipped.items())
            raise WorkbenchError(f"no take has a window to learn from ({reasons or 'none was given'})", "Record more")

    def __len__(self) -> int:
        return len(self._take_W)

    def __getitem__(self, index: int) -> Sample:
        """One window. IndexError outside; CorruptTakeError if it cannot be read any more."""
        self._own_process()
        if not -len(self) <= index < len(self):
            raise IndexError(f"there are {len(self)} windows, not a window {index}")
        take, row = int(self._take_W[index]), int(self._row_W[index])
        try:
            return self._sample(self._takes[take], row)
        except CorruptTakeError:
            fresh = _slim(Episode.open(self._home, self._takes[take].id).manifest)
            if fresh == self._takes[take]:
                raise
            self._takes[take] = fresh  # rewritten meanwhile, by the archive: the same moments in another form
            self._episodes.pop(fresh.id, None)
            return self._sample(fresh, row)

    def draw(self, seed: int, step: int, batch: int) -> NDArray[np.int64]:
        """(batch,) window numbers, uniform with replacement: a function of its arguments, whoever asks and when."""
        return np.random.Generator(np.random.Philox(key=seed, counter=step)).integers(0, len(self), batch)

    def prepare(self, report: Callable[[int, int], None] = lambda done, takes: None) -> None:
        """Make the decoded cache of every take now, instead of when a window of it is first asked for."""
        for done, manifest in enumerate(self._takes):
            report(done, len(self._takes))
            for camera in self.spec.cameras if self.spec.small else ():
                self._small(manifest, camera)
        report(len(self._takes), len(self._takes))

    def close(self) -> None:
        """Close files; reading opens them again."""
        for episode in self._episodes.values():
            episode.close()
        self._forget()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_episodes": OrderedDict(), "_arrays": OrderedDict(), "_pid": 0}

    def _sample(self, manifest: Manifest, row: int) -> Sample:
        grid, index, state, actions = self._aligned(manifest)
        spec = self.spec
        later = min(row + spec.horizon, len(grid) - 1)
        pictures = {
            camera: self._pair(manifest, camera, int(index[row, at]), int(index[later, at]))
            for at, camera in enumerate(spec.cameras)
        }
        steps = np.minimum(row + 1 + np.arange(spec.actions), len(grid) - 1)
        return Sample(manifest.id, int(grid[row]), pictures, np.array(state[row]), np.array(actions[steps]))

    def _pair(self, manifest: Manifest, camera: str, now: int, later: int) -> NDArray[np.uint8]:
        if self.spec.small is not None:
            return np.asarray(self._small(manifest, camera)[[now, later]])
        frames = self._episode(manifest).frames(_IMAGES + camera)
        return np.stack([frames.read(now), frames.read(later)])

    def _episode(self, manifest: Manifest) -> Episode:
        found = self._episodes.get(manifest.id)
        if found is None:
            found = self._episodes[manifest.id] = Episode(self._home.sealed(manifest.id), manifest)
            if len(self._episodes) > _OPEN_TAKES:
                self._episodes.popitem(last=False)[1].close()
        self._episodes.move_to_end(manifest.id)
        return found

    def _array(self, name: str, make: Callable[[], Any]) -> Any:
        """A mapped array, remembered while it is among those used last."""
        if name not in self._arrays:
            self._arrays[name] = make()
            if len(self._arrays) > _ARRAYS:
                self._arrays.popitem(last=False)
        self._arrays.move_to_end(name)
        return self._arrays[name]

    def _small(self, manifest: Manifest, camera: str) -> NDArray[np.uint8]:
        """(N, h, w, 3) every picture of a camera, reduced by averaging."""
        height, width = self.spec.small or (0, 0)
        path = derived_path(self._home, f"pictures/{width}x{height}", manifest, camera)

        def make() -> NDArray[np.uint8]:
            frames = self._episode(manifest).frames(_IMAGES + camera)
            return np.stack([reduced(frames.read(k), height, width) for k in range(manifest.counts[_IMAGES + camera])])

        found: NDArray[np.uint8] = self._array(str(path), lambda: derived(path, make))
        return found

    def _aligned(self, manifest: Manifest) -> tuple[Times, NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]:
        """Grid times (T,), picture numbers (T, C; -1 = too old), states (T, S), actions (T, A) of a take."""

        def make() -> NDArray[np.float64]:
            return _join(align(self._episode(manifest), self.spec.cameras, self.spec.step_s))

        what = hash_bytes(repr((self.spec.cameras, self.spec.step_s)).encode())[:12]
        path = derived_path(self._home, "aligned", manifest, what)
        found: tuple[Times, NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]] = self._array(
            str(path), lambda: _split(derived(path, make), len(self.spec.cameras), manifest)
        )
        return found

    def _usable(self, episode: Episode) -> NDArray[np.int64]:
        """Rows of a take that make a window; WorkbenchError says why there are none."""
        manifest = episode.manifest
        missing = [name for name in self.spec.cameras if not manifest.counts.get(_IMAGES + name)]
        if missing:
            raise WorkbenchError(f"takes without camera '{missing[0]}'")
        grid, index, _, _ = self._aligned(manifest)
        rows = np.arange(len(grid) - self.spec.horizon)
        if not len(rows):
            raise WorkbenchError("takes shorter than a window")
        whole = np.all(index >= 0, axis=1)
        if (trim := trim_of(manifest.extra)) is not None:
            whole &= (grid >= trim.start_ns - TOLERANCE_NS) & (grid <= trim.end_ns + TOLERANCE_NS)
        kept: NDArray[np.int64] = rows[whole[rows] & whole[rows + self.spec.horizon]]
        if not len(kept):
            raise WorkbenchError("takes without a usable row")
        return kept

    def _own_process(self) -> None:
        if self._pid != os.getpid():
            self._forget()  # files opened before a fork belong to the parent

    def _forget(self) -> None:
        self._episodes: OrderedDict[str, Episode] = OrderedDict()
        self._arrays: OrderedDict[str, Any] = OrderedDict()
        self._pid = os.getpid()


def common_grid(spans: Sequence[Times], step_s: float) -> Times:
    """Times every ``step_s`` at which every stream runs, beginning with an item of the first. ``spans``: host times."""
    begin, end = max(int(t.min()) for t in spans), min(int(t.max()) for t in spans)
    leading: Times = np.sort(spans[0])
    start = int(leading[min(int(np.searchsorted(leading, begin)), len(leading) - 1)])
    return np.arange(start, end + TOLERANCE_NS, round(step_s * 1e9), dtype=np.int64)


def fresh_items(
    times: Times, grid: Times, rate_hz: float, step_s: float
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Per grid time the newest item not after it (at least 0), and whether it is recent enough to stand for it."""
    index = newest_not_after(times, grid + TOLERANCE_NS)
    limit_ns = 3e9 / max(1.0, rate_hz) + step_s * 1e9
    fresh = (index >= 0) & (np.abs(grid - times[np.maximum(index, 0)]) <= limit_ns)
    return np.maximum(index, 0), fresh


def align(
    episode: Episode, cameras: Sequence[str], step_s: float
) -> tuple[Times, NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]:
    """A take on one grid: times (T,), picture numbers (T, C; -1 = too old), states (T, S), actions (T, A).

    Without an arm S and A are 0; a row whose state or action is too old or no number counts as without pictures.
    """
    manifest = episode.manifest
    vectors = [name for name in (_STATE, _ACTION) if manifest.counts.get(name, 0)]
    streams = [*(_IMAGES + camera for camera in cameras), *vectors]
    times = {name: episode.times(name)[1] for name in streams}
    grid = common_grid([times[name] for name in streams], step_s)
    chosen = {name: fresh_items(times[name], grid, manifest.streams[name].rate_hz, step_s) for name in streams}
    values = {name: episode.vectors(name)[chosen[name][0]].astype(np.float32) for name in vectors}
    good = np.ones(len(grid), dtype=np.bool_)
    for name in vectors:
        good &= chosen[name][1] & np.isfinite(values[name]).all(axis=1)
    images = [chosen[_IMAGES + camera] for camera in cameras]
    index = np.stack([np.where(fresh & good, at, -1) for at, fresh in images], axis=1)
    nothing = np.zeros((len(grid), 0), np.float32)
    return grid, index, values.get(_STATE, nothing), values.get(_ACTION, values.get(_STATE, nothing))


def reduced(picture: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """(height, width, 3): the mean of the pixels that fall on each new one. WorkbenchError if it is smaller already."""
    if picture.shape[0] < height or picture.shape[1] < width:
        raise WorkbenchError(f"a picture of {picture.shape[1]}x{picture.shape[0]} is smaller than {width}x{height}")
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _join(parts: tuple[NDArray[Any], ...]) -> NDArray[np.float64]:
    """One table of float64: times are split in two halves that float64 holds exactly."""
    grid, index, state, actions = parts
    halves = np.stack([grid >> 32, grid & 0xFFFFFFFF], axis=1)
    return np.concatenate([halves, index, state, actions], axis=1, dtype=np.float64)


def _split(
    table: NDArray[np.float64], cameras: int, manifest: Manifest
) -> tuple[Times, NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]:
    whole = table[:, : 2 + cameras].astype(np.int64)
    numbers = table[:, 2 + cameras :].astype(np.float32)
    states = manifest.streams[_STATE].shape[0] if manifest.counts.get(_STATE, 0) else 0
    return (whole[:, 0] << 32) | whole[:, 1], whole[:, 2:], numbers[:, :states], numbers[:, states:]


def _slim(manifest: Manifest) -> Manifest:
    """What reading needs of a manifest; settings and remarks would only fill the memory."""
    return replace(manifest, devices={}, settings={}, extra={}, gap_positions={}, notes="")


def _reason(error: WorkbenchError) -> str:
    if isinstance(error, NotFoundError):
        return "takes that are not there"
    return "unreadable takes" if isinstance(error, CorruptTakeError) else error.what
