"""Pairs of Princeton's APC toolbox: ``frame-*.color.png``, ``frame-*.depth.png`` and ``cam.info.txt``.

Depth pixels are 16 bit in units of 0.1 mm, rotated left by three bits so that picture viewers show something; they are
brought to whole millimetres, 0 = no reading. Colour and depth have optics of their own and are not aligned; both, and
the camera's pose in every frame, go to the take's devices. The files carry no times: frames are one nominal second
apart, and the take says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from storage.importing import ImportSettings, Pictures, Source, SourceTake
from storage.interop import FORMATS, FormatConfig
from workbench.core.errors import WorkbenchError
from workbench.core.registry import Plugin
from workbench.core.types import Outcome, StreamSpec

CAMERA = "front"
_INFO = "cam.info.txt"
_NUMBER = r"[-+]?\d+\.\d+e[-+]?\d+"
_STEP_NS = 1_000_000_000


class ApcFrames:
    """The format; see the module."""

    title = "APC toolbox frames (frame-*.color.png, frame-*.depth.png, cam.info.txt)"

    def detect(self, path: Path) -> bool:
        """True if the folder, or one below it, holds such frames."""
        return bool(_folders(path))

    def sources(self, path: Path, settings: ImportSettings) -> list[Source]:
        """One take per folder. Pictures keep their size: depth must not be averaged."""
        return [_source(folder) for folder in _folders(path)]


FORMATS.register(Plugin("apc_frames", ApcFrames.title, FormatConfig, lambda config: ApcFrames()))


def depth_mm(stored: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """(H, W) whole millimetres of stored pixels."""
    tenths = (stored >> 3) | (stored << 13)
    return ((tenths.astype(np.uint32) + 5) // 10).astype(np.uint16)


def _folders(path: Path) -> list[Path]:
    candidates = [path, *sorted(child for child in path.iterdir() if child.is_dir())] if path.is_dir() else []
    return [folder for folder in candidates if (folder / _INFO).is_file() and any(folder.glob("frame-*.depth.png"))]


def _source(folder: Path) -> Source:
    files = (folder / _INFO, *sorted(folder.glob("frame-*.png")))
    return Source(folder.name, files, lambda: _load(folder))


def _load(folder: Path) -> SourceTake:
    colors = sorted(folder.glob("frame-*.color.png"))
    pairs = [(color, color.with_name(color.name.replace(".color.", ".depth."))) for color in colors]
    pairs = [(color, depth) for color, depth in pairs if depth.is_file()]
    if not pairs:
        raise WorkbenchError("no picture has its depth beside it")
    size = _picture(pairs[0][0]).shape[:2]
    color = StreamSpec(f"observation.images.{CAMERA}", (*size, 3), "uint8", rate_hz=1.0)
    depth = StreamSpec(f"observation.depth.{CAMERA}", size, "uint16", "mm", 1.0)
    about, poses = _optics((folder / _INFO).read_text(), size)
    return SourceTake(
        instruction="",
        outcome=Outcome.UNLABELLED,
        tables=(),
        videos={},
        rows_hz=1.0,
        devices={CAMERA: {"kind": "realsense", "source": "APC toolbox", "intrinsics": about}},
        extra={"times": "nominal, one second apart: the source has none", "camera_poses": poses[: len(pairs)]},
        pictures=(
            Pictures(color, lambda: _timed([_checked(_picture(file), color) for file, _ in pairs])),
            Pictures(depth, lambda: _timed([_checked(depth_mm(_picture(file)), depth) for _, file in pairs])),
        ),
    )


def _timed(pictures: list[NDArray[Any]]) -> Iterator[tuple[int, NDArray[Any]]]:
    return ((number * _STEP_NS, picture) for number, picture in enumerate(pictures))


def _picture(path: Path) -> NDArray[Any]:
    try:
        return np.ascontiguousarray(imagecodecs.imread(str(path)))
    except (ValueError, RuntimeError) as error:
        raise WorkbenchError(f"{path.name} cannot be read ({error})") from error


def _checked(picture: NDArray[Any], spec: StreamSpec) -> NDArray[Any]:
    if picture.shape != spec.shape or picture.dtype != np.dtype(spec.dtype):
        raise WorkbenchError(f"a picture is {picture.shape} {picture.dtype} instead of {spec.shape} {spec.dtype}")
    return picture


def _optics(text: str, size: tuple[int, ...]) -> tuple[dict[str, Any], list[Any]]:
    """Intrinsics of colour and depth with the shift between them, and camera-to-world poses, one per frame."""
    parts = {title: _matrix(body) for title, body in re.findall(r"# (.*matrix.*)\n((?:(?!#).*\n)*)", text + "\n")}
    if "Color camera intrinsic matrix" not in parts or "Depth camera intrinsic matrix" not in parts:
        raise WorkbenchError(f"{_INFO} names no intrinsics")
    color, depth = (_pinhole(parts[f"{name} camera intrinsic matrix"], size) for name in ("Color", "Depth"))
    depth["to_color"] = parts.get("Depth-to-color camera extrinsic matrix")
    return {"color": color, "depth": depth}, [m for title, m in parts.items() if title.startswith("Camera-to-world")]


def _pinhole(matrix: list[list[float]], size: tuple[int, ...]) -> dict[str, Any]:
    optics = {"width": size[1], "height": size[0], "fx": matrix[0][0], "fy": matrix[1][1]}
    return {**optics, "cx": matrix[0][2], "cy": matrix[1][2], "model": "pinhole", "coeffs": []}


def _matrix(body: str) -> list[list[float]]:
    return [[float(number) for number in re.findall(_NUMBER, line)] for line in body.splitlines() if line.strip()]
