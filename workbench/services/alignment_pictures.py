"""Pictures of an alignment's report: a human clip beside the robot takes it is nearest to, and motions drawn in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.core.errors import WorkbenchError
from workbench.core.types import Image
from workbench.services.drawing import (
    changed_middle,
    depth_of,
    draw_way,
    enlarged,
    place_at,
    project,
)
from workbench.services.library import Library
from workbench.services.take_view import TakeView

FILE_NAME = "alignment.npz"
DONE, TOLD = (240, 240, 240), (255, 140, 0)
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Shot:
    """Two pictures of one window, now and at the end of the chunk, and the motion drawn into the first.

    Attributes:
        now, then: (H, W, 3) uint8, the same size; ``now`` with the way drawn in where the camera is calibrated.
        cosine: how similar to the human window, None for that itself.
        drawn: False where no way could be drawn.
    """

    take: str
    words: str
    now: Image
    then: Image
    cosine: float | None = None
    drawn: bool = False


@dataclass(frozen=True, slots=True)
class Neighbours:
    """One human window and the robot windows of different takes that are read most alike, nearest first."""

    human: Shot
    robots: tuple[Shot, ...]
    confidence: float


class Exhibits:
    """What a run's ``alignment.npz`` shows. Reads takes on demand; used from one thread at a time."""

    def __init__(self, folder: Path) -> None:
        with np.load(folder / FILE_NAME, allow_pickle=False) as file:
            self._arrays: dict[str, NDArray[Any]] = {name: np.asarray(file[name]) for name in file.files}
        self.stream = f"observation.images.{self._arrays['camera']}"

    @property
    def humans(self) -> int:
        """How many human windows there are."""
        return len(self._arrays.get("near.human", ()))

    @property
    def robots(self) -> int:
        """How many robot windows are drawn."""
        return len(self._arrays["drawn.take"])

    def map(self) -> LatentMap:
        """The latents in two dimensions."""
        arrays = self._arrays
        shares = tuple(float(value) for value in arrays["map.share"])
        return LatentMap(arrays["map.xy"], arrays["map.human"], arrays["map.told"], (shares[0], shares[-1]))

    def neighbours(self, library: Library, number: int) -> Neighbours | None:
        """The human window ``number`` and its neighbours; None if its take cannot be read any more."""
        arrays = self._arrays
        human = self._human(library, number)
        if human is None:
            return None
        robots = []
        for place, take in enumerate(arrays["near.robot"][number]):
            cosine, path = float(arrays["near.cosine"][number, place]), arrays["near.path"][number, place]
            ways = {DONE: np.asarray(path, np.float64)}
            shot = (
                self._shot(library, str(take), arrays["near.robot_ns"][number, place], ways, cosine) if take else None
            )
            robots += [shot] if shot is not None else []
        return Neighbours(human, tuple(robots), float(arrays["near.confidence"][number]))

    def robot(self, library: Library, number: int) -> Shot | None:
        """A held-out robot window: what the tool did (white) and what was read off the pictures (orange)."""
        arrays = self._arrays
        ways = {DONE: arrays["drawn.path"][number], TOLD: arrays["drawn.told"][number]}
        return self._shot(library, str(arrays["drawn.take"][number]), arrays["drawn.ns"][number], ways)

    # parts ----------------------------------------------------------------------------------------------------------

    def _human(self, library: Library, number: int) -> Shot | None:
        """The way is relative: it is begun in the middle of what moved, as far off as robots' tools usually are."""
        arrays = self._arrays
        take, times = str(arrays["near.human"][number]), arrays["near.human_ns"][number]
        told = np.concatenate([np.zeros((1, 3)), arrays["near.told"][number]])
        usual = arrays["near.path"].reshape(-1, 3)
        usual = usual[np.isfinite(usual).all(axis=1)]

        def place(device: Mapping[str, Any] | None, now: Image, then: Image) -> dict[tuple[int, int, int], Floats]:
            depths, middle = depth_of(device, usual), changed_middle(now, then)
            if depths is None or not len(depths) or middle is None:
                return {}
            start = place_at(device, middle, float(np.median(depths)), now.shape[1])
            return {TOLD: start + told} if start is not None else {}

        return self._shot(library, take, times, place)

    def _shot(
        self, library: Library, take: str, times: NDArray[Any], ways: Any, cosine: float | None = None
    ) -> Shot | None:
        """``ways``: points in the base frame by colour, or a function of camera and pictures that gives them."""
        try:
            with library.open(take) as view:
                now, then = (_picture_at(view, self.stream, int(t_ns)) for t_ns in times)
                if now is None or then is None:
                    return None
                device = view.manifest.devices.get(self.stream.rpartition(".")[2])
                found = ways(device, now, then) if callable(ways) else ways
                words = view.record.instruction or view.record.task
                return _drawn(take, words, now, then, device, found, cosine)
        except WorkbenchError:
            return None  # thrown away or damaged since; the report says how many are shown


@dataclass(frozen=True, slots=True)
class LatentMap:
    """Action latents of robot and human windows in their first two principal components.

    Attributes:
        xy: (M, 2). human: (M,). told: (M, 3) displacement at the end of the chunk that each decodes to, m, base frame.
        share: of the variance that the two components hold.
    """

    xy: NDArray[np.float32]
    human: NDArray[np.bool_]
    told: NDArray[np.float32]
    share: tuple[float, float]

    @property
    def direction(self) -> NDArray[np.int64]:
        """(M,) the main direction of each: 0..5 for +x -x +y -y +z -z, 6 where hardly anything moves (below 1 cm)."""
        axis = np.abs(self.told).argmax(axis=1)
        largest = self.told[np.arange(len(axis)), axis]
        return np.where(np.abs(largest) < 0.01, 6, 2 * axis + (largest < 0))


DIRECTIONS = ("away", "back", "left", "right", "up", "down", "still")


def _picture_at(view: TakeView, stream: str, t_ns: int) -> Image | None:
    """The picture that is valid at a host time."""
    if stream not in view.streams or not view.rows:
        return None
    row = int(np.searchsorted(view.row_times_s, view.seconds(t_ns) + 1e-3, side="right")) - 1
    return view.picture(stream, min(max(row, 0), view.rows - 1))


def _drawn(
    take: str, words: str, now: Image, then: Image, device: Any, ways: Mapping[Any, Floats], cosine: float | None
) -> Shot:
    canvas, drawn = enlarged(now), False
    for colour, points in ways.items():
        pixels = project(device, points, canvas.shape[1])
        if pixels is not None and np.isfinite(pixels).all(axis=1).any():
            draw_way(canvas, pixels, colour)
            drawn = True
    return Shot(take, words, canvas, enlarged(then), cosine, drawn)
