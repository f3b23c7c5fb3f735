"""Takes seen otherwise: on another take's background, or through a noisier camera; colours and depth alike.

What stands still in a take is the median over some of its pictures (of depth: the still scene of ``tips``); what
differs from it by more than a threshold, and a margin around that, is what moves: the arm or hand and what it carries.
Letters: Q windows, T grid rows, P rows of a window, C cameras, K, F of the encoder, h, w pixels, 5 numbers of a tip.
"""
# ruff: noqa: N815  (axis letters belong to the names)

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models import tips
from models.data import Batch, Windows
from models.takes import Take, depth_at
from models.vd_vae import VdVaeModel
from storage.episode import Episode
from storage.layout import Home
from storage.windows import fresh_items
from workbench.core.errors import WorkbenchError

STILL_PICTURES = 11
THRESHOLD = 28  # of 255, largest channel
MARGIN = 1 / 80  # of the picture's width
SURELY_NEARER = 0.5  # of what ``tips`` calls nearer: cut out a little more than it looks at
NOISE, NOISE_M = 4.0, 0.002  # of 255 and metres, standard deviation per pixel
Pixels = NDArray[np.uint8]
Depth = NDArray[np.uint16]
Floats = NDArray[np.float32]


def still_part(pictures: list[Pixels]) -> Pixels:
    """(h, w, 3) per-pixel median over pictures of one camera of one take."""
    return np.asarray(np.median(np.stack(pictures), axis=0), np.uint8)


def moving_part(picture: Pixels, still: Pixels) -> NDArray[np.bool_]:
    """(h, w) pixels that differ from the still part, and a margin around them."""
    differs = np.abs(picture.astype(np.int16) - still).max(axis=2) > THRESHOLD
    grown = differs.copy()
    for _ in range(max(1, round(picture.shape[1] * MARGIN))):
        step = grown.copy()
        step[1:] |= grown[:-1]
        step[:-1] |= grown[1:]
        step[:, 1:] |= grown[:, :-1]
        step[:, :-1] |= grown[:, 1:]
        grown = step
    return np.asarray(grown, np.bool_)


def pasted(picture: Pixels, still: Pixels, onto: Pixels) -> Pixels:
    """The moving part of a picture on another still part."""
    return np.where(moving_part(picture, still)[..., None], picture, onto)


def pasted_depth(depth_hw: Depth, still: Floats, onto: Floats) -> Depth:
    """The same of a thinned depth picture (mm, 0 = no reading): what is nearer than its still scene (m), on another.

    There is no margin: a rim of the own table round an arm would dig a hole into an object of the other scene.
    """
    nearer = depth_hw < 1000.0 * (still - SURELY_NEARER * tips.least_nearer(still))
    return np.where(nearer | (depth_hw == 0), depth_hw, np.round(1000.0 * onto).astype(np.uint16))


@dataclass(frozen=True, slots=True)
class Scene:
    """The still part of one take: by camera, of those that deliver, and of the first one's depth (m), if it is used."""

    take: int
    still: dict[str, Pixels]
    depth: Floats | None

    @property
    def shapes(self) -> tuple[object, ...]:
        """Scenes with equal shapes can be exchanged."""
        depth = None if self.depth is None else self.depth.shape
        return depth, *((camera, picture.shape) for camera, picture in self.still.items())


def read_scenes(home: Home, model: VdVaeModel, windows: Windows, takes: Sequence[int]) -> list[Scene]:
    """Of those takes (indices) that can be read."""
    found = []
    for number in takes:
        take = windows.takes[number]
        try:
            with Episode.open(home, take.episode_id) as episode:
                still = {camera: _still(episode, camera) for camera in model.cameras if camera in take.features}
                depth = _DepthPath.of(episode, take, model)
        except WorkbenchError:
            continue  # it was read a moment ago to train on; what has gone bad since is left out here
        if still:
            found.append(Scene(number, still, None if depth is None else tips.still_scene(depth.pictures_Thw)))
    return found


def _still(episode: Episode, camera: str) -> Pixels:
    stream = f"observation.images.{camera}"
    count = episode.manifest.counts[stream]
    places = sorted({int(at) for at in np.linspace(0, count - 1, STILL_PICTURES)})
    return still_part([episode.read(stream, at) for at in places])


def donors(scenes: list[Scene], more: list[Scene]) -> dict[int, tuple[Scene, Scene]]:
    """By take its own scene and that of another take with pictures of the same size, far off in the list ``more``."""
    pairs = {}
    for place, scene in enumerate(scenes):
        others = [donor for donor in (*more[place:], *more[:place]) if donor.take != scene.take]
        fitting = [other for other in others if other.shapes == scene.shapes]
        if fitting:
            pairs[scene.take] = (scene, fitting[len(fitting) // 2])
    return pairs


@dataclass(frozen=True, slots=True)
class Paint:
    """What is done with every picture of a take; this one leaves them as they are."""

    def colours(self, camera: str, picture: Pixels) -> Pixels:
        """A picture of a camera."""
        return picture

    def depth(self, picture: Depth) -> Depth:
        """A thinned depth picture of the first camera."""
        return picture


@dataclass(frozen=True, slots=True)
class OnScene(Paint):
    """Lay what moves onto the still part of another scene (or, as a sham, of the same one)."""

    own: Scene
    onto: Scene

    def colours(self, camera: str, picture: Pixels) -> Pixels:
        return pasted(picture, self.own.still[camera], self.onto.still[camera])

    def depth(self, picture: Depth) -> Depth:
        if self.own.depth is None or self.onto.depth is None:
            return picture
        return pasted_depth(picture, self.own.depth, self.onto.depth)


@dataclass(frozen=True, slots=True)
class Noise(Paint):
    """Add normal noise to every pixel: about what a good sensor has."""

    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    def colours(self, camera: str, picture: Pixels) -> Pixels:
        noisy = picture + NOISE * self.rng.standard_normal(picture.shape, np.float32)
        return np.clip(np.round(noisy), 0, 255).astype(np.uint8)

    def depth(self, picture: Depth) -> Depth:
        noisy = np.round(picture + 1000.0 * NOISE_M * self.rng.standard_normal(picture.shape, np.float32))
        return np.where(picture > 0, np.clip(noisy, 1, 65535), 0).astype(np.uint16)


def repainted(home: Home, model: VdVaeModel, windows: Windows, chosen_Q: Tensor, paints: Mapping[int, Paint]) -> Batch:
    """The windows with what is read from their pictures and depth after their take's paint."""
    batch = windows.batch(chosen_Q)
    now, then, tips_QP5 = batch.features_BCKF.clone(), batch.future_BCKF.clone(), batch.tips_BP5.clone()
    for number, paint in paints.items():
        mine = torch.nonzero(batch.take_B == number)[:, 0].tolist()
        if not mine:
            continue
        take = windows.takes[number]
        with Episode.open(home, take.episode_id) as episode:
            readers = [
                (p, _Reader(episode, c, take, model, paint)) for p, c in enumerate(model.cameras) if c in take.features
            ]
            depth = _DepthPath.of(episode, take, model)
            path_T5 = None if depth is None else torch.from_numpy(depth.read(paint))
            for q in mine:
                first = int(batch.row_B[q])
                rows = [min(first + step, len(take) - 1) for step in range(windows.horizon + 1)]
                for place, read in readers:
                    now[q, place], then[q, place] = read(rows[0]), read(rows[-1])
                if path_T5 is not None:
                    tips_QP5[q] = path_T5[rows]
    return replace(batch, features_BCKF=now, future_BCKF=then, tips_BP5=tips_QP5)


class _Reader:
    """Features of single rows of a take after its pictures were painted."""

    def __init__(self, episode: Episode, camera: str, take: Take, model: VdVaeModel, paint: Paint) -> None:
        self._episode, self._camera, self._encoder, self._paint = episode, camera, model.encoder, paint
        self._stream = f"observation.images.{camera}"
        rate_hz = episode.manifest.streams[self._stream].rate_hz
        self._index, _ = fresh_items(episode.times(self._stream)[1], take.t_ns, rate_hz, model.recipe.step_s)

    def __call__(self, row: int) -> Tensor:
        """(K, F) of the newest picture at a row."""
        picture = self._episode.read(self._stream, int(self._index[row]))
        return torch.from_numpy(self._encoder.encode(self._paint.colours(self._camera, picture)))


@dataclass(frozen=True, slots=True)
class _DepthPath:
    """All thinned depth pictures of a take on its grid, and what turns them into a path."""

    pictures_Thw: Depth
    fresh_T: NDArray[np.bool_]
    pinhole: tips.Pinhole

    @classmethod
    def of(cls, episode: Episode, take: Take, model: VdVaeModel) -> _DepthPath | None:
        """None where the model looks at no path or the take has none."""
        found = depth_at(episode, model.cameras[0], take.t_ns, model.recipe.step_s)
        if not model.recipe.tips or take.tips_T5 is None or found is None:
            return None
        pinhole, pictures, fresh = found
        return cls(np.stack(list(pictures)), fresh, pinhole)

    def read(self, paint: Paint) -> Floats:
        """(T, 5) after the paint."""
        painted = np.stack([paint.depth(picture) for picture in self.pictures_Thw])
        return np.where(self.fresh_T[:, None], tips.read_tips(painted, self.pinhole), np.float32(0.0))
