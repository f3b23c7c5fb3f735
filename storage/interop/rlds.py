"""RLDS data sets as TensorFlow Datasets keeps them: ``features.json`` and TFRecord files, one example for each take.

The files carry neither times nor a rate: the rate is known for data sets of BridgeData's kind (5 steps a second), else
the person who imports gives it; the take says so. BridgeData's state is x y z (m), extrinsic x-y-z Euler angles (rad)
and the gripper (0 closed .. 1 open), which becomes our ``observation.state``; its commands are differences, kept as
``action.delta``, so that the next measured states are the targets. Numbers of other sets keep their names and get no
meaning. A camera that shows one picture throughout is a filler and is left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from storage.importing import ImportSettings, Pictures, Source, SourceTake, Table, as_float32
from storage.interop import FORMATS, FormatConfig
from storage.rotations import quaternions_of_euler_xyz
from storage.tfrecord import Record, Value, find_records, parse_example
from workbench.core.errors import WorkbenchError
from workbench.core.files import read_json
from workbench.core.registry import Plugin
from workbench.core.types import POSE_AXES, Outcome, StreamSpec

_FEATURES = "features.json"
_FILE = re.compile(r"(?P<name>.+)-(?P<split>[^-]+)\.tfrecord(-\d+-of-\d+)?")
_DEPTH = 2  # data sets lie in <name>/<version>/
_BRIDGE_HZ = 5.0
_BRIDGE_WIDTH = 7
_DELTA_AXES = ("x", "y", "z", "roll", "pitch", "yaw", "gripper")


class RldsFormat:
    """The format; see the module."""

    title = "RLDS (features.json and *.tfrecord of TensorFlow Datasets)"

    def detect(self, path: Path) -> bool:
        """True if the folder, or one or two levels below it, holds such a data set."""
        return bool(_roots(path))

    def sources(self, path: Path, settings: ImportSettings) -> list[Source]:
        """All takes of all splits."""
        return [source for root in _roots(path) for source in _Dataset(root, settings).sources()]


FORMATS.register(Plugin("rlds", RldsFormat.title, FormatConfig, lambda config: RldsFormat()))


@dataclass(frozen=True, slots=True)
class _Step:
    """One feature of a step: its name below ``steps/``, the shape of one item, what it is."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    is_picture: bool


class _Dataset:
    """One version of one set. All of it is untrusted."""

    def __init__(self, root: Path, settings: ImportSettings) -> None:
        self.root = root
        try:
            top = read_json(root / _FEATURES)["featuresDict"]["features"]
            steps = top["steps"]["sequence"]["feature"]["featuresDict"]["features"]
            self.steps = {step.name: step for step in _flatten(steps)}
        except (KeyError, TypeError, ValueError) as error:
            raise WorkbenchError(f"{_FEATURES} of {root.name} describes no steps ({error!r})") from error
        self.settings = settings

    def sources(self) -> Iterator[Source]:
        """The takes, not read yet."""
        for file in sorted(self.root.glob("*.tfrecord*")):
            told = _FILE.fullmatch(file.name)
            if told is None:
                continue
            try:
                records = find_records(file)
            except WorkbenchError as error:
                yield Source(file.name, (file,), _failing(error))
                continue
            shard = f"{told['name']}/{told['split']}/{file.name.rpartition('.tfrecord')[2].strip('-') or '0'}"
            for number, record in enumerate(records):
                yield Source(f"{shard}/{number:05d}", (file,), self._loading(record, told["name"]), f"record {number}")

    def _loading(self, record: Record, name: str) -> Callable[[], SourceTake]:
        return lambda: self.load(record, name)

    def load(self, record: Record, name: str) -> SourceTake:
        """Read one take. WorkbenchError if its record is damaged or does not fit ``features.json``."""
        bridge = "bridge" in name.lower()
        rate_hz = self.settings.rate_hz or (_BRIDGE_HZ if bridge else None)
        if rate_hz is None:
            raise WorkbenchError("the set does not say how many steps a second it has", "Give it with --rate")
        example = parse_example(record.read())
        steps = len(_numbers(example, "steps/is_first", (), "bool"))
        if not steps:
            raise WorkbenchError("it has no steps")
        times_ns = np.round(np.arange(steps) * (1e9 / rate_hz)).astype(np.int64)
        tables = [table for step in self.steps.values() for table in _tables(step, example, times_ns, rate_hz, bridge)]
        pictures, constant = self._pictures(example, times_ns, rate_hz)
        extra: dict[str, Any] = {"times": "nominal rate, the source has none", "robot_type": name}
        if constant:
            extra["cameras_left_out"] = constant
        return SourceTake(
            instruction=_instruction(example),
            outcome=Outcome.UNLABELLED,
            tables=tuple(tables),
            videos={},
            rows_hz=rate_hz,
            devices={"robot": {"kind": name}},
            extra=extra,
            pictures=tuple(pictures),
            seconds=steps / rate_hz,
        )

    def _pictures(
        self, example: dict[str, Value], times_ns: NDArray[np.int64], rate_hz: float
    ) -> tuple[list[Pictures], list[str]]:
        """Streams of pictures, and the names of those that show one picture throughout."""
        found, constant = [], []
        for step in self.steps.values():
            stored = example.get(f"steps/{step.name}")
            if not step.is_picture or not isinstance(stored, list):
                continue
            if len(stored) != len(times_ns):
                raise WorkbenchError(f"{step.name} has {len(stored)} pictures for {len(times_ns)} steps")
            camera = _plain(step.name.rpartition("/")[2])
            if len(stored) > 1 and len(set(stored)) == 1:
                constant.append(camera)
                continue
            shape = _decoded(stored[0], step.name).shape
            kind = "images" if shape[2:] == (3,) else "depth"
            spec = StreamSpec(
                f"observation.{kind}.{camera}", shape, "uint8" if kind == "images" else "uint16", "", rate_hz
            )
            found.append(Pictures(spec, _reading(stored, times_ns, spec)))
        return found, constant


def _roots(path: Path) -> list[Path]:
    found = [path]
    for _ in range(_DEPTH):
        if any((folder / _FEATURES).is_file() for folder in found):
            break
        found = [child for folder in found if folder.is_dir() for child in sorted(folder.iterdir()) if child.is_dir()]
    return [root for root in found if (root / _FEATURES).is_file() and next(root.glob("*.tfrecord*"), None)]


def _flatten(features: dict[str, Any], prefix: str = "") -> Iterator[_Step]:
    for name, feature in features.items():
        if "featuresDict" in feature:
            yield from _flatten(feature["featuresDict"]["features"], f"{prefix}{name}/")
            continue
        about = feature.get("tensor") or feature.get("image")
        if about is not None:
            shape = tuple(int(side) for side in about.get("shape", {}).get("dimensions", ()))
            yield _Step(f"{prefix}{name}", shape, str(about.get("dtype", "")), "image" in feature)


def _tables(
    step: _Step, example: dict[str, Value], times_ns: NDArray[np.int64], rate_hz: float, bridge: bool
) -> Iterator[Table]:
    """The vector stream of one feature; nothing for what is no vector of numbers, or belongs to no robot."""
    is_vector = step.dtype.startswith("float") and len(step.shape) == 1 and not step.is_picture
    is_ours = step.name == "action" or step.name.startswith("observation/")
    if not is_vector or not is_ours or f"steps/{step.name}" not in example:
        return
    values = _numbers(example, f"steps/{step.name}", step.shape, step.dtype).astype(np.float64)
    if len(values) != len(times_ns):
        raise WorkbenchError(f"{step.name} has {len(values)} items for {len(times_ns)} steps")
    unit = ""
    axes: tuple[str, ...] = ()
    known = bridge and step.shape == (_BRIDGE_WIDTH,)
    if known and step.name == "observation/state":
        values = np.concatenate(
            [np.clip(values[:, 6:], 0, 1), values[:, :3], quaternions_of_euler_xyz(values[:, 3:6])], axis=1
        )
        axes = ("gripper", *POSE_AXES)
        name, unit = "observation.state", "SI"
    elif step.name == "action":
        name, axes = ("action.delta", _DELTA_AXES) if known else ("action.source", ())
    else:
        name = "observation." + _plain(step.name.removeprefix("observation/"))
    spec = StreamSpec(name, (values.shape[1],), "float32", unit, rate_hz, axes)
    yield as_float32(Table(spec, times_ns, values))


def _numbers(example: dict[str, Value], name: str, shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
    """(T, ...) of one feature; numbers that were written as raw bytes are read as such."""
    value = example.get(name, [])
    if isinstance(value, list):
        value = np.frombuffer(b"".join(value), dtype if dtype != "bool" else "uint8")
    try:
        return value.reshape(-1, *shape)
    except ValueError as error:
        raise WorkbenchError(f"{name} does not have the shape that {_FEATURES} names") from error


def _instruction(example: dict[str, Value]) -> str:
    for name in ("steps/language_instruction", "steps/observation/natural_language_instruction"):
        told = example.get(name)
        if isinstance(told, list) and told and told[0].strip():
            return told[0].decode(errors="replace").strip()
    return ""


def _reading(
    stored: list[bytes], times_ns: NDArray[np.int64], spec: StreamSpec
) -> Callable[[], Iterator[tuple[int, NDArray[Any]]]]:
    def frames() -> Iterator[tuple[int, NDArray[Any]]]:
        for at, payload in zip(times_ns.tolist(), stored, strict=True):
            picture = _decoded(payload, spec.name)
            if picture.shape != spec.shape or picture.dtype != np.dtype(spec.dtype):
                raise WorkbenchError(f"a picture of {spec.name} is {picture.shape} {picture.dtype}")
            yield at, picture

    return frames


def _decoded(payload: bytes, name: str) -> NDArray[Any]:
    """(H, W, 3) colour or (H, W) of a JPEG or PNG file."""
    try:
        picture = imagecodecs.imread(payload, codec=["jpeg8", "png"])
    except (ValueError, RuntimeError) as error:
        raise WorkbenchError(f"a picture of {name} cannot be read ({error})") from error
    picture = np.ascontiguousarray(picture[..., 0] if picture.ndim == 3 and picture.shape[2] == 1 else picture)
    return picture[..., :3].copy() if picture.ndim == 3 else picture


def _failing(error: WorkbenchError) -> Callable[[], SourceTake]:
    def load() -> SourceTake:
        raise error

    return load


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]+", "_", name).strip("_") or "unnamed"
